"""The twins of the gateway's kernel: in plain Python and, where that was built, compiled."""

import importlib
from types import ModuleType

import pytest

from gateway import _orders_py, _streams_py


def _twins(plain: ModuleType) -> list[ModuleType]:
    try:
        return [plain, importlib.import_module(plain.__name__.removesuffix("_py") + "_c")]
    except ImportError:
        return [plain]


ORDER_TWINS = _twins(_orders_py)
STREAM_TWINS = _twins(_streams_py)
NAMES = ("plain", "compiled")[: len(ORDER_TWINS)]
EVERY_ORDER_TWIN = pytest.mark.parametrize("twin", ORDER_TWINS, ids=NAMES)
EVERY_STREAM_TWIN = pytest.mark.parametrize("twin", STREAM_TWINS, ids=NAMES)
BOTH = pytest.mark.skipif(len(ORDER_TWINS) == 1, reason="the kernel is not built")
EVERY_KERNEL = pytest.mark.usefixtures("kernel_in_use")
