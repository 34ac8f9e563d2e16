"""The primary of a shard, sans-I/O: commands in, packets of the list out, within one epoch.

It gives each admitted command its sequence number and time, lets the machine carry it out, and
publishes the group's frames. What a majority of the holders has acknowledged is committed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from engine.commit import CommitRule
from engine.machine import Machine, Sequenced
from feed.codec import RETRANSMISSION, PacketHeader
from feed.datagrams import HolderWord, Submission, encode_submission
from feed.frames import encode_packets
from feed.holder import Holder
from feed.messages import Command, Epoch, holder_field, unpad
from feed.publisher import HeartbeatPolicy, Publisher
from feed.run import Run, joined

# Holders say at least every quarter of a second how far they are.
HEARD_FOR_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class LeadSettings:
    """How a primary packs, how often it shows that it is alive, and how far it may run ahead."""

    payload_limit_bytes: int = 1400
    window_frames: int = 16_384
    heartbeats: HeartbeatPolicy = field(default_factory=HeartbeatPolicy)


class Primary:
    """Writes the list of one shard from the end of what `holder` has.

    Frames gather until `flush`, which packs them; so a batch of commands shares packets.
    """

    def __init__(
        self,
        holder: Holder,
        machine: Machine,
        holders: Iterable[str],
        settings: LeadSettings,
    ) -> None:
        shard, self._name, _ = holder.identity
        self.epoch = holder.epoch
        self.machine = machine
        self.last_sequence = holder.last_sequence
        self.not_admitted = 0
        self._holder = holder
        self._shard = shard
        self._settings = settings
        self._last_time_ns = holder.list.last_time_ns
        self._adopted_from = holder.committed_sequence + 1
        self._unsent: list[Run] = []
        self._is_opened = False
        self._incarnations: dict[str, int] = {}
        self._heard_ns: dict[str, int] = {}
        self._commit = CommitRule(
            tuple(holders),
            epoch_sequence=self.last_sequence + 1,
            committed_sequence=holder.committed_sequence,
        )
        self._publisher = Publisher(
            shard=shard,
            epoch=self.epoch,
            next_sequence=self.last_sequence + 1,
            payload_limit_bytes=settings.payload_limit_bytes,
            policy=settings.heartbeats,
        )

    @property
    def committed_sequence(self) -> int:
        """The last frame that a majority of the holders has, a group's end."""
        return self._commit.committed_sequence

    @property
    def is_full(self) -> bool:
        """Whether so much is not committed that no more commands should be taken for now."""
        return self.last_sequence - self.committed_sequence >= self._settings.window_frames

    @property
    def has_room_again(self) -> bool:
        """Whether commands should be taken again: not before half of the window is free."""
        return self.last_sequence - self.committed_sequence <= self._settings.window_frames // 2

    def is_heard(self, holder: str, now_ns: int) -> bool:
        """Whether a holder has acknowledged anything lately; each that lives and has a vote has."""
        heard_ns = self._heard_ns.get(holder)
        return heard_ns is not None and now_ns - heard_ns < HEARD_FOR_NS

    @property
    def held(self) -> Mapping[str, int]:
        """How far each configured holder has acknowledged the list in this epoch; 0 if not yet."""
        return self._commit.held

    def open_epoch(self, time_ns: int, commands: Iterable[Command] = ()) -> None:
        """Begin the reign with its EPOCH frame, and then with those commands that are admitted
        under no log-in, such as the listings."""
        self._holder.lead(self.epoch)
        self.sequence(Epoch(self.epoch, holder_field(self._name)), time_ns)
        listings = (encode_submission(Submission(0, command)) for command in commands)
        self.submit(b"".join(listings), time_ns)

    def submit(self, submissions: bytes, time_ns: int) -> Sequenced:
        """Take whole submissions, in their order; what is not admitted is dropped without a
        trace."""
        self._set_time(time_ns)
        sequenced = self.machine.submit(submissions, self.last_sequence + 1, self._last_time_ns)
        self.not_admitted += sequenced.not_admitted
        self._write(sequenced.run)
        return sequenced

    def sequence(self, command: Command, time_ns: int) -> Run:
        """Give a command its place in the list, stamped with `time_ns` (since 1970), and carry
        it out; its group."""
        self._set_time(time_ns)
        run = self.machine.carry_out(command, self.last_sequence + 1, self._last_time_ns)
        self._write(run)
        return run

    def flush(self, now_ns: int) -> list[bytes]:
        """The packets of all frames since the last flush, to be sent now.

        The first ones repeat what the list holds that may not be committed: who else has it can
        see by them that it still stands. They go out as retransmissions, since others may know
        that more is committed than this primary knows.
        """
        if not self._unsent:
            return []
        run = joined(self._unsent)
        self._unsent.clear()
        packets = [] if self._is_opened else self._adopted_packets()
        self._is_opened = True
        self.acknowledge_own()
        return packets + self._publisher.publish(run, self.committed_sequence, now_ns)

    def acknowledge_own(self) -> None:
        """Count what this holder itself has stored by now."""
        self._acknowledge(self._name, self._holder.list.stored_sequence)

    @property
    def deadline_ns(self) -> int:
        """When `on_time` wants to be called next."""
        return self._publisher.deadline_ns

    def on_time(self, now_ns: int) -> list[bytes]:
        """The heartbeat that is due, if one is, or the word that the commit has moved."""
        return self._publisher.on_time(self.committed_sequence, now_ns)

    def on_ack(self, word: HolderWord, now_ns: int) -> None:
        """A holder's acknowledgement; one of an earlier life, or of a stranger, counts nothing."""
        name = unpad(word.holder)
        if word.epoch != self.epoch or name not in self._commit.held or name == self._name:
            return
        if self._incarnations.setdefault(name, word.incarnation) == word.incarnation:
            self._heard_ns[name] = now_ns
            self._acknowledge(name, min(word.last_sequence, self.last_sequence))

    def on_join(self, word: HolderWord) -> bool:
        """A holder came back without its memory; whether it is one of this shard's."""
        name = unpad(word.holder)
        if name not in self._commit.held or name == self._name:
            return False
        if self._incarnations.get(name) != word.incarnation:
            self._incarnations[name] = word.incarnation
            self._commit.forget(name)
            self._heard_ns.pop(name, None)
        return True

    def _acknowledge(self, name: str, sequence: int) -> None:
        if self._commit.acknowledge(name, sequence):
            self._holder.commit(self.committed_sequence)

    def _adopted_packets(self) -> list[bytes]:
        first, last = self._adopted_from, self._publisher.next_sequence - 1
        header = PacketHeader(
            RETRANSMISSION, self._shard, self.epoch, first, self.committed_sequence
        )
        frames = b"".join([run.data for run in self._holder.list.runs(first, last)])
        return encode_packets(header, frames, self._settings.payload_limit_bytes)

    def _set_time(self, time_ns: int) -> None:
        """Time in the list never runs backwards, whatever the clock does."""
        self._last_time_ns = max(self._last_time_ns, time_ns)

    def _write(self, run: Run) -> None:
        if run:
            self._holder.list.store(run)
            self._unsent.append(run)
            self.last_sequence = run.last_sequence
