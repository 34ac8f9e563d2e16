"""Kernels are built where there is a compiler, are those of these sources, and are in use."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.kernels import ROOT, Kernel, declared, has_compiler, tracked

HOW = "run ./tools/test once more, or see docs/testing.md"
# What each selector chose: a function or class of its, by the module where that is defined.
CHOICES = {
    "engine._market_c": "engine.markets.market_builder()",
    "feed._checksum_c": "feed.checksum.crc32c",
    "feed._frames_c": "feed.frames.scan_packet",
    "feed._sockets_c": "feed.sockets.send_datagrams",
    "gateway._orders_c": "gateway.kernel.take_orders",
    "gateway._streams_c": "gateway.kernel.tell",
    "tools.bench._raw_c": "tools.bench.raw.send_packets",
}


def chosen(wanted: str) -> dict[str, str]:
    """The module that each choice comes from, in a process with LOCKSTEP_KERNEL set so."""
    modules = {expression.rsplit(".", 1)[0] for expression in CHOICES.values()}
    pairs = ", ".join(f"{name!r}: {choice}.__module__" for name, choice in CHOICES.items())
    program = f"import json, {', '.join(sorted(modules))}\nprint(json.dumps({{{pairs}}}))"
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "LOCKSTEP_KERNEL": wanted},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return dict(json.loads(run.stdout))


EACH = pytest.mark.parametrize("kernel", declared(), ids=lambda kernel: kernel.name)


def test_every_kernel_is_declared_and_has_a_choice() -> None:
    sources = {path for path in tracked("*_c.pyx") if path.name.startswith("_")}
    assert {kernel.source for kernel in declared()} == sources
    assert {kernel.name for kernel in declared()} == set(CHOICES)


@EACH
def test_kernel_depends_on_all_that_it_is_made_of(kernel: Kernel) -> None:
    """Else a change would leave the old one in place."""
    assert kernel.depends == kernel.made_of()


@EACH
def test_kernel_was_built_where_there_is_a_compiler(kernel: Kernel) -> None:
    if not has_compiler():
        pytest.skip("there is no C compiler here")
    assert find_spec(kernel.name) is not None, f"there is a compiler, and no {kernel.name}: {HOW}"


@EACH
def test_kernel_is_not_older_than_what_it_is_made_of(kernel: Kernel) -> None:
    if kernel.built is None:
        pytest.skip("it was not built")
    built_at = kernel.built.stat().st_mtime
    newer = [path for path in {kernel.source, *kernel.depends} if path.stat().st_mtime > built_at]
    assert newer == [], HOW


def test_kernel_is_in_use_wherever_it_was_built() -> None:
    for name, module in chosen("1").items():
        assert (module == name) is (find_spec(name) is not None), name


def test_no_kernel_is_in_use_when_none_is_wanted() -> None:
    for name, module in chosen("0").items():
        assert not module.endswith("_c"), name


def test_kernel_that_is_asked_for_and_not_wanted_is_refused_with_what_to_do() -> None:
    program = (
        "from engine.markets import MachineKind, MachineNotBuiltError, market_builder\n"
        "try: market_builder(MachineKind.KERNEL)\n"
        "except MachineNotBuiltError as error: print(error)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "LOCKSTEP_KERNEL": "0"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "LOCKSTEP_KERNEL must not be 0" in run.stdout
    assert "reference" in run.stdout
