"""`lockstep audit` on real folders: what it reads, what it finds, and the report."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from engine.markets import KernelMarket
from feed.codec import decode_frame, encode_frame
from feed.digest import ListDigest
from feed.messages import EnterOrder, Epoch, Trade
from tests.tools.audited_lists import (
    altered,
    busy_history,
    find,
    history,
    moved,
    renumbered,
    whole,
)
from tests.tools.kept_journals import flip, keep, keep_snapshot, segments, without_syncs
from tools.audit.command import audit
from tools.console import UsageError


@pytest.fixture(autouse=True)
def _nobody_cuts_the_power(monkeypatch: pytest.MonkeyPatch) -> None:
    without_syncs(monkeypatch)


@pytest.fixture(scope="module")
def frames() -> list[bytes]:
    return busy_history()


def lockstep(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(audit)
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)


def summary(*arguments: object) -> dict[str, Any]:
    result = lockstep(*arguments, "--json")
    found: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (0 if found["verdict"] == "clean" else 1)
    return found


def told(*arguments: object) -> list[dict[str, Any]]:
    """All differences that are told."""
    found = summary(*arguments)
    return [*found["told"], *(each for one in found["lists"] for each in one["told"])]


def end_after(frames: list[bytes], sequence: int) -> int:
    """The end of the group of a frame."""
    return next(n for n in range(sequence, len(frames)) if decode_frame(frames[n - 1]).is_end)


def test_clean_journals_of_several_holders_pass(tmp_path: Path, frames: list[bytes]) -> None:
    keep(tmp_path / "shard-1" / "e1", frames)
    keep(tmp_path / "shard-1" / "e2", frames, segment_bytes=2_000)
    keep(tmp_path / "shard-1" / "r1", frames[:60])
    keep_snapshot(tmp_path / "shard-1" / "e2", frames, end_after(frames, 90))
    found = summary(tmp_path)
    assert (found["verdict"], found["differences"]) == ("clean", 0)
    (one,) = found["lists"]
    assert (one["exchange"], one["shard"]) == ("DEMO", 1)
    assert (one["first_sequence"], one["last_sequence"]) == (1, len(frames))
    assert one["checked"]["frames"] == len(frames)
    assert one["checked"]["frames compared"] == len(frames) + 60
    assert one["checked"]["snapshots"] == 1
    assert [each["holder"] for each in one["holders"]] == ["e1", "e2", "r1"]
    digest = ListDigest()
    digest.update(whole(frames))
    assert one["list_digest"] == digest.hex()


def test_report_can_be_signed_and_its_files_checked(tmp_path: Path, frames: list[bytes]) -> None:
    keep(tmp_path / "shard-1" / "e1", frames)
    report = tmp_path / "report.txt"
    result = lockstep(tmp_path, "--report", report)
    assert result.exit_code == 0
    text = report.read_text()
    assert text == result.stdout
    assert text.count("VERDICT: CLEAN") == 2
    for line in ("Name  ", "Date  ", "Signature  "):
        assert any(each.startswith(line) and "____" in each for each in text.splitlines())
    for section in range(1, 8):
        assert f"\n{section}. " in text
    assert "epoch 2          e2" in text
    checked = subprocess.run(
        ["sha256sum", "--check", "--quiet", report], capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 0
    flip(segments(tmp_path / "shard-1" / "e1")[0], 300)
    checked = subprocess.run(
        ["sha256sum", "--check", "--quiet", report], capture_output=True, text=True, timeout=60
    )
    assert checked.returncode == 1


def a_byte_with_a_right_checksum(frames: list[bytes]) -> list[bytes]:
    frame = find(frames, EnterOrder, lambda order: order.price > 0)
    order = frame.message()
    assert isinstance(order, EnterOrder)
    return altered(frames, frame, capacity=order.capacity ^ 1)


def a_trades_price(frames: list[bytes]) -> list[bytes]:
    return altered(frames, find(frames, Trade), price=9_800 + 55)


def two_groups_swapped(frames: list[bytes]) -> list[bytes]:
    trade = find(frames, Trade).sequence
    first = max(n for n in range(1, trade) if decode_frame(frames[n - 1]).is_end)
    before = max(n for n in range(1, first) if decode_frame(frames[n - 1]).is_end)
    last = end_after(frames, trade)
    parts = [frames[:before], frames[first:last], frames[before:first], frames[last:]]
    swapped = renumbered([data for part in parts for data in part])
    return [
        moved(data, n, decode_frame(frames[n - 1]).time_ns) for n, data in enumerate(swapped, 1)
    ]


def a_command_twice(frames: list[bytes]) -> list[bytes]:
    frame = find(frames, EnterOrder)
    return [*frames, encode_frame(frame.message(), len(frames) + 1, 2**62, end=True)]


def time_backwards(frames: list[bytes]) -> list[bytes]:
    at = next(n for n, data in enumerate(frames, 1) if decode_frame(data).flags == 3 and n > 50)
    return [moved(data, n, 5) if n == at else data for n, data in enumerate(frames, 1)]


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (a_byte_with_a_right_checksum, "not what the machine computes"),
        (a_trades_price, "trade that does not follow from its orders"),
        (two_groups_swapped, "not what the machine computes"),
        (a_command_twice, "command done twice"),
        (time_backwards, "time runs backwards"),
    ],
)
def test_what_was_planted_in_all_journals_is_found_and_placed(
    tmp_path: Path,
    frames: list[bytes],
    plant: Callable[[list[bytes]], list[bytes]],
    kind: str,
) -> None:
    planted = plant(frames)
    assert planted != frames
    folder = keep(tmp_path / "e1", planted)
    found = [each for each in told(folder) if each["kind"] == kind]
    assert found, told(folder)
    first = found[0]
    assert first["found"]
    assert first["place"] == str(
        max(each for each in segments(folder) if int(each.stem) <= first["sequence"]).resolve()
    )
    text = lockstep(folder).stdout
    assert "VERDICT: NOT CLEAN" in text
    assert f"{kind.upper()}. frame {first['sequence']:,}: " in text


def test_two_holders_that_differ_in_a_committed_frame_are_told_with_both_sides(
    tmp_path: Path, frames: list[bytes]
) -> None:
    frame = find(frames, EnterOrder)
    keep(tmp_path / "e1", frames)
    keep(tmp_path / "e2", altered(frames, frame, quantity=77))
    found = told(tmp_path)
    assert found[0]["kind"] == "holders differ"
    assert found[0]["sequence"] == frame.sequence
    sides = found[0]["found"] + found[0]["expected"]
    assert "e1 in " in sides
    assert "e2 in " in sides
    assert "quantity=77" in sides


def test_a_lost_tail_is_named_and_clean(tmp_path: Path, frames: list[bytes]) -> None:
    at = find(frames, Epoch, lambda each: each.epoch == 2).sequence
    tail = encode_frame(find(frames, EnterOrder).message(), at, 2**62, end=True)
    keep(tmp_path / "e1", [*frames[: at - 1], tail], committed=at - 1)
    keep(tmp_path / "e2", frames)
    found = summary(tmp_path)
    assert found["verdict"] == "differences"  # e2 knew more to be committed
    shutil.rmtree(tmp_path / "e2")
    keep(tmp_path / "e2", frames, committed=at - 1)
    found = summary(tmp_path)
    assert found["verdict"] == "clean"
    (one,) = found["lists"]
    assert "lost tail" in one["notes"][0]
    assert one["holders"][0]["lost_tail"] == {
        "first_sequence": at,
        "last_sequence": at,
        "epoch": 1,
    }


def test_digests_in_a_lost_tail_are_not_the_lists(tmp_path: Path) -> None:
    long = history(1, 1_700)
    at = find(long, Epoch, lambda each: each.epoch == 2).sequence
    assert 1_024 < at < 2_000 < len(long)
    entered = find(long, EnterOrder).message()
    tail = [encode_frame(entered, at + n, 2**62, end=True) for n in range(2_200 - at)]
    keep(tmp_path / "e1", [*long[: at - 1], *tail], committed=at - 1, segment_bytes=4_000)
    keep(tmp_path / "e2", long, committed=at - 1, segment_bytes=4_000)
    (one,) = summary(tmp_path)["lists"]
    assert one["told"] == []
    assert one["holders"][0]["lost_tail"]["first_sequence"] == at
    assert one["checked"]["list digests"] > 1


def test_committed_frames_that_nobody_has_are_missing(tmp_path: Path, frames: list[bytes]) -> None:
    keep(tmp_path / "e1", frames[:100], committed=100)
    keep(tmp_path / "e2", frames[:50], committed=120)
    (found,) = told(tmp_path)
    assert (found["kind"], found["sequence"]) == ("missing frames", 101)
    assert "120" in found["text"]


def test_damaged_and_missing_files_are_told(tmp_path: Path, frames: list[bytes]) -> None:
    folder = keep(tmp_path / "e1", frames)
    flip(segments(folder)[0], 600)
    segments(folder)[2].unlink()
    kinds = {each["kind"] for each in told(folder)}
    assert {"damaged file", "missing frames", "not proven"} <= kinds


def test_a_write_that_was_cut_short_is_a_note(tmp_path: Path, frames: list[bytes]) -> None:
    folder = keep(tmp_path / "e1", frames[:100], is_closed=False)
    with segments(folder)[-1].open("ab") as file:
        file.write(frames[100][:17])
    (one,) = summary(folder)["lists"]
    assert (one["told"], one["last_sequence"]) == ([], 100)
    assert any("torn tail behind frame 100" in note for note in one["notes"])


def test_a_dropped_frame_that_another_holder_has_is_told_and_the_list_is_still_proven(
    tmp_path: Path, frames: list[bytes]
) -> None:
    folder = keep(tmp_path / "e1", frames)
    keep(tmp_path / "e2", frames)
    segments(folder)[1].unlink()
    found = summary(tmp_path)
    (one,) = found["lists"]
    assert one["computed_to"] == len(frames)
    assert one["state_digest"]
    assert {each["kind"] for each in one["told"]} == {"damaged file", "missing frames"}


def test_a_journal_of_another_exchange_is_named_and_left_out(
    tmp_path: Path, frames: list[bytes]
) -> None:
    keep(tmp_path / "e1", frames)
    keep(tmp_path / "e2", frames)
    keep(tmp_path / "x1", history(2), exchange="OTHER")
    found = summary(tmp_path)
    (difference,) = found["told"]
    assert difference["kind"] == "foreign journal"
    assert str(tmp_path / "x1") in difference["text"]
    assert "OTHER" in difference["found"]
    assert [each["exchange"] for each in found["lists"]] == ["DEMO"]
    assert found["lists"][0]["told"] == []


def test_a_journal_that_lost_its_state_is_compared_all_the_same(
    tmp_path: Path, frames: list[bytes]
) -> None:
    keep(tmp_path / "e1", frames)
    (keep(tmp_path / "e2", frames) / "state.json").unlink()
    found = summary(tmp_path)
    assert found["told"] == []
    (one,) = found["lists"]
    assert one["checked"]["frames compared"] == len(frames)
    assert [(each["kind"], each["sequence"]) for each in one["told"]] == [("damaged file", 0)]
    assert "lost state" in one["told"][0]["text"]


def test_an_empty_journal_is_clean_and_says_so(tmp_path: Path) -> None:
    keep(tmp_path / "e1", [])
    (one,) = summary(tmp_path)["lists"]
    assert (one["first_sequence"], one["last_sequence"]) == (0, 0)
    assert "VERDICT: CLEAN" in lockstep(tmp_path).stdout


@pytest.mark.skipif(KernelMarket is None, reason="the kernel was not built")
def test_the_kernel_says_the_same(tmp_path: Path, frames: list[bytes]) -> None:
    keep(tmp_path / "e1", a_trades_price(frames))
    keep_snapshot(keep(tmp_path / "e2", frames), frames, end_after(frames, 90))
    found = [summary(tmp_path, "--machine", kind)["lists"] for kind in ("reference", "kernel")]
    text = json.dumps(found[1]).replace("the kernel computes", "the reference computes")
    assert json.loads(text) == found[0]
    assert found[0][0]["told"]


def test_a_pruned_journal_is_computed_from_its_snapshot(
    tmp_path: Path, frames: list[bytes]
) -> None:
    whole_list = keep(tmp_path / "whole" / "e1", frames, segment_bytes=4_000)
    folder = keep(tmp_path / "pruned" / "e1", frames, segment_bytes=4_000)
    begin = int(segments(folder)[3].stem)
    at = end_after(frames, begin + 3)
    keep_snapshot(folder, frames, at)
    later = keep_snapshot(folder, frames, end_after(frames, at + 30))
    for path in segments(folder)[:3]:
        path.unlink()
        path.with_suffix(".index").unlink()
    (one,), (full,) = summary(folder)["lists"], summary(whole_list)["lists"]
    assert (one["told"], one["notes"]) == ([], [])
    assert one["first_sequence"] == begin
    assert one["computed_to"] == len(frames)
    assert one["start"].endswith(f"{at:020d}-00000000.snapshot")
    assert one["checked"]["snapshots"] == 1
    for digest in ("state_digest", "list_digest", "live_orders"):
        assert one[digest] == full[digest]
    forged = altered(frames, find(frames[later_of(later) :], Trade), quantity=1_000)
    assert forged != frames
    other = keep(tmp_path / "forged" / "e1", forged, segment_bytes=4_000)
    shutil.copytree(folder / "snapshots", other / "snapshots")
    for path in segments(other)[:3]:
        path.unlink()
        path.with_suffix(".index").unlink()
    kinds = {each["kind"] for each in told(other)}
    assert {"not what the machine computes", "trade that does not follow from its orders"} <= kinds


def later_of(snapshot: Path) -> int:
    return int(snapshot.stem.split("-")[0])


def test_a_pruned_journal_without_a_snapshot_proves_little(
    tmp_path: Path, frames: list[bytes]
) -> None:
    folder = keep(tmp_path / "e1", frames, segment_bytes=4_000)
    segments(folder)[0].unlink()
    (found,) = [each for each in told(folder) if each["kind"] == "not proven"]
    assert "no snapshot tells what was before" in found["text"]


def test_a_snapshot_of_another_list_is_found(tmp_path: Path, frames: list[bytes]) -> None:
    folder = keep(tmp_path / "e1", frames)
    keep_snapshot(folder, frames, end_after(frames, 80))
    assert told(folder) == []
    other = history(2)
    ends = (n for n in range(60, len(other)) if decode_frame(other[n - 1]).is_end)
    at = next(n for n in ends if decode_frame(frames[n - 1]).is_end)
    name = keep_snapshot(folder, other, at).name
    (found,) = told(folder)
    assert (found["kind"], found["sequence"]) == ("digest that does not match", at)
    assert name in found["text"]


def test_a_command_that_was_changed_without_a_trace_in_its_events_is_found_by_the_digests(
    tmp_path: Path,
) -> None:
    long = history(1, 1_700)
    assert len(long) > 1_500
    frame = find(long, EnterOrder)
    changed = altered(long, frame, client_order_id=b"SOMEBODY ELSE ")
    folder = keep(tmp_path / "e1", long)
    assert told(folder) == []
    first = segments(folder)[0]
    data = first.read_bytes()
    assert frame.data in data
    first.write_bytes(data.replace(frame.data, changed[frame.sequence - 1]))
    found = told(folder)
    assert found
    assert {each["kind"] for each in found} == {"digest that does not match"}


@pytest.mark.parametrize("arguments", [(), ("nowhere",)])
def test_nothing_to_read_is_wrong_usage(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    if not arguments:
        assert lockstep().exit_code == 2
        return
    with pytest.raises(UsageError, match="no such folder"):
        lockstep(tmp_path / arguments[0])
