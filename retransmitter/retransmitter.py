"""A retransmitter, sans-I/O: it reads the list like any receiver, keeps it, and answers NAKs.

It repairs its own gaps from its peers. What it has not got it says it lacks, and never guesses.
"""

from random import Random

from feed.cache import FrameCache
from feed.codec import Frame
from feed.gap import DEFAULT_REPAIR_POLICY, GapFailure, Nak, RepairPolicy
from feed.receiver import Receiver, ReceiverCounters
from feed.repair import RepairCounters, RepairLimits, RepairResponder
from feed.settings import Address


class Retransmitter:
    """The newest frames of one shard's list, committed or not, for whoever missed some.

    `peer_count` others can be asked for what is missing here; the last of them is the primary, who
    is asked only when all others have been. A gap that nobody can fill is final: what comes after
    it is not kept, and what was kept before it is still served.
    """

    __slots__ = ("_cache", "_receiver", "_responder")

    def __init__(
        self,
        *,
        shard: int,
        peer_count: int,
        random: Random,
        cache_bytes: int,
        payload_limit_bytes: int,
        limits: RepairLimits,
        policy: RepairPolicy = DEFAULT_REPAIR_POLICY,
    ) -> None:
        self._cache = FrameCache(cache_bytes)
        self._receiver = Receiver(
            shard=shard,
            source_count=peer_count,
            random=random,
            policy=policy,
            last_resort_count=min(peer_count, 1),
        )
        self._responder = RepairResponder(
            shard=shard,
            cache=self._cache,
            limits=limits,
            payload_limit_bytes=payload_limit_bytes,
        )

    @property
    def first_sequence(self) -> int:
        """The oldest frame that it can still send; `next_sequence` while it has none."""
        return self._cache.first_sequence

    @property
    def next_sequence(self) -> int:
        """The first frame that it has not got yet."""
        return self._cache.next_sequence

    @property
    def committed_sequence(self) -> int:
        """How far the list is known to be committed."""
        return self._receiver.committed_sequence

    @property
    def epoch(self) -> int:
        """The highest epoch seen."""
        return self._receiver.epoch

    @property
    def failure(self) -> GapFailure | None:
        """The gap that nobody could fill; the list is not read any further."""
        return self._receiver.failure

    @property
    def deadline_ns(self) -> int | None:
        """When to call `on_time` next; None while nothing is missing."""
        return self._receiver.deadline_ns

    @property
    def received(self) -> ReceiverCounters:
        """What came in from the feed and from peers."""
        return self._receiver.counters

    @property
    def repairs(self) -> RepairCounters:
        """What was asked for and sent."""
        return self._responder.counters

    def on_datagram(self, data: bytes, now_ns: int, source: int | None = None) -> list[Frame]:
        """Take in a datagram from the feed, or a peer's answer; the frames that it made known."""
        frames = self._receiver.on_datagram(data, now_ns, source)
        for frame in frames:
            self._cache.append(frame.data, frame.sequence)
        return frames

    def on_time(self, now_ns: int) -> list[Nak]:
        """The NAKs that are due, each to be sent to its peer."""
        return self._receiver.on_time(now_ns)

    def on_nak(self, data: bytes, requester: Address, now_ns: int) -> list[bytes]:
        """The datagrams that answer a NAK, to be sent back to `requester`; none over the limits."""
        receiver = self._receiver
        return self._responder.on_nak(
            data, requester, now_ns, receiver.epoch, receiver.committed_sequence
        )

    def check(self) -> None:
        """Raise AssertionError unless all invariants hold."""
        self._cache.check()
        self._receiver.check()
        assert self._cache.next_sequence == self._receiver.next_sequence, "received and not kept"
