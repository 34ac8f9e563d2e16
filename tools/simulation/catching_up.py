"""Long ranges and snapshots between simulated processes, over TCP: both ends of a replay.

It does what `feed.replay_port`, `feed.catch_up` and `feed.continuity` do with sockets and tasks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from feed.catch_up import Behind
from feed.codec import WireError
from feed.datagrams import REPLAY_BYTES, Replay, encode_replay
from feed.replay import ReplaySource, answer_replay
from feed.replay_answer import ListPacket, ReplayAnswer, ReplayError, SnapshotIsWhole, SnapshotPart
from feed.schema import ReplayKind
from feed.snapshot import SnapshotError, WholeSnapshot
from feed.storage import StorageError
from tools.simulation.listening import Listening
from tools.simulation.tcp import End
from tools.simulation.world import MICROSECOND_NS, MILLISECOND_NS

REPLAY_PORT = "replays"
PIECE_NS = 100 * MICROSECOND_NS  # between two pieces of an answer, at least
CONNECT_TIMEOUT_NS = 200 * MILLISECOND_NS
STALL_NS = 400 * MILLISECOND_NS
RETRY_AFTER_NS = 100 * MILLISECOND_NS


class ReplayConnection(asyncio.Protocol):
    """Somebody asks for a replay."""

    def __init__(self, node: Listening, source: ReplaySource) -> None:
        self._node = node
        self._source = source
        self._request = b""
        self._pieces: Iterator[bytes] | None = None
        self._is_paused = False
        self._is_due = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, End)
        self._end = transport

    def data_received(self, data: bytes) -> None:
        self._request += data
        if len(self._request) < REPLAY_BYTES or self._pieces is not None:
            return
        try:
            self._pieces = answer_replay(self._request[:REPLAY_BYTES], self._source)
        except WireError:
            self._end.abort()
            return
        self._is_due = True
        self._go_on()

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._pieces = None

    def _go_on(self) -> None:
        if self._pieces is None or self._is_paused or not self._is_due:
            return
        if self._end.peer in self._node.shard.starved:
            self._end.abort()
            return
        self._is_due = False
        try:
            piece = next(self._pieces, None)
        except (SnapshotError, StorageError) as error:
            self._node.note("a replay broke off: {}", error)
            self._end.abort()
            return
        if piece is None:
            self._end.close()
            return
        self._end.write(piece)
        self._node.network.after(PIECE_NS, partial(self._end.reach, self._on_time))

    def _on_time(self) -> None:
        self._is_due = True
        self._go_on()


class CatchingUp:
    """Brings a receiver near the live feed, now and whenever it has fallen far behind.

    For one life of a process. `take` gets each packet, `on_snapshot` each sound snapshot: what it
    raises as a SnapshotError has another source tried.
    """

    def __init__(
        self,
        node: Listening,
        sources: Sequence[str],
        receiver: Behind[Any],
        kind: ReplayKind,
        take: Callable[[bytes], None],
        on_snapshot: Callable[[WholeSnapshot], None] | None,
        hold_naks: Callable[[bool], None],
        is_stuck: Callable[[], bool] = bool,
    ) -> None:
        """`is_stuck` tells whether it needs a replay, however short the gap is."""
        self.answers = 0
        self.is_under_way = False
        self._node = node
        self._life = node.life
        self._names = tuple(sources)
        self._receiver = receiver
        self._kind = kind
        self._take = take
        self._on_snapshot = on_snapshot
        self._hold_naks = hold_naks
        self._is_stuck = is_stuck
        self._may_begin = False  # it has not been asked yet, or it has just been to no use
        self._before = 0

    def begin(self) -> None:
        """Ask at once: who comes back does not know how far the list goes. Who has nothing, where
        the others have no first frame any more either, begins with what a snapshot tells."""
        self._ask_all(self._kind, self._on_first)

    def stand_by(self) -> None:
        """Ask when there is a long gap, and not before."""
        self._may_begin_again()

    def wake(self) -> None:
        """The receiver may have fallen behind."""
        receiver = self._receiver
        gap = receiver.highest_sequence + 1 - receiver.next_sequence
        is_far = receiver.next_sequence > 0 and gap > self._node.shard.shape.long_gap_frames
        if self._may_begin and (is_far or self._is_stuck()):
            self._may_begin = False
            self._before = receiver.next_sequence
            self._ask_all(self._kind, self._on_asked)

    def _on_first(self, has_answered: bool) -> None:
        receiver = self._receiver
        is_empty = receiver.next_sequence <= 1
        if not has_answered and is_empty and self._on_snapshot is not None:
            self._ask_all(ReplayKind.STATE, lambda _: self._may_begin_again())
        else:
            self._may_begin_again()

    def _on_asked(self, has_answered: bool) -> None:
        if has_answered and self._receiver.next_sequence != self._before:
            self._may_begin_again()
        else:
            self._later(RETRY_AFTER_NS, self._may_begin_again)

    def _may_begin_again(self) -> None:
        self._may_begin = True
        self.wake()

    def _ask_all(self, kind: ReplayKind, done: Callable[[bool], None]) -> None:
        """Ask the sources, one after the other, until one has answered wholly."""
        names = list(self._names)
        self._node.network.random.shuffle(names)
        self._set_under_way(True)
        self._ask_next(names, kind, done)

    def _ask_next(self, names: list[str], kind: ReplayKind, done: Callable[[bool], None]) -> None:
        if not names:
            self._set_under_way(False)
            done(False)
            return
        name = names.pop()
        _Reading(self, name, kind, partial(self._on_read, name, names, kind, done))

    def _on_read(
        self,
        name: str,
        names: list[str],
        kind: ReplayKind,
        done: Callable[[bool], None],
        failure: str | None,
    ) -> None:
        if failure is not None:
            self._node.note("has no replay of {}: {}", name, failure)
            self._ask_next(names, kind, done)
            return
        self.answers += 1
        self._set_under_way(False)
        done(True)

    def _set_under_way(self, is_under_way: bool) -> None:
        self.is_under_way = is_under_way
        self._hold_naks(is_under_way)

    def _later(self, delay_ns: int, act: Callable[[], None]) -> None:
        self._node.network.after(delay_ns, partial(self._node.do, self._life, act))

    # For those who read.

    def request(self, kind: ReplayKind) -> Replay:
        """What to ask for now."""
        receiver = self._receiver
        return Replay(kind, self._node.shard.number, receiver.epoch, max(receiver.next_sequence, 1))

    def read(self, reading: _Reading, data: bytes) -> bool:
        """Take in what has come; whether there was a whole message. Raises ReplayError and
        SnapshotError when it is of no use."""
        items = reading.answer.take(data, self._receiver.epoch)
        for item in items:
            match item:
                case ListPacket(packet):
                    self._take(packet)
                case SnapshotPart(part):
                    reading.parts.append(part)
                case SnapshotIsWhole(reader):
                    snapshot = WholeSnapshot(reader, lambda: list(reading.parts))
                    if snapshot.head.sequence >= self._receiver.next_sequence:
                        assert self._on_snapshot is not None
                        self._on_snapshot(snapshot)
        if reading.answer.is_over and self._receiver.next_sequence < reading.answer.next_sequence:
            at = self._receiver.next_sequence
            raise ReplayError(f"the list could not be read on at {at}")
        return bool(items)

    def connect(self, name: str, reading: _Reading) -> End:
        """Connect to a source."""
        node = self._node
        return node.shard.tcp.connect(
            node,
            node.shard.holders[name],
            REPLAY_PORT,
            lambda: reading,
            reading.fail,
            CONNECT_TIMEOUT_NS,
        )

    def watch(self, reading: _Reading, messages: int) -> None:
        """A source that is silent is of no use."""
        self._later(STALL_NS, partial(reading.look, messages))


class _Reading(asyncio.Protocol):
    """The answer of one source; `done` is told once, with what is wrong with it or None."""

    def __init__(
        self,
        catching_up: CatchingUp,
        name: str,
        kind: ReplayKind,
        done: Callable[[str | None], None],
    ) -> None:
        self.parts: list[bytes] = []
        self._request = catching_up.request(kind)
        self.answer = ReplayAnswer(self._request)
        self._catching_up = catching_up
        self._done: Callable[[str | None], None] | None = done
        self._messages = 0
        self._end = catching_up.connect(name, self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._end.write(encode_replay(self._request))
        self._catching_up.watch(self, self._messages)

    def data_received(self, data: bytes) -> None:
        if self._done is None:
            return
        try:
            if self._catching_up.read(self, data):
                self._messages += 1
                self._catching_up.watch(self, self._messages)
        except (ReplayError, SnapshotError) as error:
            self.fail(str(error))
            self._end.abort()
            return
        if self.answer.is_over:
            self._finish(None)
            self._end.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(str(exc or "it broke off in the middle of its answer"))

    def look(self, messages: int) -> None:
        """Give it up, if nothing more has come since."""
        if self._done is not None and messages == self._messages:
            self.fail("it is silent")
            self._end.abort()

    def fail(self, why: str) -> None:
        """It is of no use."""
        self._finish(why)

    def _finish(self, why: str | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(why)
