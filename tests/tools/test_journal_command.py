"""`lockstep journal` on real folders: list, verify and export."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from feed.codec import MESSAGE_TYPES, decode_frame
from feed.messages import EnterOrder, NewDay, Trade
from tests.tools.audited_lists import busy_history, find, history
from tests.tools.kept_journals import (
    files_of,
    flip,
    keep,
    keep_snapshot,
    segments,
    without_syncs,
)
from tools.console import UsageError
from tools.journal.command import journal_app
from tools.journal.export import columns, exported
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


# List and verify.


def test_all_journals_below_a_folder_are_listed(
    tmp_path: Path, folder: Path, frames: list[bytes]
) -> None:
    keep(tmp_path / "shard-1" / "r1", frames[:50], is_vouched=False)
    keep_snapshot(folder, frames, 100 if decode_frame(frames[99]).is_end else 101)
    result = lockstep("list", tmp_path, "--json")
    first, second = json.loads(result.stdout)["journals"]
    assert (first["holder"], first["exchange"], first["shard"]) == ("e1", "DEMO", 1)
    assert (first["first_sequence"], first["last_sequence"]) == (1, len(frames))
    assert [reign["epoch"] for reign in first["reigns"]] == [1, 2]
    assert [each["name"] for each in first["segments"]] == [each.name for each in segments(folder)]
    assert len(first["snapshots"]) == 1
    assert (second["holder"], second["last_sequence"]) == ("r1", 50)
    assert second["state"]["is_doubtful"] is True
    text = lockstep("list", tmp_path).stdout
    assert f"frames 1 to {len(frames):,}" in text
    assert "epoch 2 of e2 from frame" in text
    assert "doubtful: no vote" in text
    assert segments(folder)[1].name in text


def test_journals_of_several_shards_are_listed_and_verified_together(
    tmp_path: Path, folder: Path, frames: list[bytes]
) -> None:
    other = keep(tmp_path / "shard-2" / "e4", frames[:50], shard=2)
    found = json.loads(lockstep("list", tmp_path, "--json").stdout)["journals"]
    assert [(each["shard"], each["holder"]) for each in found] == [(1, "e1"), (2, "e4")]
    text = lockstep("list", tmp_path).stdout
    assert "e1: exchange DEMO, shard 1" in text
    assert "e4: exchange DEMO, shard 2" in text
    assert lockstep("verify", tmp_path).stdout.startswith("All is intact: 2 journals")
    flip(segments(other)[0], 600)
    result = lockstep("verify", tmp_path)
    assert result.exit_code == 1
    assert f"{segments(other)[0].resolve()}" in result.stdout


def test_days_are_listed(tmp_path: Path) -> None:
    days = history(5, 600, is_calm=False)
    journal = HolderJournal(keep(tmp_path / "e1", days))
    wanted = [
        {"sequence": frame.sequence, "day": message.day}
        for frame in map(decode_frame, days)
        if isinstance(message := frame.message(), NewDay)
    ]
    assert wanted
    found = json.loads(lockstep("list", journal.folder, "--json").stdout)["journals"][0]["days"]
    assert found == wanted


def test_a_sound_journal_is_verified_and_nothing_is_changed(folder: Path) -> None:
    before = files_of(folder)
    result = lockstep("verify", folder)
    assert result.exit_code == 0
    assert result.stdout.startswith("All is intact: 1 journals")
    assert files_of(folder) == before


def test_damage_is_told_with_file_frame_and_what_to_do(folder: Path) -> None:
    damaged = segments(folder)[1]
    flip(damaged, damaged.stat().st_size - 30)
    result = lockstep("verify", folder)
    assert result.exit_code == 1
    assert f"{damaged.resolve()}, frame" in result.stdout
    assert "damaged frame" in result.stdout
    assert "journal repair" in result.stdout
    (finding,) = json.loads(lockstep("verify", folder, "--json").stdout)["findings"]
    last = int(segments(folder)[2].stem) - 1
    assert finding["sequence"] == last
    assert finding["what"] == "damaged frame"
    assert finding["remedy"]


@pytest.mark.parametrize("damage", ["missing segment", "missing end", "lost state", "snapshot"])
def test_each_kind_of_damage_makes_it_fail(folder: Path, frames: list[bytes], damage: str) -> None:
    if damage == "missing segment":
        segments(folder)[1].unlink()
    elif damage == "missing end":
        segments(folder)[-1].unlink()
    elif damage == "lost state":
        flip(folder / "state.json", 40)
    else:
        sequence = next(n for n in range(60, 99) if decode_frame(frames[n - 1]).is_end)
        flip(keep_snapshot(folder, frames, sequence), 200)
    result = lockstep("verify", folder)
    assert result.exit_code == 1
    assert "    " in result.stdout  # what to do


@pytest.mark.parametrize("command", ["list", "verify"])
def test_folders_without_a_journal_are_wrong_usage(tmp_path: Path, command: str) -> None:
    with pytest.raises(UsageError, match="no journal"):
        lockstep(command, tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        lockstep(command, tmp_path / "nowhere")


# Export.


def test_exported_frames_are_the_lists_own_bytes(
    folder: Path, frames: list[bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    lockstep("export", folder, "--format", "frames", "--output", out)
    assert out.read_bytes() == b"".join(frames)
    result = lockstep("export", folder, "--format", "frames", "--from", 30, "--to", 77)
    assert result.stdout_bytes == b"".join(frames[29:77])


def test_json_lines_and_csv_have_every_field_and_make_the_same_frames_again(
    folder: Path, frames: list[bytes]
) -> None:
    lines = lockstep("export", folder).stdout.splitlines()
    objects = [json.loads(line) for line in lines]
    assert objects == [exported(decode_frame(data)) for data in frames]
    text = lockstep("export", folder, "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == len(frames)
    assert list(rows[0]) == columns()
    for row, fields, data in zip(rows, objects, frames, strict=True):
        told = {name: str(int(v) if isinstance(v, bool) else v) for name, v in fields.items()}
        assert {name: value for name, value in row.items() if name in told} == told
        assert not any(value for name, value in row.items() if name not in told)
        frame = decode_frame(data)
        assert set(frame.message()._fields) <= set(fields)
    trade = find(frames, Trade)
    fields = objects[trade.sequence - 1]
    message = trade.message()
    assert isinstance(message, Trade)
    assert fields["price"] == message.price
    assert float(fields["price_decimal"]) * 10_000 == message.price
    assert fields["symbol"] == message.symbol.decode().strip()
    assert fields["time"].startswith("2023-11-14T22:13:20.")


def test_all_fields_of_all_frames_have_a_column() -> None:
    names = {name for kind in MESSAGE_TYPES.values() for name in kind._fields}
    missing = names - set(columns())
    assert {"price", "reason", "maker_client", "day"} <= set(columns())
    assert {"leaves", "executed", "number", "last_price", "moves"} <= set(columns())  # of moves
    assert {"last_user_ref_num", "state_digest"} <= missing  # a snapshot's alone


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("--type", "trade"), lambda message: isinstance(message, Trade)),
        (
            ("--type", "TRADE", "--type", "ENTER_ORDER", "--symbol", "MSFT"),
            lambda message: (
                isinstance(message, Trade | EnterOrder) and message.symbol == b"MSFT    "
            ),
        ),
        (
            ("--client", 2, "--type", "TRADE"),
            lambda message: (
                isinstance(message, Trade) and 2 in (message.maker_client, message.taker_client)
            ),
        ),
        (
            ("--client", 3),
            lambda message: (
                3 in [getattr(message, f"{role}client", 0) for role in ("", "maker_", "taker_")]
            ),
        ),
    ],
)
def test_exports_can_be_narrowed(
    folder: Path, frames: list[bytes], options: tuple[object, ...], wanted: object
) -> None:
    result = lockstep("export", folder, *options)
    found = [json.loads(line)["sequence"] for line in result.stdout.splitlines()]
    assert callable(wanted)
    expected = [n for n, data in enumerate(frames, 1) if wanted(decode_frame(data).message())]
    assert found == expected != []


def test_one_day_is_exported(tmp_path: Path) -> None:
    days = history(5, 600, is_calm=False)
    folder = keep(tmp_path / "e1", days)
    begins = [
        (frame.sequence, message.day)
        for frame in map(decode_frame, days)
        if isinstance(message := frame.message(), NewDay)
    ]
    (first, day), (second, _) = begins[:2]
    found = lockstep("export", folder, "--day", day, "--format", "frames").stdout_bytes
    assert found == b"".join(days[first - 1 : second - 1])
    with pytest.raises(UsageError, match=f"its days are: {day}"):
        lockstep("export", folder, "--day", 19990101)


def test_what_can_not_be_read_is_left_out_told_and_fails(folder: Path, frames: list[bytes]) -> None:
    damaged = segments(folder)[1]
    flip(damaged, damaged.stat().st_size - 30)
    result = lockstep("export", folder, "--format", "frames")
    assert result.exit_code == 1
    lost = int(segments(folder)[2].stem) - 1
    assert result.stdout_bytes == b"".join([*frames[: lost - 1], *frames[lost:]])
    assert "damaged frame" in result.stderr


def test_an_unknown_type_is_wrong_usage(folder: Path) -> None:
    with pytest.raises(UsageError, match="use one of EPOCH"):
        lockstep("export", folder, "--type", "NONSENSE")
