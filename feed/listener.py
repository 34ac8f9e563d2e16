"""The asyncio shell around a receiver: packets in from the sockets, NAKs out, timers in between.

What a packet means is decided in `feed.receiver` and `feed.subscriber`; here are only sockets and
the clock. NAKs go out on a unicast socket of the listener's own, and their answers come in on it.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from feed.faults import Faults
from feed.gap import GapFailure, Nak
from feed.multicast import (
    DATAGRAMS_PER_WAKE_UP,
    PacketReader,
    drain,
    open_receiver,
    open_unicast,
    resolve,
)
from feed.settings import Address, FeedSettings
from feed.unheard import HEARS_ALL, Unheard

Delivered = TypeVar("Delivered")
Delivered_co = TypeVar("Delivered_co", covariant=True)

# What is due is put off for so many turns while datagrams wait to be read. These are more full
# packets than the default receive buffer holds: what had arrived when it became due has been read.
TURNS_BEFORE_NAKS = 64


class Reception(Protocol[Delivered_co]):
    """A `Subscriber`, a `Replica`, or whatever else takes datagrams and asks for what it lacks."""

    @property
    def deadline_ns(self) -> int | None: ...

    @property
    def failure(self) -> GapFailure | None: ...

    def on_datagram(self, data: bytes, now_ns: int, source: int | None = None) -> Delivered_co: ...

    def on_datagrams(self, datagrams: Sequence[bytes], now_ns: int) -> Delivered_co: ...

    def on_time(self, now_ns: int) -> list[Nak]: ...


@dataclass(slots=True)
class ListenerCounters:
    """What passed the listener's sockets; the receiver counts what the datagrams were."""

    packets: int = 0  # arrived at the group, or at this receiver's own address
    answers: int = 0  # arrived from retransmitters
    foreign_answers: int = 0  # arrived where answers do, but from somebody else: dropped
    naks: int = 0
    send_errors: int = 0


class Listener(Generic[Delivered]):
    """Feeds a receiver from the shard's sockets, and hands on what it delivers.

    Only datagrams from the addresses of `retransmitters` count as answers; their places in that
    list are the receiver's `source` numbers. `deliver` is called with what came out, and never with
    nothing; a receiver that keeps all for itself needs none. `after` is called at the end of each
    turn, whatever it brought: a heartbeat, or the time, may change what a holder has to say.
    `unheard` is what this process need not be woken for.

    `failed` is there from `start` on. It is done when nothing will be delivered any more: with the
    GapFailure when the receiver gave up, with the exception when `deliver` or the receiver raised
    one, after which the listener is closed.

    While `holds_naks_back` no NAK leaves: a replay brings what is missing (`feed.catch_up`).
    """

    failed: asyncio.Future[GapFailure]

    def __init__(
        self,
        settings: FeedSettings,
        receiver: Reception[Delivered],
        retransmitters: Sequence[Address],
        deliver: Callable[[Delivered], None] | None = None,
        *,
        receive: Address | None = None,
        faults: Faults | None = None,
        after: Callable[[], None] | None = None,
        unheard: Unheard = HEARS_ALL,
    ) -> None:
        self.counters = ListenerCounters()
        self.holds_naks_back = False
        self._settings = settings
        self._receiver = receiver
        self._retransmitters = tuple(retransmitters)
        self._sources: dict[Address, int] = {}
        self._deliver = deliver
        self._receive = receive
        self._faults = faults
        self._after = after
        self._unheard = unheard
        self._resources = contextlib.ExitStack()
        self._timer: asyncio.Handle | None = None
        self._timer_at_ns = 0  # when it fires
        self._turns_behind = 0
        self._is_open = False
        # A longer datagram is no packet of this feed; cut off here, it fails its checks.
        self._read_bytes = settings.payload_limit_bytes + 1

    def start(self) -> None:
        """Open the sockets and begin to receive, on the running event loop.

        Raises OSError when a socket can't be opened; ValueError when unicast lacks an address, or
        one retransmitter is listed twice.
        """
        self.failed = asyncio.get_running_loop().create_future()
        self._retransmitters = tuple(map(resolve, self._retransmitters))
        self._sources = {address: i for i, address in enumerate(self._retransmitters)}
        if len(self._sources) != len(self._retransmitters):
            raise ValueError(
                "one retransmitter is listed twice; its answers could not be told apart"
            )
        with self._resources:
            self._answers = self._open(open_unicast(self._own_address()), self._on_answers)
            packets = open_receiver(self._settings, self._receive)
            self._unheard.keep_from(packets)
            self._reader = PacketReader(packets, self._read_bytes)
            self._open(packets, self._on_packets)
            self._resources = self._resources.pop_all()
        self._is_open = True
        self._schedule()

    def close(self) -> None:
        """Close the sockets and stop the timer; `deliver` may do so, and more than once."""
        self._is_open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._resources.close()

    def wake(self) -> None:
        """Look at the receiver's deadline again: something other than a datagram has moved it."""
        if self._is_open:
            self._schedule()

    @property
    def address(self) -> Address:
        """Where NAKs are sent from and answers have to arrive."""
        return Address(*self._answers.getsockname())

    def _own_address(self) -> Address:
        """A free port on the interface that the packets come in on."""
        host = str(self._settings.interface)
        if self._settings.transport == "unicast" and self._receive is not None:
            host = self._receive.host
        return Address(host, 0)

    def _open(self, opened: socket.socket, on_readable: Callable[[], object]) -> socket.socket:
        loop = asyncio.get_running_loop()
        self._resources.callback(opened.close)
        loop.add_reader(opened, self._run, on_readable)
        self._resources.callback(loop.remove_reader, opened)
        return opened

    def _run(self, step: Callable[[], object]) -> None:
        """Take one step of the event loop; stop for good when it raises."""
        try:
            step()
            if self._after is not None:
                self._after()
        except Exception as error:
            self.close()
            if not self.failed.done():
                self.failed.set_exception(error)
            raise
        if self._is_open:  # `deliver` may have closed it
            self._schedule()

    def _on_packets(self) -> bool:
        """Take what waits at the group; whether more may wait there."""
        datagrams = self._reader.read()
        self.counters.packets += len(datagrams)
        is_full = len(datagrams) == DATAGRAMS_PER_WAKE_UP
        if self._faults is not None:
            datagrams = [arrived for data in datagrams for arrived in self._faults.apply(data)]
        if datagrams:
            self._give_out(self._receiver.on_datagrams(datagrams, time.monotonic_ns()))
        return is_full

    def _on_answers(self) -> bool:
        """Take what waits on the listener's own socket; whether more may wait there."""
        now_ns = time.monotonic_ns()
        taken = 0
        for data, sender in drain(self._answers, self._read_bytes):
            taken += 1
            source = self._sources.get(sender)
            if source is None:
                self.counters.foreign_answers += 1
                continue
            self.counters.answers += 1
            for arrived in [data] if self._faults is None else self._faults.apply(data):
                # Who sent what was held back is forgotten; it counts as if it came by multicast.
                known = source if arrived == data else None
                self._give_out(self._receiver.on_datagram(arrived, now_ns, known))
                if not self._is_open:
                    return False
        return taken == DATAGRAMS_PER_WAKE_UP

    def _give_out(self, delivered: Delivered) -> None:
        if delivered and self._deliver is not None:
            self._deliver(delivered)

    def _on_time(self) -> None:
        """Send the NAKs that are due, once it is sure that what they ask for does not wait here.

        Who is behind in reading would else ask for the very frames that it has yet to read.
        """
        self._timer = None
        more = any([self._is_open and take() for take in (self._on_packets, self._on_answers)])
        if not self._is_open:
            return
        if more and self._turns_behind < TURNS_BEFORE_NAKS:
            self._turns_behind += 1
            return  # the deadline has passed, so the next turn comes back here
        self._turns_behind = 0
        for source, data in self._receiver.on_time(time.monotonic_ns()):
            if self.holds_naks_back:
                continue  # as good as lost; time goes on
            try:
                self._answers.sendto(data, self._retransmitters[source])
            except OSError:  # a full buffer, or an address that can't be reached: as good as lost
                self.counters.send_errors += 1
            else:
                self.counters.naks += 1

    def _schedule(self) -> None:
        """Set the timer to when the receiver wants to be called; report that it gave up."""
        failure = self._receiver.failure
        if failure is not None and not self.failed.done():
            self.failed.set_result(failure)
        deadline_ns = self._receiver.deadline_ns
        if self._turns_behind and (deadline_ns is None or deadline_ns > time.monotonic_ns()):
            self._turns_behind = 0  # what was due has been read meanwhile
        if self._timer is not None:
            if deadline_ns is not None and self._timer_at_ns <= deadline_ns:
                return  # it will be early, and then set anew: cheaper than moving it each time
            self._timer.cancel()
            self._timer = None
        if deadline_ns is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(deadline_ns / 1e9, self._run, self._on_time)
            self._timer_at_ns = deadline_ns
