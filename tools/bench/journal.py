"""What a journal costs: `python -m tools.bench.journal FOLDER`.

The folder says which disk is measured; /dev/shm is memory, and shows what the journal itself takes.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from time import perf_counter_ns, process_time_ns

from feed.codec import LONGEST_FRAME_BYTES, encode_frame
from feed.frames import IN_USE
from feed.journal import Journal, JournalPolicy, Vow
from feed.messages import (
    NO_CLIENT_ORDER_ID,
    Capacity,
    EnterOrder,
    OrderType,
    PostOnly,
    Side,
    TimeInForce,
)
from feed.run import Run, run_of_frames
from feed.settings import SyncPolicy
from feed.storage import DiskStorage

RUN_BYTES = 64_000  # at most: of orders, some 50,000
SYNCED_RUNS = 200
READS = 500
READ_FRAMES = 1000


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=int, default=256)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="lockstep-bench-") as place:
        print(json.dumps(measured(Path(place), arguments.megabytes * 1_000_000), indent=2))


def measured(folder: Path, size: int) -> dict[str, object]:
    """Figures of one journal: written, synced, opened and read."""
    runs = list_of(size)
    storage, journal = opened(folder, SyncPolicy.NEVER)
    written = sum(len(run.data) for run in runs)
    append_ns, append_cpu_ns = timed(partial(append, journal, runs))
    journal.close()
    storage.close()
    newest = max(folder.glob("*.frames"))
    (storage, journal), open_ns = opened_again(folder)
    random = Random(1)
    firsts = [random.randint(1, journal.next_sequence - READ_FRAMES) for _ in range(READS)]
    reads = sorted(timed(partial(journal.runs, n, n + READ_FRAMES - 1))[0] for n in firsts)
    vows = [Vow(epoch, b"") for epoch in range(1, 20)]
    promises = sorted(timed(partial(journal.promise, vow))[0] for vow in vows)
    more = list_of(RUN_BYTES * SYNCED_RUNS, journal.next_sequence)
    synced_ns = timed(partial(append_and_sync, journal, more))[0]
    storage.close()
    return {
        "frames_in_use": IN_USE,
        "bytes": written,
        "append_megabytes_per_second": round(written / append_ns * 1e3),
        "append_megabytes_per_second_of_cpu": round(written / append_cpu_ns * 1e3),
        "open_milliseconds": round(open_ns / 1e6, 1),
        "open_bytes_scanned": newest.stat().st_size,
        f"read_{READ_FRAMES}_frames_median_microseconds": round(reads[READS // 2] / 1e3),
        f"read_{READ_FRAMES}_frames_p99_microseconds": round(reads[READS * 99 // 100] / 1e3),
        "append_and_sync_microseconds": round(synced_ns / len(more) / 1e3),
        "promise_median_microseconds": round(promises[len(promises) // 2] / 1e3),
    }


def append(journal: Journal, runs: Sequence[Run]) -> None:
    """One run after another."""
    for run in runs:
        journal.append(run)


def append_and_sync(journal: Journal, runs: Sequence[Run]) -> None:
    """The same, each on the disk before the next."""
    for run in runs:
        journal.append(run)
        sync = journal.begin_sync(0)
        assert sync is not None
        sync()
        journal.end_sync(None, 0)


def list_of(size: int, first: int = 1) -> list[Run]:
    """Orders in runs, so many bytes in all."""
    runs = []
    while size > 0:
        frames: list[bytes] = []
        while len(frames) * LONGEST_FRAME_BYTES < RUN_BYTES:
            number = first + len(frames)
            frames.append(encode_frame(order(number), number, 1, end=True))
        runs.append(run_of_frames(first, frames))
        first = runs[-1].next_sequence
        size -= len(runs[-1].data)
    return runs


def order(number: int) -> EnterOrder:
    """Any order."""
    symbol, low, day = b"ACME    ", number % 2**32, TimeInForce.DAY
    terms = (Side.BUY, OrderType.LIMIT, day, PostOnly.NO, 100, 10_000, 0, Capacity.AGENCY)
    return EnterOrder(7, low, symbol, *terms, NO_CLIENT_ORDER_ID)


def opened(folder: Path, sync: SyncPolicy) -> tuple[DiskStorage, Journal]:
    """The journal there."""
    storage = DiskStorage(folder)
    journal = Journal.open(
        storage,
        exchange="bench",
        shard=1,
        holder="e1",
        policy=JournalPolicy(sync),
        boot="",
        now_ns=0,
    )
    return storage, journal


def opened_again(folder: Path) -> tuple[tuple[DiskStorage, Journal], int]:
    """The same, and how long that took."""
    began_ns = perf_counter_ns()
    return opened(folder, SyncPolicy.GROUP), perf_counter_ns() - began_ns


def timed(act: Callable[[], object]) -> tuple[int, int]:
    """How long something takes, and how much of a processor's time."""
    began_ns, began_cpu_ns = perf_counter_ns(), process_time_ns()
    act()
    return perf_counter_ns() - began_ns, max(1, process_time_ns() - began_cpu_ns)


if __name__ == "__main__":
    main()
