"""A holder's files and their threads: what waits for a sync is told when it is over."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from feed.codec import encode_frame
from feed.journal import JournalError
from feed.keeping import BOOT_VARIABLE, SYNCED_FILE, Keeping
from feed.messages import NewDay
from feed.run import run_of_frames
from feed.settings import JournalSettings, SyncPolicy
from feed.storage import DiskStorage, StorageError
from tests.feed.holding import FIRST
from tests.feed.lists import SHARD

WITHIN_S = 10


class Kept:
    """One holder's files, and how often it was told that more is stored."""

    def __init__(self, folder: Path, *, drills: bool = False, **options: Any) -> None:
        self.settings = JournalSettings(folder=folder, **options)
        self.keeping = Keeping(self.settings, "TEST", SHARD, "r1", drills=drills)
        self.journal = self.keeping.journal
        self._told = asyncio.Event()

    @property
    def folder(self) -> Path:
        """Where they are."""
        return self.settings.folder_of(SHARD, "r1")

    def turn(self) -> None:
        """What the holder does after each turn."""
        self.keeping.turn(self._told.set)

    async def told(self) -> None:
        """Wait until more is stored."""
        async with asyncio.timeout(WITHIN_S):
            await self._told.wait()
        self._told.clear()


@asynccontextmanager
async def kept(folder: Path, **options: Any) -> AsyncIterator[Kept]:
    made = Kept(folder, **options)
    try:
        yield made
    finally:
        made.keeping.close()


@pytest.mark.parametrize("sync", [SyncPolicy.GROUP, SyncPolicy.INTERVAL])
def test_what_is_written_is_forced_to_the_disk_and_told(tmp_path: Path, sync: SyncPolicy) -> None:
    async def story() -> None:
        async with kept(tmp_path, sync=sync, sync_interval_ms=1) as made:
            made.journal.append(run_of_frames(1, FIRST[:6]))
            made.turn()
            await made.told()
            assert made.journal.stored_sequence == 6
            made.turn()
            assert made.journal.deadline_ns is None  # nothing waits any more

    asyncio.run(story())


def test_a_sync_under_way_is_over_when_the_files_are_closed(tmp_path: Path) -> None:
    async def story() -> None:
        made = Kept(tmp_path, sync=SyncPolicy.GROUP)
        made.journal.append(run_of_frames(1, FIRST[:6]))
        made.turn()
        made.journal.append(run_of_frames(7, FIRST[6:]))
        made.keeping.close()
        assert made.journal.stored_sequence == 8
        await asyncio.sleep(0)  # what came of the sync is told to nobody any more

    asyncio.run(story())


def test_a_disk_that_fails_is_told_of_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise StorageError("r1: input/output error")

    async def story() -> None:
        async with kept(tmp_path, sync=SyncPolicy.GROUP) as made:
            made.journal.append(run_of_frames(1, FIRST[:6]))
            monkeypatch.setattr(DiskStorage, "sync", broken)
            with structlog.testing.capture_logs() as lines:
                made.turn()
                await made.told()
                made.turn()
                made.turn()
            assert made.journal.stored_sequence == 0
            assert [line["log_level"] for line in lines] == ["error"]
            assert "input/output" in lines[0]["reason"]

    asyncio.run(story())


def test_a_snapshot_that_can_not_be_written_is_told_of_and_does_no_harm(tmp_path: Path) -> None:
    def full() -> None:
        raise StorageError("no space left")

    async def story() -> None:
        async with kept(tmp_path) as made:
            written = asyncio.Event()
            with structlog.testing.capture_logs() as lines:
                made.keeping.write(full, written.set)
                assert made.keeping.is_writing
                async with asyncio.timeout(WITHIN_S):
                    await written.wait()
            assert not made.keeping.is_writing
            assert [line["reason"] for line in lines] == ["no space left"]
            assert made.journal.failure is None

    asyncio.run(story())


def test_for_drills_it_is_noted_how_much_of_each_file_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BOOT_VARIABLE, "one boot")

    async def story() -> None:
        async with kept(tmp_path, drills=True) as made:
            made.journal.append(run_of_frames(1, FIRST[:3]))
            (segment,) = made.folder.glob("*.frames")
            made.turn()
            await made.told()
            synced = segment.stat().st_size
            made.journal.append(run_of_frames(4, FIRST[3:]))
            assert segment.stat().st_size > synced
            noted = json.loads((made.folder / SYNCED_FILE).read_text())
            assert noted[segment.name] == synced
            state = json.loads((made.folder / "state.json").read_text())
            assert state["boot"] == "one boot"
            assert noted["state.json"] == (made.folder / "state.json").stat().st_size

    asyncio.run(story())


def test_a_second_process_can_not_open_the_same_files(tmp_path: Path) -> None:
    async def story() -> None:
        async with kept(tmp_path):
            with pytest.raises((JournalError, StorageError), match="r1"):
                Kept(tmp_path)

    asyncio.run(story())


def test_two_memories_of_one_holder_have_different_names(tmp_path: Path) -> None:
    async def story() -> None:
        tokens = []
        for folder in ("first", "first", "second"):
            async with kept(tmp_path / folder) as made:
                tokens.append(made.journal.token)
        assert tokens[0] == tokens[1] != tokens[2]

    asyncio.run(story())


@pytest.mark.parametrize(("has_machine", "keep_days"), [(False, 1), (False, 2), (True, 1)])
def test_days_that_need_not_stay_readable_go_unless_a_machine_needs_them(
    tmp_path: Path, *, has_machine: bool, keep_days: int
) -> None:
    frames = list(FIRST)
    begun = []
    for day in range(20261121, 20261125):
        begun.append(len(frames) + 1)
        frames.append(encode_frame(NewDay(day), len(frames) + 1, 0, end=True))

    async def story() -> None:
        async with kept(tmp_path, sync=SyncPolicy.GROUP, keep_days=keep_days) as made:
            for sequence, frame in enumerate(frames, 1):
                made.journal.append(run_of_frames(sequence, [frame]))
                made.turn()
                await made.told()
            made.keeping.drop_old_days(begun[-1] - 1, has_machine=has_machine)
            # The last day is not known to be committed.
            kept_from = 1 if has_machine else begun[-1 - keep_days]
            assert made.journal.first_sequence == kept_from

    asyncio.run(story())
