"""`lockstep journal repair` on real folders: filled, cut, and accepted as they are."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from feed.codec import encode_frame
from feed.messages import EnterOrder, Epoch
from feed.storage import DiskStorage
from tests.tools.audited_lists import busy_history, find, put
from tests.tools.kept_journals import (
    files_of,
    flip,
    keep,
    kept_frames,
    open_journal,
    segments,
    without_syncs,
)
from tools.console import CommandError, UsageError
from tools.journal.command import journal_app
from tools.journal.folders import HolderJournal


@pytest.fixture(scope="module")
def frames() -> list[bytes]:
    return busy_history()


@pytest.fixture(autouse=True)
def _nobody_cuts_the_power(monkeypatch: pytest.MonkeyPatch) -> None:
    without_syncs(monkeypatch)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, frames: list[bytes]) -> Path:
    with pytest.MonkeyPatch.context() as monkeypatch:
        without_syncs(monkeypatch)
        return keep(tmp_path_factory.mktemp("kept") / "e1", frames)


@pytest.fixture
def folder(tmp_path: Path, template: Path) -> Path:
    """A journal of its own for each test."""
    return Path(shutil.copytree(template, tmp_path / "shard-1" / "e1"))


def lockstep(*arguments: object) -> Result:
    return CliRunner().invoke(journal_app, list(map(str, arguments)), catch_exceptions=False)


@pytest.mark.parametrize("damage", ["byte", "gone", "header", "end"])
def test_a_damaged_journal_is_filled_from_another_holders(
    folder: Path, frames: list[bytes], tmp_path: Path, damage: str
) -> None:
    other = keep(tmp_path / "shard-1" / "e2", frames, segment_bytes=3_000)
    victim = segments(folder)[-1 if damage == "end" else 1]
    if damage in ("gone", "end"):
        victim.unlink()
        victim.with_suffix(".index").unlink(missing_ok=True)
    else:
        flip(victim, 20 if damage == "header" else victim.stat().st_size - 30)
    before = files_of(folder)
    planned = lockstep("repair", folder, "--from", other)
    assert "Nothing was changed" in planned.stdout
    assert files_of(folder) == before
    done = lockstep("repair", folder, "--from", other, "--apply")
    assert done.exit_code == 0
    (aside,) = folder.glob("before-repair-*")
    assert kept_frames(folder) == frames
    assert lockstep("verify", folder).exit_code == 0
    if damage == "byte":
        assert (aside / victim.name).read_bytes() == before[victim.name]
    storage = DiskStorage(folder)
    journal = open_journal(storage, "e1", "DEMO", 1, 8_000)
    assert journal.findings == []
    assert (journal.first_sequence, journal.next_sequence) == (1, len(frames) + 1)
    assert not journal.is_doubtful
    storage.close()
    assert "lacks nothing" in lockstep("repair", folder, "--from", other, "--apply").stdout


def test_journals_that_differ_are_not_mixed(
    folder: Path, frames: list[bytes], tmp_path: Path
) -> None:
    frame = find(frames, EnterOrder)
    message = frame.message()
    assert isinstance(message, EnterOrder)
    other = keep(tmp_path / "e2", put(frames, frame, message._replace(quantity=99)))
    segments(folder)[2].unlink()
    before = files_of(folder)
    with pytest.raises(CommandError, match=f"they differ.*frame {frame.sequence}"):
        lockstep("repair", folder, "--from", other, "--apply")
    assert files_of(folder) == before


def test_a_tail_that_another_epoch_overruled_is_not_filled_up(
    frames: list[bytes], tmp_path: Path
) -> None:
    at = find(frames, Epoch, lambda each: each.epoch == 2).sequence
    entered = find(frames, EnterOrder).message()
    tail = [encode_frame(entered, at + n, 2**62, end=True) for n in range(9)]
    every = [*frames[: at - 1], *tail]
    folder = keep(tmp_path / "e1", every, committed=at - 1, segment_bytes=2_000)
    other = keep(tmp_path / "e2", frames, committed=at - 1)
    segments(folder)[1].unlink()
    with pytest.raises(CommandError, match=f"from {at} on are a lost tail"):
        lockstep("repair", folder, "--from", other, "--apply")


def test_what_the_other_lacks_too_can_not_be_filled(
    folder: Path, frames: list[bytes], tmp_path: Path
) -> None:
    other = keep(tmp_path / "e2", frames[:100])
    segments(folder)[2].unlink()
    with pytest.raises(CommandError, match="does not have the frames"):
        lockstep("repair", folder, "--from", other, "--apply")


def test_another_exchanges_journal_fills_nothing(
    folder: Path, frames: list[bytes], tmp_path: Path
) -> None:
    other = keep(tmp_path / "e2", frames, exchange="OTHER")
    segments(folder)[2].unlink()
    with pytest.raises(CommandError, match="is of exchange OTHER"):
        lockstep("repair", folder, "--from", other, "--apply")


def test_a_journal_in_use_is_not_touched(folder: Path, frames: list[bytes], tmp_path: Path) -> None:
    other = keep(tmp_path / "e2", frames)
    segments(folder)[2].unlink()
    before = files_of(folder)
    holder = DiskStorage(folder)
    for how in (("--from", other), ("--cut",)):
        with pytest.raises(CommandError, match="in use by"):
            lockstep("repair", folder, *how, "--apply")
    holder.close()
    assert {name: before[name] for name in before} == {
        name: data for name, data in files_of(folder).items() if "before-repair" not in name
    }


def test_a_cut_ends_the_journal_before_the_damage_and_keeps_copies(
    folder: Path, frames: list[bytes]
) -> None:
    last = segments(folder)[-1]
    first = int(last.stem)
    data = last.read_bytes()
    flip(last, len(data) // 2)
    before = files_of(folder)
    assert "would end" in lockstep("repair", folder, "--cut").stdout
    assert files_of(folder) == before
    result = lockstep("repair", folder, "--cut", "--apply")
    assert "no vote until" in result.stdout
    kept = kept_frames(folder)
    assert first - 1 <= len(kept) < len(frames)
    assert kept == frames[: len(kept)]
    (aside,) = folder.glob("before-repair-*")
    assert (aside / last.name).read_bytes() == before[last.name]
    assert (aside / "state.json").read_bytes() == before["state.json"]
    assert HolderJournal(folder).state["is_doubtful"] is True


def test_a_loss_is_accepted_by_an_operator_alone_and_loudly(
    tmp_path: Path, frames: list[bytes]
) -> None:
    folder = keep(tmp_path / "e1", frames, is_vouched=False)
    assert "would have a vote" in lockstep("repair", folder, "--accept-loss").stdout
    assert HolderJournal(folder).state["is_doubtful"] is True
    result = lockstep("repair", folder, "--accept-loss", "--apply")
    assert "*** A loss was accepted for e1. ***" in result.stdout
    assert "lost for\ngood" in result.stdout
    assert HolderJournal(folder).state["is_doubtful"] is False
    assert kept_frames(folder) == frames
    with pytest.raises(CommandError, match="not doubtful"):
        lockstep("repair", folder, "--accept-loss", "--apply")


def test_a_loss_is_not_accepted_before_the_damage_is_dealt_with(
    tmp_path: Path, frames: list[bytes]
) -> None:
    folder = keep(tmp_path / "e1", frames, is_vouched=False)
    last = segments(folder)[-1]
    flip(last, last.stat().st_size // 2)
    with pytest.raises(CommandError, match="--cut"):
        lockstep("repair", folder, "--accept-loss", "--apply")
    lockstep("repair", folder, "--cut", "--accept-loss", "--apply")
    assert HolderJournal(folder).state["is_doubtful"] is False


def test_a_repair_says_how(folder: Path) -> None:
    with pytest.raises(UsageError, match="say how"):
        lockstep("repair", folder)
    (folder / "state.json").unlink()
    with pytest.raises(CommandError, match="not known whose"):
        lockstep("repair", folder, "--cut")
