"""What tests of both ends of a replay share."""

from feed.datagrams import (
    Replay,
)
from feed.digest import BLOCK_FRAMES
from feed.replay import (
    SourceSnapshot,
)
from feed.schema import ReplayKind
from tests.feed.lists import SHARD, frames_up_to
from tests.feed.replays import (
    EPOCH,
    Source,
    pieces,
    snapshot_of,
)

FRAMES = frames_up_to(BLOCK_FRAMES + 500)
LIST, STATE, DAY = ReplayKind
AT = BLOCK_FRAMES + 10


def request(
    kind: ReplayKind = LIST, first: int = 1, epoch: int = EPOCH, shard: int = SHARD
) -> Replay:
    return Replay(kind, shard, epoch, first)


def with_snapshot(sequence: int, *, day: bool = False, **changes: int) -> Source:
    source = Source(FRAMES, **changes)
    snapshot = SourceSnapshot(sequence, lambda: pieces(snapshot_of(FRAMES, sequence), 5000))
    if day:
        source.day = snapshot
    else:
        source.newest = snapshot
    return source
