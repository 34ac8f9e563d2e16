"""What a drill's power cut takes from journals."""

import json
from pathlib import Path

from feed.keeping import SYNCED_FILE
from tools.drill.power import Loss, cut_power


def journal(folder: Path, synced: dict[str, int] | None) -> Path:
    """A journal's folder; of each file, so many bytes are on the disk."""
    (folder / "snapshots").mkdir(parents=True)
    for name, size in {"1.frames": 100, "1.index": 10, "2.frames": 70, ".lock": 0}.items():
        (folder / name).write_bytes(b"x" * size)
    (folder / "snapshots" / "1.snapshot").write_bytes(b"s")
    if synced is not None:
        (folder / SYNCED_FILE).write_text(json.dumps(synced))
    return folder


def sizes(folder: Path) -> dict[str, int]:
    return {
        path.name: path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and path.name != SYNCED_FILE
    }


def test_only_what_was_synced_is_left(tmp_path: Path) -> None:
    folder = journal(tmp_path, {"1.frames": 100, "1.index": 10, "2.frames": 64})
    assert cut_power([folder]) == Loss(6, 0)
    assert sizes(folder) == {
        "1.frames": 100,
        "1.index": 10,
        "2.frames": 64,
        ".lock": 0,
        "1.snapshot": 1,
    }


def test_file_that_was_never_synced_is_gone(tmp_path: Path) -> None:
    folder = journal(tmp_path, {"1.frames": 100, "1.index": 0, "gone.frames": 7})
    assert cut_power([folder]) == Loss(80, 1)
    assert sizes(folder) == {"1.frames": 100, "1.index": 0, ".lock": 0, "1.snapshot": 1}


def test_nothing_is_left_where_nothing_was_ever_synced(tmp_path: Path) -> None:
    journals = [journal(tmp_path / name, None) for name in ("e1", "e2")]
    assert cut_power([*journals, tmp_path / "missing"]) == Loss(360, 6)
    assert sizes(tmp_path / "e2") == {".lock": 0, "1.snapshot": 1}


def test_nothing_is_taken_from_what_is_longer_on_the_disk(tmp_path: Path) -> None:
    folder = journal(tmp_path, {"1.frames": 200, "1.index": 10, "2.frames": 70})
    assert cut_power([folder]) == Loss(0, 0)
    assert sizes(folder)["1.frames"] == 100
