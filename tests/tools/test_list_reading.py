"""Groups that are looked up in a list: which ones are kept, and how far it is read back."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.codec import encode_group
from feed.messages import DefineInstrument, ShortSale, symbol_field
from feed.replay_port import ReplayPort
from feed.run import run_of_frames
from feed.schema import FrameType
from feed.subscriber import Group
from tests.feed.lists import group_frames
from tests.feed.replays import Source
from tests.tools.replica_statuses import configuration_of
from tools import list_reading
from tools.configuration import Configuration
from tools.console import CommandError
from tools.list_reading import GroupCollector, groups_since

LISTED = DefineInstrument(symbol_field("AAPL"), 100, 1, ShortSale.ALLOWED)
TYPES = {FrameType.DEFINE_INSTRUMENT, FrameType.MOVE_OUT}


def list_with(wanted: Sequence[int], last: int, size: int = 3) -> list[bytes]:
    """A list of groups, of which those that are `wanted` by their place are of the wanted types."""
    frames: list[bytes] = []
    for place in range(last):
        first = len(frames) + 1
        if place in wanted:
            frames += encode_group([LISTED], first, 0)
        else:
            frames += group_frames(first, size)
    return frames


@given(st.sets(st.integers(0, 20)), st.lists(st.integers(1, 60), max_size=8), st.integers(0, 10))
def test_collector_keeps_the_whole_groups_of_its_types_however_they_come(
    wanted: set[int], cuts: list[int], begin: int
) -> None:
    frames = list_with(sorted(wanted), 20)
    collector = GroupCollector(TYPES)
    ends = sorted({cut for cut in cuts if begin < cut < len(frames)} | {len(frames)})
    at = begin
    for end in ends:
        collector.take(run_of_frames(at + 1, frames[at:end]))
        at = end
    first_of = [1 + sum(1 if each in wanted else 3 for each in range(place)) for place in range(20)]
    expected = [first_of[place] for place in sorted(wanted) if place < 20]
    assert [group.first_sequence for group in collector.groups] == [
        first for first in expected if first > begin
    ]


def test_group_of_several_frames_is_kept_whole_and_one_that_began_before_is_not() -> None:
    frames = group_frames(1, 4)
    whole, late = GroupCollector({FrameType.ENTER_ORDER}), GroupCollector({FrameType.ENTER_ORDER})
    for collector, begin in ((whole, 0), (late, 1)):
        for at in range(begin, 4):
            collector.take(run_of_frames(at + 1, frames[at : at + 1]))
    assert [len(group.frames) for group in whole.groups] == [4]
    assert late.groups == []


def looked_up(
    configuration: Configuration, source: Source, *, first: int = 1, is_first: int = 0
) -> list[int]:
    """The numbers of the groups since the one at `is_first`, from a holder that serves `source`."""

    def is_it(group: Group) -> bool:
        return group.first_sequence == is_first if is_first else True

    async def situation() -> list[Group]:
        port = ReplayPort(configuration.replicas["e1"].repair, source)
        port.start()
        try:
            last = source.committed_sequence
            return await groups_since(configuration, TYPES, is_it, first, last)
        finally:
            await port.stop()

    return [group.first_sequence for group in asyncio.run(situation())]


@pytest.fixture
def configuration() -> Configuration:
    """A shard whose only holder answers."""
    return configuration_of("e1", retransmitters={})


def test_groups_since_the_last_first_one_are_found(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_reading, "FIRST_LOOK_FRAMES", 4)
    source = Source(list_with([5, 40, 60], 70, 1))
    assert looked_up(configuration, source, is_first=6) == [6, 41, 61]
    assert looked_up(configuration, source) == [61]
    assert looked_up(configuration, source, is_first=7) == []


def test_list_is_read_back_only_as_far_as_it_has_to_be_and_is_held(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_reading, "FIRST_LOOK_FRAMES", 4)
    source = Source(list_with([60], 70, 1), first_sequence=20)
    assert looked_up(configuration, source, first=20) == [61]
    assert min(first for first, _ in source.asked) == 70 - 4 * 8 + 1
    assert looked_up(configuration, source, first=20, is_first=7) == []
    assert min(first for first, _ in source.asked) == 20


def test_frames_that_nobody_has_are_told(
    configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_reading, "READ_WITHIN_S", 0.05)
    source = Source(list_with([], 70, 1), first_sequence=20)
    with pytest.raises(CommandError, match=r"shard 1: frames 1 to 70 can't be had: .*lacks"):
        looked_up(configuration, source)
