"""What tests of replays share: snapshots of made-up state, and a source of a list."""

from collections.abc import Iterable, Sequence
from itertools import chain

from feed.codec import HEARTBEAT, RETRANSMISSION, encode_frame
from feed.digest import ListDigest
from feed.messages import (
    Capacity,
    ClientState,
    InstrumentState,
    MarketState,
    OrderState,
    OrderType,
    PostOnly,
    SelfTradePrevention,
    ShortSale,
    Side,
    Snapshot,
    State,
    TimeInForce,
    TradingState,
    holder_field,
)
from feed.replay import SourceSnapshot
from feed.run import Run, run_of_frames
from feed.snapshot import StateDigest, encode_snapshot
from tests.feed.lists import SHARD, SYMBOL

EPOCH = 3
TO_LIST = HEARTBEAT | RETRANSMISSION  # of the heartbeats in an answer
FEW, MANY = 3, 40  # orders


def state_of(orders: int = FEW) -> list[State]:
    """The state of a market where so many orders rest, all of them bids."""
    resting = [
        OrderState(
            *(number, 7, number, SYMBOL, Side.BUY, OrderType.LIMIT, TimeInForce.DAY),
            *(PostOnly.NO, Capacity.AGENCY, 100, 90, 10, 1_000_000 - number // 2 * 100, 0),
        )
        for number in range(1, orders + 1)
    ]
    instrument = InstrumentState(SYMBOL, 100, 1, ShortSale.ALLOWED, TradingState.TRADING, 10_000)
    client = ClientState(7, 123, orders, SelfTradePrevention.OFF)
    return [MarketState(20260102), instrument, *resting, client]


def state_runs(state: Sequence[State], time_ns: int, frames_per_run: int = 8) -> list[Run]:
    """The frames of a state, as a machine gives them out."""
    frames = [encode_frame(each, n, time_ns, end=False) for n, each in enumerate(state, 2)]
    return [
        run_of_frames(2 + at, frames[at : at + frames_per_run])
        for at in range(0, len(frames), frames_per_run)
    ]


def head_of(frames: Sequence[bytes], sequence: int) -> tuple[Snapshot, Run]:
    """The head and the tail of a snapshot of a list's first `sequence` frames."""
    digest = ListDigest()
    digest.update(run_of_frames(1, frames[:sequence]))
    at, list_digest = digest.block
    head = Snapshot(sequence, EPOCH, 1, holder_field("e1"), at, list_digest)
    return head, run_of_frames(at + 1, frames[at:sequence])


def snapshot_of(frames: Sequence[bytes], sequence: int, runs: Iterable[Run] | None = None) -> bytes:
    """The bytes of a snapshot of a list's first `sequence` frames; of made-up state if of none."""
    head, tail = head_of(frames, sequence)
    time_ns = run_of_frames(sequence, frames[sequence - 1 : sequence])[0].time_ns
    runs = state_runs(state_of(), time_ns) if runs is None else list(runs)
    digest = StateDigest()
    for run in runs:
        digest.update(run)
    return b"".join(encode_snapshot(head, runs, digest.digest(), tail, time_ns))


def pieces(data: bytes, size: int) -> list[bytes]:
    """The bytes in pieces of a size, the last one shorter."""
    return [data[at : at + size] for at in range(0, len(data), size)]


class Source:
    """Holds the frames `first_sequence` to the end of a list, and what snapshots it is given."""

    def __init__(
        self,
        frames: Sequence[bytes],
        *,
        committed: int | None = None,
        first_sequence: int = 1,
        epoch: int = EPOCH,
        shard: int = SHARD,
    ) -> None:
        self.frames = list(frames)
        self.committed_sequence = len(frames) if committed is None else committed
        self.first_sequence = first_sequence
        self.epoch = epoch
        self.shard = shard
        self.newest: SourceSnapshot | None = None
        self.day: SourceSnapshot | None = None
        self.asked: list[tuple[int, int]] = []

    def runs(self, first: int, last: int) -> list[Run]:
        self.asked.append((first, last))
        if first < self.first_sequence:
            return []
        found = self.frames[first - 1 : last]
        half = len(found) // 2
        runs = run_of_frames(first, found[:half]), run_of_frames(first + half, found[half:])
        return [run for run in runs if run]

    def newest_snapshot(self) -> SourceSnapshot | None:
        return self.newest

    def day_snapshot(self) -> SourceSnapshot | None:
        return self.day


def flat(groups: Iterable[Sequence[bytes]]) -> list[bytes]:
    """The frames of groups."""
    return list(chain.from_iterable(groups))
