"""One direction of a simulated TCP connection: two kernels, and the way between them.

Bytes arrive in order and once, cut and joined anew at random; what can't pass waits, and is sent
again with back-off until it does.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.simulation.network import Network
from tools.simulation.world import MILLISECOND_NS

if TYPE_CHECKING:
    from tools.simulation.tcp import End

# What both kernels keep of one direction, until the receiving process has read it.
BUFFER_BYTES = 64 << 10
# Between two attempts to get something across. TCP waits for 200 ms at least and for minutes at
# most; these are shorter, so that a run does not wait for long after a cut is healed.
FIRST_RETRY_NS = 10 * MILLISECOND_NS
LONGEST_RETRY_NS = 200 * MILLISECOND_NS
SPLIT_SHARE = 0.1  # of the segments, which arrive as two


@dataclass(slots=True)
class _Segment:
    """Bytes that are under way."""

    data: bytearray
    is_last: bool


class Pipe:
    """What one end has handed to its kernel, and the other has not read yet."""

    __slots__ = (
        "_is_broken",
        "_is_last_kept",
        "_is_news_waiting",
        "_is_waiting",
        "_kept",
        "_last_arrival_ns",
        "_network",
        "_read_bytes",
        "_receiver",
        "_retry_ns",
        "_sender",
        "_untaken_bytes",
        "_wire",
        "has_ended",
        "received",
    )

    def __init__(self, network: Network, sender: End, receiver: End) -> None:
        self.received = bytearray()  # by the receiver's kernel
        self.has_ended = False  # nothing comes after what is received
        self._network = network
        self._sender = sender
        self._receiver = receiver
        self._kept = bytearray()  # by the sender's kernel: not on its way
        self._is_last_kept = False  # the end of the stream goes with it
        self._is_broken = False  # some of it was lost for good: nothing more of it may arrive
        self._wire: deque[_Segment] = deque()
        self._last_arrival_ns = 0
        self._is_waiting = False  # to send again
        self._retry_ns = FIRST_RETRY_NS
        self._untaken_bytes = 0  # as far as the sender knows
        self._read_bytes = 0  # by the receiver, of which the sender does not know yet
        self._is_news_waiting = False  # of that, to be sent again

    @property
    def room(self) -> int:
        """How many more bytes the kernels take."""
        return BUFFER_BYTES - self._untaken_bytes

    def begin(self, time_ns: int) -> None:
        """Nothing arrives before this time."""
        self._last_arrival_ns = time_ns

    def send(self, data: bytearray) -> None:
        """The sender's process hands bytes to its kernel; there must be room for them."""
        self._untaken_bytes += len(data)
        self._kept += data
        self._transmit()

    def end(self) -> None:
        """The stream ends after what was sent."""
        self._is_last_kept = True
        self._transmit()

    def clear(self) -> None:
        """What has not arrived never will."""
        self._is_broken = True
        self._wire.clear()
        self.forget()

    def forget(self) -> None:
        """What is not under way is never sent."""
        self._kept.clear()
        self._is_last_kept = False

    def reset(self) -> None:
        """What has not arrived never will; the receiver is told that the connection is broken."""
        self.clear()
        if self._receiver.is_over:
            return
        network = self._network
        if self._reaches():
            network.count("connection reset")
            network.world.at(self._arrival_ns(network.delay_ns()), self._receiver.on_reset)
        else:
            network.after(LONGEST_RETRY_NS, self.reset)

    def take(self) -> bytes:
        """The receiver's process reads all that is there."""
        data = bytes(self.received)
        self.received.clear()
        self._read_bytes += len(data)
        self._tell_of_room()
        return data

    def on_room(self, count: int) -> None:
        """The sender learns that so many bytes were read."""
        self._untaken_bytes -= count

    def _transmit(self) -> None:
        """Sends what is kept, or waits until it can get across."""
        if self._is_waiting or not (self._kept or self._is_last_kept):
            return
        sender, receiver, network = self._sender, self._receiver, self._network
        nobody_cares = sender.is_over and (receiver.is_over or not sender.answers)
        if self._is_broken or nobody_cares:
            self.forget()
        elif not self._reaches():
            if self._retry_ns == FIRST_RETRY_NS:
                network.count("connection stalled")
            self._is_waiting = True
            network.after(self._retry_ns, self._retry)
            self._retry_ns = min(2 * self._retry_ns, LONGEST_RETRY_NS)
        else:
            self._retry_ns = FIRST_RETRY_NS
            data, self._kept = self._kept, bytearray()
            is_last, self._is_last_kept = self._is_last_kept, False
            self._depart(data, is_last)

    def _retry(self) -> None:
        self._is_waiting = False
        self._transmit()

    def _depart(self, data: bytearray, is_last: bool) -> None:
        network = self._network
        delay_ns = network.delay_ns() + self._receiver.process.lag_ns
        luck = network.random.random()
        if luck < network.weather.drop:
            network.count("segment sent again")
            delay_ns += FIRST_RETRY_NS
        elif luck > 1 - SPLIT_SHARE and len(data) > 1:
            place = network.random.randrange(1, len(data))
            self._travel(data[:place], False, delay_ns)
            data = data[place:]
            delay_ns += network.delay_ns()
        self._travel(data, is_last, delay_ns)

    def _travel(self, data: bytearray, is_last: bool, delay_ns: int) -> None:
        """Under way; what would overtake an earlier segment arrives together with it."""
        network, wire = self._network, self._wire
        if wire and network.now_ns + delay_ns <= self._last_arrival_ns:
            wire[-1].data += data
            wire[-1].is_last |= is_last
            return
        wire.append(_Segment(data, is_last))
        network.world.at(self._arrival_ns(delay_ns), self._arrive)

    def _arrival_ns(self, delay_ns: int) -> int:
        self._last_arrival_ns = max(self._last_arrival_ns, self._network.now_ns + delay_ns)
        return self._last_arrival_ns

    def _arrive(self) -> None:
        if not self._wire:
            return  # it was lost on its way, with all others
        segment = self._wire.popleft()
        receiver = self._receiver
        if not receiver.answers:
            # Nobody says that it has arrived: it is sent again, to be refused if ever.
            self._kept += segment.data
            self._transmit()
            return
        if receiver.is_over:
            if segment.data or receiver.is_forgotten:
                receiver.outgoing.reset()
            return
        self.received += segment.data
        self.has_ended |= segment.is_last
        receiver.wake()

    def _reaches(self) -> bool:
        receiver = self._receiver
        return receiver.answers and self._network.passes(
            self._sender.process.name, receiver.process.name
        )

    def _tell_of_room(self) -> None:
        """Lets the sender know what was read. That takes an event only if the sender waits."""
        sender, network = self._sender, self._network
        if self._is_news_waiting or sender.is_over:
            return
        if not network.passes(self._receiver.process.name, sender.process.name):
            self._is_news_waiting = True
            network.after(LONGEST_RETRY_NS, self._tell_again)
            return
        count, self._read_bytes = self._read_bytes, 0
        if sender.get_write_buffer_size():
            network.after(network.delay_ns(), lambda: sender.on_room(count))
        else:
            self.on_room(count)

    def _tell_again(self) -> None:
        self._is_news_waiting = False
        self._tell_of_room()
