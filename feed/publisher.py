"""The sending end of a list: frames in, packets and heartbeats out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from feed.codec import (
    COMMIT,
    HEARTBEAT,
    LONGEST_FRAME_BYTES,
    PACKET_HEADER_BYTES,
    PacketHeader,
    encode_packet,
)
from feed.frames import encode_packets
from feed.run import Run

_MILLISECOND_NS = 1_000_000
PAYLOAD_MINIMUM_BYTES = PACKET_HEADER_BYTES + LONGEST_FRAME_BYTES


@dataclass(frozen=True, slots=True)
class HeartbeatPolicy:
    """How close heartbeats follow data and each other: PGM's heartbeat SPMs (RFC 3208, 5.1.5).

    The first comes soon, so that the loss of a last frame shows at once; each wait is twice the
    one before, up to a limit at which an idle feed still shows that its primary is alive.
    """

    first_ns: int = 2 * _MILLISECOND_NS
    limit_ns: int = 250 * _MILLISECOND_NS

    def __post_init__(self) -> None:
        if not 1 <= self.first_ns <= self.limit_ns:
            raise ValueError("the first wait must not be zero, nor longer than the limit")


def chunks(frames: Sequence[bytes], payload_limit_bytes: int) -> Iterator[Sequence[bytes]]:
    """Consecutive frames in runs, each as long as fits into one packet, and one frame at least."""
    room_bytes = payload_limit_bytes - PACKET_HEADER_BYTES
    start = size_bytes = 0
    for i, frame in enumerate(frames):
        size_bytes += len(frame)
        if size_bytes > room_bytes and i > start:
            yield frames[start:i]
            start, size_bytes = i, len(frame)
    if start < len(frames):
        yield frames[start:]


class Publisher:
    """Packs one epoch's frames into packets, and tells when there is nothing to pack."""

    __slots__ = (
        "_committed_sequence",
        "_epoch",
        "_payload_limit_bytes",
        "_policy",
        "_shard",
        "_wait_ns",
        "deadline_ns",
        "next_sequence",
    )

    def __init__(
        self,
        *,
        shard: int,
        epoch: int,
        next_sequence: int = 1,
        payload_limit_bytes: int = 1400,
        policy: HeartbeatPolicy = HeartbeatPolicy(),
    ) -> None:
        if payload_limit_bytes < PAYLOAD_MINIMUM_BYTES:
            raise ValueError(f"a packet needs room for {PAYLOAD_MINIMUM_BYTES} bytes")
        self._shard = shard
        self._epoch = epoch
        self._payload_limit_bytes = payload_limit_bytes
        self._policy = policy
        self._committed_sequence = 0  # as last told
        self._wait_ns = policy.first_ns
        self.next_sequence = next_sequence
        self.deadline_ns = 0  # when the next heartbeat is due, unless data or a commit come first

    def publish(self, run: Run, committed_sequence: int, now_ns: int) -> list[bytes]:
        """The packets that hold these frames, which must continue the list.

        Raises ValueError when they don't.
        """
        if not run:
            return []
        if run.first_sequence != self.next_sequence:
            raise ValueError(f"the frames do not continue the list at {self.next_sequence}")
        # No packet says a word of the frames in the next: they would look lost until it comes.
        header = self._header(0, committed_sequence)
        self.next_sequence = run.next_sequence
        self._told(committed_sequence, now_ns)
        return encode_packets(header, run.data, self._payload_limit_bytes)

    def on_time(self, committed_sequence: int, now_ns: int) -> list[bytes]:
        """A heartbeat, if one is due or the commit has moved since it was last told."""
        if committed_sequence == self._committed_sequence and now_ns < self.deadline_ns:
            return []
        flags = HEARTBEAT
        if committed_sequence != self._committed_sequence:
            flags |= COMMIT
            self._told(committed_sequence, now_ns)
        else:
            self._wait_ns = min(2 * self._wait_ns, self._policy.limit_ns)
            self.deadline_ns = now_ns + self._wait_ns
        return [encode_packet(self._header(flags, committed_sequence))]

    def _header(self, flags: int, committed_sequence: int) -> PacketHeader:
        return PacketHeader(flags, self._shard, self._epoch, self.next_sequence, committed_sequence)

    def _told(self, committed_sequence: int, now_ns: int) -> None:
        """Something new was sent: heartbeats are to follow closely, in case it gets lost."""
        self._committed_sequence = committed_sequence
        self._wait_ns = self._policy.first_ns
        self.deadline_ns = now_ns + self._wait_ns
