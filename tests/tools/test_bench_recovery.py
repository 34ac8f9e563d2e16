"""The suite `recovery`: what is measured is a replica that came back as the one that wrote."""

import asyncio
from pathlib import Path

import pytest

from feed.settings import JournalSettings, SyncPolicy
from tools.bench import recovery
from tools.bench.figures import BenchmarkError
from tools.bench.recovery import Recovered, Written, measure_recovery, recover, write_list

FRAMES = 6_000
SINCE = 1_500


@pytest.fixture(autouse=True)
def _small_book(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "PREFILL", 200)
    monkeypatch.setattr(recovery, "_OPERATIONS", 1_000)


def settings_in(folder: Path) -> JournalSettings:
    return JournalSettings(folder=folder, sync=SyncPolicy.NEVER, snapshot_frames=FRAMES)


def test_with_a_snapshot_only_what_follows_it_is_carried_out(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    written = write_list(settings, None, FRAMES, SINCE, seed=1)
    assert written.last_sequence >= FRAMES
    said: list[Recovered] = []
    for has_snapshots in (True, False):
        came_back = recover(said.append, settings, None, has_snapshots=has_snapshots)
        assert (came_back.last_sequence, came_back.digest) == written[::2]
        assert 0 < came_back.open_seconds <= came_back.seconds
        lacked = SINCE if has_snapshots else written.last_sequence
        assert lacked - 1_000 < came_back.frames <= lacked + written.last_sequence - FRAMES


def test_each_process_is_measured_and_beside_what_it_is_to_be_compared_with() -> None:
    report = asyncio.run(measure_recovery(None, FRAMES, SINCE, seed=1))
    figures = {each.name: each for each in report.measurements}
    assert len(figures) == 6
    (whole,) = (each for name, each in figures.items() if name.startswith("back from"))
    assert whole.value >= figures["of this, to open the journal"].value > 0
    assert whole.baseline > 0
    assert figures["memory at most, without any snapshot"].value > 10


def test_a_replica_that_comes_back_as_another_leaves_no_figure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def another(*_: object, **__: object) -> Recovered:
        return Recovered(1.0, 0.5, 10, FRAMES, b"another", 1)

    def wrote(*_: object) -> Written:
        return Written(FRAMES, 1, b"one")

    monkeypatch.setattr(recovery, "_recover_apart", another)
    monkeypatch.setattr(recovery, "write_list", wrote)
    with pytest.raises(BenchmarkError, match="another state"):
        asyncio.run(measure_recovery(None, FRAMES, SINCE, seed=1))
