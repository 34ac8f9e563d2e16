"""The answering end of gap repair: NAKs in, retransmissions out, within limits.

Who holds frames (a retransmitter, the primary) answers each NAK by unicast: with the frames that it
holds, and with the range that it lacks. Limits keep a NAK storm from drowning the feed: a NAK that
finds no allowance left is not answered, and the receiver asks again, or another.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

from feed.codec import FRAME_HEADER_BYTES, RETRANSMISSION, PacketHeader, WireError, encode_packet
from feed.datagrams import REPAIR_BYTES, Repair, decode_repair, encode_repair
from feed.publisher import PAYLOAD_MINIMUM_BYTES, chunks
from feed.schema import RepairKind

_MILLISECOND_NS = 1_000_000
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class RepairLimits:
    """How much a retransmitter answers."""

    # To all receivers together: a quarter of a gigabit link, which leaves the feed its room.
    bytes_per_second: int = 32_000_000
    # To all at once: several receivers' worth, on its way within ten milliseconds.
    burst_bytes: int = 1_000_000
    # To one receiver: one that joins late, or is broken, leaves half of it to all others.
    requester_bytes_per_second: int = 16_000_000
    # To one receiver at once: as much as it asks for at a time.
    requester_burst_bytes: int = 250_000
    # Receivers told apart; the one that asked longest ago is forgotten first.
    requesters: int = 1024
    # A NAK that is repeated within this time was doubled on its way: receivers wait for longer.
    suppression_ns: int = 4 * _MILLISECOND_NS
    # NAKs remembered to tell repeats by: more than can be answered within the suppression time.
    remembered_naks: int = 4096
    # Of one answer: a receiver asks for half of that at most.
    packets_per_nak: int = 64

    def __post_init__(self) -> None:
        if min(self.burst_bytes, self.requester_burst_bytes) < PAYLOAD_MINIMUM_BYTES:
            raise ValueError("a burst must have room for one packet")
        if min(self.bytes_per_second, self.requester_bytes_per_second) < 1:
            raise ValueError("a rate can't be zero")
        if min(self.requesters, self.remembered_naks, self.packets_per_nak) < 1:
            raise ValueError("one requester, one NAK and one packet are the least there can be")


DEFAULT_REPAIR_LIMITS = RepairLimits()


@dataclass(slots=True)
class RepairCounters:
    """What a responder has been asked and has answered. Each NAK counts in one of the first."""

    naks_answered: int = 0  # with all that is held and all that is missing, or as much as allowed
    naks_corrupt: int = 0  # damaged, foreign, or no NAK at all
    naks_other_shard: int = 0
    naks_suppressed: int = 0  # repeats
    naks_limited: int = 0  # left without any answer, since no allowance was left

    frames_retransmitted: int = 0
    packets_retransmitted: int = 0
    bytes_retransmitted: int = 0
    missing_answers: int = 0  # ranges that were said to be missing
    answers_cut_short: int = 0  # for want of allowance, or as longer than one answer may be


class HeldFrames(Protocol):
    """What NAKs are answered from: a `feed.cache.FrameCache`, or a `feed.held_list.HeldList`."""

    @property
    def first_sequence(self) -> int:
        """The oldest frame that is held; equal to `next_sequence` while there is none."""

    @property
    def next_sequence(self) -> int:
        """The frame after the last one that is held."""

    def frames(self, first: int, last: int) -> list[bytes]:
        """Each of the frames `first` to `last` that is held, in sequence."""


class _Allowance:
    """A token bucket: the bytes that may be sent now."""

    __slots__ = ("_bytes_per_second", "_limit_bytes", "_time_ns", "size_bytes")

    def __init__(self, bytes_per_second: int, limit_bytes: int, now_ns: int) -> None:
        self._bytes_per_second = bytes_per_second
        self._limit_bytes = limit_bytes
        self._time_ns = now_ns
        self.size_bytes = float(limit_bytes)

    def refill(self, now_ns: int) -> None:
        """Add what has become allowed since the last time."""
        added = max(now_ns - self._time_ns, 0) * self._bytes_per_second / _SECOND_NS
        self.size_bytes = min(self.size_bytes + added, self._limit_bytes)
        self._time_ns = now_ns


class RepairResponder:
    """Answers NAKs from the frames that are held."""

    __slots__ = (
        "_allowance",
        "_held",
        "_limits",
        "_payload_limit_bytes",
        "_remembered",
        "_requesters",
        "_shard",
        "counters",
    )

    def __init__(
        self,
        *,
        shard: int,
        held: HeldFrames,
        limits: RepairLimits = DEFAULT_REPAIR_LIMITS,
        payload_limit_bytes: int = 1400,
    ) -> None:
        if payload_limit_bytes < PAYLOAD_MINIMUM_BYTES:
            raise ValueError(f"a packet needs room for {PAYLOAD_MINIMUM_BYTES} bytes")
        self._shard = shard
        self._held = held
        self._limits = limits
        self._payload_limit_bytes = payload_limit_bytes
        self._allowance: _Allowance | None = None
        self._requesters: OrderedDict[Hashable, _Allowance] = OrderedDict()
        self._remembered: OrderedDict[tuple[Hashable, int, int], int] = OrderedDict()
        self.counters = RepairCounters()

    def on_nak(
        self,
        data: bytes,
        requester: Hashable,
        now_ns: int,
        epoch: int,
        committed_sequence: int,
        last_sequence: int | None = None,
    ) -> list[bytes]:
        """The datagrams that answer a NAK, to be sent back to `requester`.

        None when the NAK is no NAK, a repeat, or over the limits. `epoch` and `committed_sequence`
        are what the holder knows now. What it holds later than `last_sequence` may
        not stand in this epoch's list, and counts as missing.
        """
        try:
            nak = decode_repair(data)
        except WireError:
            self.counters.naks_corrupt += 1
            return []
        if nak.kind is not RepairKind.NAK:
            self.counters.naks_corrupt += 1
            return []
        if nak.shard != self._shard:
            self.counters.naks_other_shard += 1
            return []
        if self._is_repeat((requester, nak.first_sequence, nak.last_sequence), now_ns):
            self.counters.naks_suppressed += 1
            return []
        held = self._held.next_sequence - 1
        if last_sequence is not None:
            held = min(held, last_sequence)
        header = PacketHeader(RETRANSMISSION, self._shard, epoch, 1, committed_sequence)
        answer = self._answer(nak, requester, now_ns, header, held)
        if answer:
            self.counters.naks_answered += 1
            self._remember((requester, nak.first_sequence, nak.last_sequence), now_ns)
        else:
            self.counters.naks_limited += 1
        return answer

    def _answer(
        self, nak: Repair, requester: Hashable, now_ns: int, header: PacketHeader, held: int
    ) -> list[bytes]:
        first = max(nak.first_sequence, self._held.first_sequence)
        last = min(nak.last_sequence, held)
        if first > last or nak.epoch > header.epoch:
            # What is held may be void in an epoch that is not known here yet.
            first, last = nak.last_sequence + 1, nak.last_sequence
        missing = [(nak.first_sequence, first - 1), (last + 1, nak.last_sequence)]
        datagrams: list[bytes] = []
        allowances = self._allowances(requester, now_ns)
        for start, stop in missing:
            if start <= stop and _spend(allowances, REPAIR_BYTES):
                repair = Repair(RepairKind.MISSING, self._shard, header.epoch, start, stop)
                datagrams.append(encode_repair(repair))
                self.counters.missing_answers += 1
        if first <= last:
            datagrams += self._packets(header._replace(first_sequence=first), last, allowances)
        return datagrams

    def _packets(
        self, header: PacketHeader, last: int, allowances: tuple[_Allowance, _Allowance]
    ) -> list[bytes]:
        """As many of the frames from the header's first one to `last` as one answer may hold."""
        counters = self.counters
        sequence = header.first_sequence
        frames_per_packet = self._payload_limit_bytes // FRAME_HEADER_BYTES
        longest = self._limits.packets_per_nak * frames_per_packet
        frames = self._held.frames(sequence, min(last, sequence + longest - 1))
        packets: list[bytes] = []
        for chunk in chunks(frames, self._payload_limit_bytes):
            if len(packets) == self._limits.packets_per_nak:
                break
            packet = encode_packet(header._replace(first_sequence=sequence), chunk)
            if not _spend(allowances, len(packet)):
                break
            packets.append(packet)
            sequence += len(chunk)
            counters.bytes_retransmitted += len(packet)
        counters.packets_retransmitted += len(packets)
        counters.frames_retransmitted += sequence - header.first_sequence
        counters.answers_cut_short += sequence <= last
        return packets

    def _allowances(self, requester: Hashable, now_ns: int) -> tuple[_Allowance, _Allowance]:
        """What may be sent to all receivers together, and to this one."""
        limits = self._limits
        if self._allowance is None:
            self._allowance = _Allowance(limits.bytes_per_second, limits.burst_bytes, now_ns)
        own = self._requesters.pop(requester, None)
        if own is None:
            own = _Allowance(
                limits.requester_bytes_per_second, limits.requester_burst_bytes, now_ns
            )
        self._requesters[requester] = own
        if len(self._requesters) > limits.requesters:
            self._requesters.popitem(last=False)
        self._allowance.refill(now_ns)
        own.refill(now_ns)
        return self._allowance, own

    def _is_repeat(self, nak: tuple[Hashable, int, int], now_ns: int) -> bool:
        answered_ns = self._remembered.get(nak)
        return answered_ns is not None and now_ns - answered_ns < self._limits.suppression_ns

    def _remember(self, nak: tuple[Hashable, int, int], now_ns: int) -> None:
        self._remembered.pop(nak, None)
        self._remembered[nak] = now_ns
        if len(self._remembered) > self._limits.remembered_naks:
            self._remembered.popitem(last=False)


def _spend(allowances: tuple[_Allowance, _Allowance], size_bytes: int) -> bool:
    """Take `size_bytes` from all of these, or from none; whether they sufficed."""
    if any(allowance.size_bytes < size_bytes for allowance in allowances):
        return False
    for allowance in allowances:
        allowance.size_bytes -= size_bytes
    return True
