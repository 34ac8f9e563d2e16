"""Journals on the disk, as holders leave them, and damage to them."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from engine.markets import ReferenceMarket
from feed.codec import decode_frame
from feed.digest import ListDigest
from feed.journal import Journal, JournalPolicy
from feed.messages import Epoch, NewDay, Snapshot
from feed.run import run_of_frames
from feed.snapshot import encode_snapshot
from feed.snapshot_folder import SnapshotFolder
from feed.storage import DiskStorage
from tools.journal.folders import HolderJournal

SEGMENT_BYTES = 8_000


def keep(
    folder: Path,
    frames: Sequence[bytes],
    *,
    exchange: str = "DEMO",
    shard: int = 1,
    committed: int | None = None,
    is_vouched: bool = True,
    is_closed: bool = True,
    segment_bytes: int = SEGMENT_BYTES,
) -> Path:
    """The journal of the holder that the folder is named after; open, as after a crash, if told."""
    storage = DiskStorage(folder)
    journal = open_journal(storage, folder.name, exchange, shard, segment_bytes)
    digest = ListDigest()
    for at in range(0, len(frames), 20):
        part = frames[at : at + 20]
        run = run_of_frames(decode_frame(part[0]).sequence, part)
        journal.append(run)
        settle(journal)
        digest.update(run)
        journal.note(0, digest.block)
    if is_vouched:
        journal.vouched()
    journal.note(len(frames) if committed is None else committed, None)
    if is_closed:
        journal.close()
    assert journal.failure is None
    storage.close()
    return folder


def keep_more(folder: Path, frames: Sequence[bytes], *, shard: int = 1) -> None:
    """Add frames to a holder's journal."""
    storage = DiskStorage(folder)
    journal = open_journal(storage, folder.name, "DEMO", shard, SEGMENT_BYTES)
    journal.append(run_of_frames(decode_frame(frames[0]).sequence, frames))
    settle(journal)
    journal.close()
    storage.close()


def open_journal(
    storage: DiskStorage, holder: str, exchange: str, shard: int, segment_bytes: int
) -> Journal:
    return Journal.open(
        storage,
        exchange=exchange,
        shard=shard,
        holder=holder,
        policy=JournalPolicy(segment_bytes=segment_bytes),
        boot="this boot",
        now_ns=0,
    )


def settle(journal: Journal) -> None:
    """Do what is due for what was written to be on the disk."""
    sync = journal.begin_sync(0)
    if sync is not None:
        sync()
        journal.end_sync(None, 0)


def keep_snapshot(folder: Path, frames: Sequence[bytes], sequence: int) -> Path:
    """The snapshot of a list up to this frame, in the folder of a holder; where it is."""
    run = run_of_frames(1, frames[:sequence])
    machine, digest = ReferenceMarket(), ListDigest()
    assert machine.follow(run).divergence is None
    digest.update(run)
    epoch, epoch_sequence, primary, day = 0, 0, b"", 0
    for frame in run:
        message = frame.message()
        if isinstance(message, Epoch):
            epoch, primary = message
            epoch_sequence = frame.sequence
        elif isinstance(message, NewDay):
            day = message.day
    block_sequence, block_digest = digest.block
    head = Snapshot(sequence, epoch, epoch_sequence, primary, block_sequence, block_digest)
    tail = run.part(block_sequence + 1, sequence)
    time_ns = run[-1].time_ns
    state = machine.snapshot(2, time_ns)
    chunks = encode_snapshot(head, state, machine.digest(), tail, time_ns)
    storage = DiskStorage(folder / "snapshots")
    stored = SnapshotFolder(storage).write(sequence, day, chunks)
    storage.close()
    return folder / "snapshots" / stored.name


def segments(folder: Path) -> list[Path]:
    """Its segments' files, ascending."""
    return sorted(folder.glob("*.frames"))


def files_of(folder: Path) -> dict[str, bytes]:
    """What a folder has in it, the lock left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def kept_frames(folder: Path) -> list[bytes]:
    """The frames that can be read of a journal."""
    return [data for run in HolderJournal(folder).runs() for data in run.split()]


def flip(path: Path, offset: int) -> None:
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 0xFF
    path.write_bytes(data)


def without_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Force nothing to the disk: these tests cut no power."""
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(f"os.{name}", lambda descriptor: None)
