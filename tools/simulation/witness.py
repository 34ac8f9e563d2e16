"""A witness of all that a shard does: it holds every step against the rules of the list.

It sees what no process sees: what each primary wrote in its epoch, what each holder has said, and
what anybody was ever told is committed. It raises AssertionError at the very step that breaks a
rule of section 3 of the design.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from feed.codec import Frame, decode_frame, decode_packet
from feed.datagrams import HolderWord, is_repair
from feed.holder import Holder
from feed.messages import Epoch, unpad
from feed.schema import FrameType, HolderKind


@dataclass(slots=True)
class _Reign:
    """What one primary wrote in its epoch, and who acknowledged how much of it."""

    name: str
    life: int  # of the process
    frames: dict[int, bytes]
    last_sequence: int
    epoch_sequence: int = 0
    committed: int = 0
    acknowledged: dict[str, tuple[int, int]] = field(default_factory=dict)  # memory, sequence

    def acknowledge(self, name: str, memory: int, sequence: int) -> None:
        """One acknowledges so much, or voids with 0 what it did with an earlier memory."""
        known = self.acknowledged.get(name, (0, 0))
        self.acknowledged[name] = max(known, (memory, sequence))


class Witness:
    """What is committed, who wrote which list, and what each process has promised."""

    def __init__(self, holder_count: int) -> None:
        self.committed: list[bytes] = []  # every frame that anybody was told of, from the first one
        self.listeners: list[Callable[[Frame], None]] = []  # hear of each of them once, in order
        self.announced_sequence = 0  # what a primary has told the group is committed
        self.epochs: list[int] = []  # whose EPOCH frame is committed
        self.leaders: dict[int, str] = {}  # by epoch
        self._holder_count = holder_count
        self._time_ns = 0  # of the last committed frame
        self._reigns: dict[int, _Reign] = {}
        self._memories: dict[int, tuple[str, int]] = {}  # by incarnation
        # By name and memory: what one says counts until it forgets it.
        self._returned: dict[tuple[str, int], int] = {}  # what was committed when it had forgotten
        self._have_voted: set[str] = set()  # who has acknowledged anything or answered a takeover
        self._said: dict[tuple[str, int], int] = {}  # the highest epoch that it answered for
        self._vowed: dict[tuple[str, int], int] = {}  # the same, of takeovers alone
        self._acked: dict[tuple[str, int], tuple[int, int]] = {}  # epoch and sequence
        self._knows: dict[tuple[str, int], int] = {}  # committed frames compared so far

    def on_start(self, name: str, memory: int, incarnation: int) -> None:
        """A process starts; with a new memory, it has forgotten what it said, if anything."""
        self._memories[incarnation] = name, memory
        committed = len(self.committed) if name in self._have_voted else 0
        self._returned.setdefault((name, memory), committed)

    def remembers_all(self, name: str, memory: int, holder: Holder) -> bool:
        """Whether a holder has all that it has said with this memory."""
        key = name, memory
        held = holder.last_epoch, holder.last_sequence
        return holder.epoch >= self._said.get(key, 0) and held >= self._acked.get(key, (0, 0))

    def on_recovered(self, name: str, memory: int, vows: int, holder: Holder) -> None:
        """A process has begun with what its earlier ones left it: all that they stood for."""
        vowed, said = self._vowed.get((name, vows), 0), self._said.get((name, memory), 0)
        assert holder.epoch >= max(vowed, said), (
            f"{name} answered for epoch {max(vowed, said)}, and comes back in {holder.epoch}"
        )
        epoch, acked = self._acked.get((name, memory), (0, 0))
        held = holder.last_epoch, holder.last_sequence
        kept = self._lost_from(epoch, acked) - 1
        assert held >= (epoch, kept), (
            f"{name} acknowledged {acked} of epoch {epoch}, and comes back with {held[1]} of"
            f" epoch {held[0]}"
        )

    def _lost_from(self, epoch: int, acked: int) -> int:
        """The first frame of that epoch's list that lost to a later one's, which a holder drops
        before it has others to store; without any, the one after what it acknowledged."""
        ours = self._reigns[epoch].frames if epoch in self._reigns else {}
        later = [each.frames for number, each in self._reigns.items() if number > epoch]
        return next(
            (
                sequence
                for sequence in range(1, acked + 1)
                if any(
                    frames.get(sequence, ours.get(sequence)) != ours.get(sequence)
                    for frames in later
                )
            ),
            acked + 1,
        )

    def on_own(
        self, name: str, memory: int, epoch: int, sequence: int, committed_sequence: int = 0
    ) -> None:
        """A primary counts so much of its list as held by itself, and as committed, which it may
        remember though it dies before it has told anybody."""
        reign = self._reigns[epoch]
        if sequence >= reign.epoch_sequence > 0:
            self._acked[name, memory] = epoch, sequence
            reign.acknowledge(name, memory, sequence)
        self._announce(epoch, reign, committed_sequence)

    def on_lead(
        self, name: str, life: int, epoch: int, held: Sequence[bytes], first: int = 1
    ) -> None:
        """A primary has begun its reign with this list, of which it has the frames from `first`
        on."""
        assert epoch not in self._reigns, f"{name} and {self.leaders[epoch]} lead in epoch {epoch}"
        if epoch > max(self._reigns, default=0):
            # Else it was paused while it took over, and wakes too late to matter.
            ours = self.committed[first - 1 :]
            is_whole = list(held[: len(ours)]) == ours
            assert is_whole, f"{name} leads in epoch {epoch} without committed frames"
        self.leaders[epoch] = name
        # What it can't read of its own disk any more is what it had of the list before.
        before = self._reigns[max(self._reigns)].frames if self._reigns else {}
        frames = {sequence: before[sequence] for sequence in range(1, first) if sequence in before}
        frames |= dict(enumerate(self.committed[: first - 1], 1))
        frames |= dict(enumerate(held, first))
        self._reigns[epoch] = _Reign(name, life, frames, first + len(held) - 1)

    def on_multicast(self, name: str, life: int, packet: bytes) -> None:
        """A packet goes out to the group."""
        header, frames = decode_packet(packet)
        reign = self._reigns[header.epoch]
        assert (reign.name, reign.life) == (name, life), f"{name} writes in epoch {header.epoch}"
        for frame in frames:
            known = reign.frames.setdefault(frame.sequence, frame.data)
            assert known == frame.data, f"epoch {header.epoch} has two frames {frame.sequence}"
            if frame.type is FrameType.EPOCH:
                reign.epoch_sequence = frame.sequence
            reign.last_sequence = max(reign.last_sequence, frame.sequence)
        self._announce(header.epoch, reign, header.committed_sequence)

    def on_word(self, name: str, memory: int, vows: int, word: HolderWord, holder: Holder) -> None:
        """A holder says something to another."""
        key = name, memory
        if word.kind is HolderKind.ANSWER:
            vowed = self._vowed.get((name, vows), 0)
            assert word.epoch >= vowed, f"{name} promised epoch {vowed}, and now {word.epoch}"
            self._vowed[name, vows] = word.epoch
        if word.kind in (HolderKind.ACK, HolderKind.ANSWER):
            said = self._said.get(key, 0)
            assert word.epoch >= said, f"{name} answered for epoch {said}, now for {word.epoch}"
            self._said[key] = word.epoch
            self._have_voted.add(name)
            has_caught_up = holder.last_sequence >= self._returned[key]
            assert has_caught_up, f"{name} forgot, and votes before it caught up"
        if word.kind is HolderKind.ACK:
            self._compare_acknowledged(key, word, holder)
            self._reigns[word.epoch].acknowledge(name, memory, word.last_sequence)
        elif word.kind is HolderKind.WELCOME:
            welcomed, its_memory = self._memories[word.incarnation]
            self._reigns[word.epoch].acknowledge(welcomed, its_memory, 0)

    def on_answer(self, name: str, data: bytes) -> None:
        """A holder answers a NAK: with frames of the list of the epoch that it says it is in."""
        if is_repair(data):
            return
        header, frames = decode_packet(data)
        reign = self._reigns.get(header.epoch)
        for frame in frames:
            at = frame.sequence
            known: bytes | None
            if reign is not None and name == reign.name:
                known = reign.frames.setdefault(at, frame.data)  # it may not have sent all itself
            elif reign is not None:
                known = reign.frames.get(at)
            else:  # nobody leads yet, so that only what is committed is sure
                known = self.committed[at - 1] if at <= len(self.committed) else None
            assert known == frame.data, f"{name} sends frame {at} of a list that may have lost"

    def on_committed(self, frames: Iterable[Frame]) -> None:
        """Somebody was told that these frames are committed: so they stay, for everybody."""
        for frame in frames:
            self._commit(frame.sequence, frame.data)

    def on_known(self, name: str, life: int, holder: Holder) -> None:
        """A holder knows that so much of what it holds is committed."""
        known = self._knows.get((name, life), 0)
        last = min(holder.committed_sequence, holder.verified_sequence)
        if last > known:
            first = max(known + 1, holder.list.first_sequence)
            for sequence, data in enumerate(holder.list.frames(first, last), first):
                self._commit(sequence, data)
            self._knows[name, life] = last

    def _compare_acknowledged(self, key: tuple[str, int], word: HolderWord, holder: Holder) -> None:
        """What is acknowledged must stand in the list of its epoch, frame by frame."""
        written = self._reigns[word.epoch].frames
        epoch, acked = self._acked.get(key, (0, 0))
        first = max(acked + 1 if epoch == word.epoch else 1, holder.list.first_sequence)
        assert word.last_sequence <= holder.last_sequence, f"{key[0]} has not what it acknowledges"
        is_author = key[0] == self.leaders[word.epoch]  # which came back, and may not have sent all
        for sequence, data in enumerate(holder.list.frames(first, word.last_sequence), first):
            known = written.setdefault(sequence, data) if is_author else written.get(sequence)
            assert known == data, (
                f"{key[0]} acknowledges frame {sequence}, which epoch {word.epoch} has otherwise"
            )
        if word.last_sequence >= first:
            self._acked[key] = word.epoch, word.last_sequence

    def _announce(self, epoch: int, reign: "_Reign", committed_sequence: int) -> None:
        if committed_sequence > max(reign.committed, len(self.committed)):
            reign.committed = committed_sequence
            self._check_commit(epoch, reign)
            self.announced_sequence = max(self.announced_sequence, reign.committed)

    def _check_commit(self, epoch: int, reign: "_Reign") -> None:
        """What a primary says is committed is held by a majority, with its EPOCH frame."""
        committed = reign.committed
        assert committed >= reign.epoch_sequence > 0, f"epoch {epoch} commits an older one's frames"
        held = sum(sequence >= committed for _, sequence in reign.acknowledged.values())
        assert 2 * held > self._holder_count, f"frame {committed} is committed without a majority"

    def _commit(self, sequence: int, data: bytes) -> None:
        if sequence <= len(self.committed):
            known = self.committed[sequence - 1]
            assert known == data, f"frame {sequence} was changed after its commit"
            return
        assert sequence == len(self.committed) + 1, f"frame {sequence} was committed out of turn"
        assert sequence <= self.announced_sequence, f"nobody has said that {sequence} is committed"
        self.committed.append(data)
        frame = decode_frame(data)
        assert frame.time_ns >= self._time_ns, f"in frame {sequence} time runs backwards"
        self._time_ns = frame.time_ns
        if frame.type is FrameType.EPOCH:
            message = frame.message()
            assert isinstance(message, Epoch)
            assert self.leaders[message.epoch] == unpad(message.primary)
            self.epochs.append(message.epoch)
        for listener in self.listeners:
            listener(frame)
