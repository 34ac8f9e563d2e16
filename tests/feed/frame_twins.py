"""Both twins of `feed.frames`, where both are there, and what to try them with."""

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import strategies as st

from feed import _frames_py
from feed.codec import WireError, encode_frame
from tests.feed.lists import list_of, packet
from tests.feed.wire import messages, words

IS_BUILT = importlib.util.find_spec("feed._frames_c") is not None
COMPILED: Any = importlib.import_module("feed._frames_c") if IS_BUILT else None
TWINS: list[Any] = [_frames_py, COMPILED] if IS_BUILT else [_frames_py]
both = pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.__name__)
needs_both = pytest.mark.skipif(not IS_BUILT, reason="the compiled twin was not built")

LAST = 2**64 - 1  # the highest sequence number that there is


def outcome(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a call returns, or the text of the only error that it may raise."""
    try:
        return function(*arguments)
    except WireError as error:
        return str(error)


def agreed(name: str, *arguments: Any) -> Any:
    """What both twins make of the arguments."""
    first, *others = (outcome(getattr(twin, name), *arguments) for twin in TWINS)
    assert others == [first] * len(others)
    return first


@st.composite
def frame_lists(draw: st.DrawFn, first: int, limit: int = 6) -> list[bytes]:
    """Any frames with consecutive sequence numbers; their flags need not make groups."""
    contents = draw(st.lists(messages(), max_size=limit))
    return [
        encode_frame(message, first + place, draw(words), end=draw(st.booleans()))
        for place, message in enumerate(contents)
    ]


def batch_of(sizes: Sequence[int]) -> tuple[list[bytes], list[bytes]]:
    """A packet for each group of such a size, all committed; and all frames."""
    datagrams: list[bytes] = []
    everything: list[bytes] = []
    for group in list_of(sizes):
        everything += group
        datagrams.append(packet(group, len(everything) - len(group) + 1))
    return datagrams, everything
