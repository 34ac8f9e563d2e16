"""Looks groups up in a shard's list, over TCP, at whoever holds it."""

import asyncio
import time
from collections.abc import Callable, Collection
from random import Random

from feed.catch_up import CatchUp
from feed.codec import Frame
from feed.receiver import Receiver
from feed.run import Run, type_bit
from feed.schema import FrameType, ReplayKind
from feed.subscriber import Group
from tools.configuration import Configuration
from tools.console import CommandError

# What is looked at first is the end of the list: what is wanted has mostly happened just now.
FIRST_LOOK_FRAMES = 1 << 15
_LOOK_FURTHER_BY = 8
# A holder that is behind gets there within milliseconds; one that died is replaced meanwhile.
READ_WITHIN_S = 30.0
_ASK_AGAIN_AFTER_S = 0.05


async def groups_since(
    configuration: Configuration,
    types: Collection[FrameType],
    is_first: Callable[[Group], bool],
    first_sequence: int,
    last_sequence: int,
) -> list[Group]:
    """The groups of commands of these types since the last one that `is_first` says is the first.

    `configuration` is the shard's. The list is read back from `last_sequence`, which is committed,
    as far as to `first_sequence`, which is held. Nothing is there when there is no first one.
    Raises CommandError when nobody has the frames.
    """
    frames = FIRST_LOOK_FRAMES
    while True:
        begin = max(first_sequence, last_sequence - frames + 1)
        groups = await _groups_from(configuration, types, begin, last_sequence)
        places = [place for place, group in enumerate(groups) if is_first(group)]
        if places:
            return groups[places[-1] :]
        if begin == first_sequence:
            return []
        frames *= _LOOK_FURTHER_BY


async def _groups_from(
    configuration: Configuration, types: Collection[FrameType], begin: int, last_sequence: int
) -> list[Group]:
    """The groups of these types from frame `begin` on, with `last_sequence` and perhaps more."""
    collector = GroupCollector(types)
    shard, random = configuration.feed.shard, Random()
    receiver = Receiver(
        shard=shard, source_count=1, random=random, first_sequence=begin, committed_only=True
    )
    holders = configuration.shard_settings().holders.values()
    catch_up = CatchUp(
        [holder.repair for holder in holders],
        shard,
        receiver,
        ReplayKind.LIST,
        random,
        deliver=collector.take,
    )
    deadline = time.monotonic() + READ_WITHIN_S
    while receiver.next_sequence <= last_sequence:
        await catch_up.catch_up()
        if receiver.failure is not None or time.monotonic() > deadline:
            why = catch_up.last_failure or "nobody has them"
            raise CommandError(
                f"shard {shard}: frames {receiver.next_sequence} to {last_sequence} can't be had: "
                f"{receiver.failure.reason if receiver.failure is not None else why}"
            )
        if receiver.next_sequence <= last_sequence:
            await asyncio.sleep(_ASK_AGAIN_AFTER_S)
    return collector.groups


class GroupCollector:
    """Keeps those groups of a list whose command is of certain types.

    It may begin in the middle of a group, of which it then keeps nothing.
    """

    def __init__(self, types: Collection[FrameType]) -> None:
        self.groups: list[Group] = []
        self._types = frozenset(types)
        self._bits = sum(map(type_bit, self._types))
        self._frames: list[Frame] = []  # of a group whose end has not come yet

    def take(self, run: Run) -> None:
        """Take in what follows."""
        if not self._frames and not run.types & self._bits:
            return
        for frame in run:
            if frame.is_command:
                self._frames = [frame] if frame.type in self._types else []
            elif self._frames:
                self._frames.append(frame)
            if self._frames and frame.is_end:
                self.groups.append(Group(tuple(self._frames)))
                self._frames = []
