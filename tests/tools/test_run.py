"""`lockstep run` without processes: what it starts, starts again, gives up and tells."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.tools.replica_statuses import shards_of, status
from tests.tools.test_configuration import ONE_OF_EACH, write
from tools import run as run_module
from tools.child import ChildError
from tools.configuration import Configuration
from tools.console import Summary
from tools.ports import free_addresses
from tools.restarts import MOST_RESTARTS
from tools.run import Run, RunOptions, is_listening, loopback_server, told
from zk.settings import ZooKeeperSettings

WITHIN_S = 10.0


class Life:
    """One process's life, as a test wants it: a child that is none."""

    def __init__(self, name: str, *, ends: int | None = None, events: Sequence[str] = ()) -> None:
        self.name = name
        self.status = ends
        self.is_ready = False
        self._events = list(events)  # to be logged before it is ready

    async def until_ready(self, patience_s: float) -> None:
        while self._events:
            await asyncio.sleep(0)
        self.is_ready = True

    async def watch(self) -> None:
        if self.status is None:
            await asyncio.Event().wait()
        raise ChildError(f"the process {self.name} ended by itself. The end of its log:\nwhy\n")

    def latest_event(self, level: str | None = None) -> str | None:
        return self._events.pop(0) if self._events else None


class Lives:
    """The fleet's place: each process has the lives that it was given, then one without end."""

    def __init__(self, lives: Sequence[Life] = ()) -> None:
        self.launched: list[str] = []
        self.summaries: dict[str, Summary] = {}
        self.children: dict[str, Life] = {}
        self.names: list[str] = []
        self.is_stopped = False
        self._lives = list(lives)

    def __call__(self, *_: object) -> "Lives":
        return self

    def add_zookeeper(self) -> None:
        self.names.append("zookeeper")

    def add_roles(self, path_of: Callable[[str], Path]) -> None:
        self.names += ["e1", "r1", "g1"]

    async def launch(self, name: str) -> Life:
        self.launched.append(name)
        life = next((each for each in self._lives if each.name == name), Life(name))
        if life in self._lives:
            self._lives.remove(life)
        self.children[name] = life
        return life

    async def kill(self, names: Sequence[str]) -> None:
        for name in names:
            del self.children[name]

    async def finish(self, name: str) -> None:
        await self.kill([name])

    async def stop(self) -> None:
        self.is_stopped = True


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens anywhere, e1 leads, and nothing takes its time."""

    async def statuses(_: object) -> dict[str, Any]:
        leads = {"state": "primary", "epoch": 4, "sequence": 48_120, "committed_sequence": 48_118}
        return {"e1": status("e1", **leads)}

    monkeypatch.setattr(run_module, "is_listening", lambda address: False)
    monkeypatch.setattr(run_module, "ask_replicas", statuses)
    monkeypatch.setattr(run_module, "_PROGRESS_EVERY_S", 0.0)
    monkeypatch.setattr(run_module, "_LOOK_EVERY_S", 0.0)
    monkeypatch.setattr("tools.restarts.RESTART_AFTER_NS", 0)


def run(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    lives: Lives,
    until: str,
    *,
    zookeeper: bool = True,
    restart: bool = True,
    path: Path | None = None,
) -> tuple[Summary, list[str]]:
    """Run until a line with these words has been said; the summary and all lines."""
    monkeypatch.setattr(run_module, "Fleet", lives)
    stop = asyncio.Event()
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if until in line:
            stop.set()

    async def within_limits() -> Summary:
        runner = Run(
            RunOptions(path or write(folder, ONE_OF_EACH), folder / "logs", zookeeper, restart),
            -1,
            say,
        )
        async with asyncio.timeout(WITHIN_S):
            return await runner.run(stop)

    summary = asyncio.run(within_limits())
    assert lives.is_stopped
    return summary, said


def test_all_are_started_and_who_leads_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives = Lives()
    summary, said = run(tmp_path, monkeypatch, lives, "is primary")
    assert lives.launched == ["zookeeper", "e1", "r1", "g1"]
    assert said[0] == "nobody listens at 127.0.0.1:2181: an embedded ZooKeeper is started there"
    assert said[1].startswith("starting zookeeper, e1, r1, g1; their logs are in ")
    assert "e1 is primary in epoch 4: 48,120 frames, committed up to 48,118" in said
    assert (summary["primary"], summary["epoch"], summary["sequence"]) == ("e1", 4, 48_120)
    assert (summary["zookeeper"], summary["restarts"], summary["given_up"]) == ("embedded", {}, [])
    assert (tmp_path / "logs").is_dir()


@pytest.mark.parametrize(("wanted", "listens"), [(False, False), (True, True)])
def test_no_zookeeper_is_started_where_none_is_wanted_or_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: bool, listens: bool
) -> None:
    monkeypatch.setattr(run_module, "is_listening", lambda address: listens)
    lives = Lives()
    summary, said = run(tmp_path, monkeypatch, lives, "is primary", zookeeper=wanted)
    assert "zookeeper" not in lives.launched
    assert summary["zookeeper"] == "external"
    without = "nobody listens at 127.0.0.1:2181: without a ZooKeeper nobody can lead"
    assert (without in said) == (not listens)


def test_process_that_dies_is_reported_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives = Lives([Life("r1", ends=1), Life("r1", ends=-9)])
    summary, said = run(tmp_path, monkeypatch, lives, "r1 is started again")
    assert "the process r1 ended by itself. The end of its log:\nwhy" in said
    assert summary["restarts"]["r1"] >= 1
    assert summary["given_up"] == []


def test_process_that_dies_again_and_again_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives = Lives([Life("g1", ends=1) for _ in range(MOST_RESTARTS + 1)])
    summary, said = run(tmp_path, monkeypatch, lives, "g1 is not started again")
    assert lives.launched.count("g1") == MOST_RESTARTS + 1
    assert said[-1] == "g1 is not started again: it died more than 5 times within 60 s"
    assert (summary["given_up"], summary["restarts"]) == (["g1"], {"g1": MOST_RESTARTS})


@pytest.mark.parametrize(
    ("ends", "restart", "reason"),
    [(1, False, "--no-restart"), (2, True, "it can't run as it is configured")],
)
def test_process_is_not_started_again_where_that_is_unwanted_or_no_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: int, restart: bool, reason: str
) -> None:
    lives = Lives([Life("e1", ends=ends)])
    until = "e1 is not started again"
    summary, said = run(tmp_path, monkeypatch, lives, until, restart=restart)
    assert f"{until}: {reason}" in said
    assert (lives.launched.count("e1"), summary["given_up"]) == (1, ["e1"])


def test_run_ends_when_no_process_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lives = Lives([Life(name, ends=1) for name in ("zookeeper", "e1", "r1", "g1")])
    summary, _ = run(tmp_path, monkeypatch, lives, "never said", restart=False)
    assert sorted(summary["given_up"]) == ["e1", "g1", "r1", "zookeeper"]


def test_progress_of_what_is_not_ready_is_told_as_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = ["recovering done=1", "recovering done=1", "recovering done=2"]
    lives = Lives([Life("e1", events=events)])
    _, said = run(tmp_path, monkeypatch, lives, "e1 is ready after")
    told = [line for line in said if line.startswith("e1: ")]
    assert told[:2] == ["e1: recovering done=1", "e1: recovering done=2"]


def test_why_nobody_leads_is_told_once_the_replicas_are_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def statuses(_: object) -> dict[str, Any]:
        return {"e1": status("e1", state="candidate")}

    asked_when_ready: list[bool] = []

    class Complaining(Life):
        async def until_ready(self, patience_s: float) -> None:
            for _ in range(20):  # somebody has looked who leads by then
                await asyncio.sleep(0)
            self.is_ready = True

        def latest_event(self, level: str | None = None) -> str | None:
            if level is None:
                return None
            asked_when_ready.append(self.is_ready)
            return "too few holders that remember"

    monkeypatch.setattr(run_module, "ask_replicas", statuses)
    monkeypatch.setattr(run_module, "_LEADERLESS_FOR_S", 0.0)
    summary, said = run(tmp_path, monkeypatch, Lives([Complaining("e1")]), "no replica is primary")
    assert "no replica is primary (e1: candidate); e1: too few holders that remember" in said
    assert all(asked_when_ready)
    assert summary["primary"] is None


TWO_LED = {"e1": {"shard": 1, "epoch": 4}, "e2": {"shard": 2, "epoch": 9}}


def test_who_leads_in_each_shard_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def statuses(view: Configuration) -> dict[str, Any]:
        (name,) = view.replicas
        return {name: status(name, state="primary", **TWO_LED[name])}

    monkeypatch.setattr(run_module, "ask_replicas", statuses)
    configuration = shards_of(2).model_copy(update={"zookeeper": ZooKeeperSettings()})
    path = tmp_path / "shards.toml"
    configuration.save(path)
    summary, said = run(tmp_path, monkeypatch, Lives(), "shard 2: e2 is primary", path=path)
    assert "shard 1: e1 is primary in epoch 4: 120 frames, committed up to 120" in said
    ends = {shard: (led["primary"], led["epoch"]) for shard, led in summary["shards"].items()}
    assert ends == {"1": ("e1", 4), "2": ("e2", 9)}
    assert "primary" not in summary
    assert "shard 1: e1 led in epoch 4, 120 frames; shard 2: e2 led in epoch 9" in told(summary)


class FakeKept:
    """A directory on disk that takes its time."""

    is_needed = True

    def __init__(self, lives: Lives) -> None:
        self._lives = lives
        self.launched_before: list[str] = []
        self.is_stopped = False

    def __call__(self, configuration: Configuration) -> "FakeKept":
        return self

    async def start(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        self.launched_before = [*self._lives.launched]
        if not self.is_needed:
            await asyncio.Event().wait()

    async def stop(self) -> None:
        self.is_stopped = True


@pytest.mark.parametrize("is_needed", [True, False])
def test_nobody_starts_before_an_embedded_zookeeper_has_its_directory_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_needed: bool
) -> None:
    lives = Lives()
    kept = FakeKept(lives)
    kept.is_needed = is_needed
    monkeypatch.setattr(run_module, "KeptDirectory", kept)
    run(tmp_path, monkeypatch, lives, "g1 is ready")
    assert lives.launched == ["zookeeper", "e1", "r1", "g1"]
    assert not is_needed or kept.launched_before == ["zookeeper"]
    assert kept.is_stopped


@pytest.mark.parametrize(
    ("led", "words"),
    [
        ({"primary": None}, "nobody ever led; processes started again: 3"),
        (
            {"primary": "e1", "epoch": 4, "sequence": 48_120},
            "e1 led in epoch 4, 48,120 frames; processes started again: 3",
        ),
    ],
)
def test_end_of_a_run_in_words(led: dict[str, Any], words: str) -> None:
    summary = {"seconds": 61.25, "restarts": {"e1": 2, "g1": 1}, **led}
    assert told(summary) == f"stopped after 61.2 s: {words}"


def test_process_that_fails_to_stop_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(Lives):
        async def stop(self) -> None:
            await super().stop()
            raise ChildError("the process e1 ended with status 1. The end of its log:\nwhy\n")

    summary, said = run(tmp_path, monkeypatch, Failing(), "is primary")
    assert said[-1] == "the process e1 ended with status 1. The end of its log:\nwhy"
    assert len(summary["failures"]) == 1


@pytest.mark.parametrize(
    ("hosts", "is_ours"),
    [
        ("127.0.0.1:2181", True),
        ("127.0.0.9:2181", True),
        ("localhost:2181", True),
        ("10.0.0.1:2181", False),
        ("zoo1:2181", False),
        ("127.0.0.1:2181,127.0.0.1:2182", False),
    ],
)
def test_zookeeper_is_ours_to_start_at_one_address_of_the_loopback(
    hosts: str, is_ours: bool
) -> None:
    address = loopback_server(hosts)
    assert (str(address) if is_ours else None) == (hosts if is_ours else address)


def test_somebody_listens_where_connections_are_taken() -> None:
    address = free_addresses(1)[0]
    assert not is_listening(address)
    with socket.create_server(address):
        assert is_listening(address)
