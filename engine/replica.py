"""The primary of a shard, sans-I/O: commands in, packets of the list out.

It gives each admitted command its sequence number and time, lets the machine carry it out, and
publishes the group's frames. It holds the list's frames too, to repair gaps from.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from engine.commit import CommitRule
from engine.machine import Machine
from feed.cache import FrameCache
from feed.codec import COMMAND_TYPES, FRAME_TYPES, encode_group
from feed.datagrams import Submission
from feed.messages import Command, Epoch
from feed.publisher import Publisher
from feed.repair import RepairResponder
from feed.schema import FrameType


@dataclass(frozen=True, slots=True)
class ShardIdentity:
    """Which shard a primary leads, in which epoch, and who counts towards commit there."""

    shard: int
    epoch: int
    name: str
    holders: Sequence[str]


class Primary:
    """Writes the list of one shard, from its first frame on.

    Frames gather until `flush`, which packs them; so a batch of commands shares packets.
    """

    def __init__(
        self,
        identity: ShardIdentity,
        machine: Machine,
        *,
        payload_limit_bytes: int,
        cache_bytes: int,
    ) -> None:
        self.identity = identity
        self.machine = machine
        self.last_sequence = 0
        self.frames_by_type: Counter[FrameType] = Counter()
        self.not_admitted = 0
        self._last_time_ns = 0
        self._unsent: list[bytes] = []
        self._cache = FrameCache(cache_bytes)
        self._commit = CommitRule(identity.holders, epoch_sequence=1)
        self._publisher = Publisher(
            shard=identity.shard, epoch=identity.epoch, payload_limit_bytes=payload_limit_bytes
        )
        self.repairs = RepairResponder(
            shard=identity.shard, cache=self._cache, payload_limit_bytes=payload_limit_bytes
        )

    @property
    def committed_sequence(self) -> int:
        """The last frame that a majority of the holders has, a group's end."""
        return self._commit.committed_sequence

    @property
    def commands(self) -> int:
        """How many commands are in the list."""
        return sum(
            count
            for frame_type, count in self.frames_by_type.items()
            if frame_type in COMMAND_TYPES
        )

    def open_epoch(self, time_ns: int, commands: Iterable[Command] = ()) -> None:
        """Begin the reign with its EPOCH frame, and then these commands, such as the listings."""
        for command in (Epoch(self.identity.epoch), *commands):
            self.sequence(command, time_ns)

    def submit(self, submission: Submission, time_ns: int) -> None:
        """Take a command from a gateway; what is not admitted is dropped without a trace."""
        if self.machine.admits(submission.login, submission.command):
            self.sequence(submission.command, time_ns)
        else:
            self.not_admitted += 1

    def sequence(self, command: Command, time_ns: int) -> None:
        """Give a command its place in the list, stamped with `time_ns` (since 1970), and carry
        it out. Time in the list never runs backwards, whatever the clock does."""
        first = self.last_sequence + 1
        self._last_time_ns = max(self._last_time_ns, time_ns)
        events = self.machine.apply(first, self._last_time_ns, command)
        group = (command, *events)
        frames = encode_group(group, first, self._last_time_ns)
        for sequence, frame in enumerate(frames, first):
            self._cache.append(frame, sequence)
        self._unsent += frames
        self.frames_by_type.update(FRAME_TYPES[type(message)] for message in group)
        self.last_sequence = first + len(events)

    def flush(self, now_ns: int) -> list[bytes]:
        """The packets of all frames since the last flush, to be sent now."""
        if not self._unsent:
            return []
        frames, self._unsent = self._unsent, []
        self._commit.acknowledge(self.identity.name, self.last_sequence)
        return self._publisher.publish(frames, self.committed_sequence, now_ns)

    @property
    def deadline_ns(self) -> int:
        """When `on_time` wants to be called next."""
        return self._publisher.deadline_ns

    def on_time(self, now_ns: int) -> list[bytes]:
        """The heartbeat that is due, if one is."""
        return self._publisher.on_time(self.committed_sequence, now_ns)

    def on_nak(self, data: bytes, requester: Hashable, now_ns: int) -> list[bytes]:
        """The datagrams that answer a receiver's NAK."""
        return self.repairs.on_nak(
            data, requester, now_ns, self.identity.epoch, self.committed_sequence
        )
