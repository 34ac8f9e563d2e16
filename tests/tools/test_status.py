"""`lockstep status`: who leads, who is alive, how far each holder is, and where each symbol is."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tools.operators import LED_BY_E2, asked_while, in_a_day, invoke
from tests.tools.replica_statuses import configuration_of, shards_of, status
from tools.configuration import Configuration
from tools.console import CommandError, ExitStatus
from tools.status import summarize
from zk.directory import Directory


def test_holder_that_has_not_acknowledged_in_this_epoch_may_be_anywhere() -> None:
    holders = {name: {"sequence": 0, "vote": False} for name in ("e1", "r1")}
    statuses = {"e1": status("e1", state="primary", holders=holders)}
    summary = summarize(configuration_of("e1"), statuses)
    assert (summary["holders"]["e1"]["sequence"], summary["holders"]["e1"]["lag"]) == (120, 0)
    assert (summary["holders"]["r1"]["sequence"], summary["holders"]["r1"]["lag"]) == (None, None)


def test_status_tells_who_leads_who_is_alive_and_how_far_each_holder_is(tmp_path: Path) -> None:
    configuration = configuration_of("e1", "e2", "e3")
    result, _ = asked_while(configuration, tmp_path, LED_BY_E2, "status", "--json")
    assert result.exit_code == ExitStatus.OK
    told = json.loads(result.stdout)
    replicas = told.pop("replicas")
    assert replicas["e1"] == LED_BY_E2["e1"]
    assert "no answer" in replicas["e3"]["error"]
    holder = {"role": "replica", "alive": True, "machine": "kernel", "vote": True}
    returning = {"state": "returning", "machine": "reference", "vote": False}
    silent = {"alive": False, "state": "no answer", "machine": None}
    retransmitter = {"role": "retransmitter", "state": None, "machine": None}
    assert told == {
        "exchange": "TEST",
        "shard": 1,
        "primary": "e2",
        "epoch": 3,
        "sequence": 120,
        "committed_sequence": 120,
        "day": None,
        "zookeeper": "connected",
        "members": LED_BY_E2["e2"]["members"],
        "holders": {
            "e1": {**holder, **returning, "sequence": 117, "lag": 3},
            "e2": {**holder, "state": "primary", "sequence": 120, "lag": 0},
            "e3": {**holder, **silent, "sequence": 90, "lag": 30},
            "r1": {**holder, **retransmitter, "sequence": 119, "lag": 1},
        },
    }


def test_status_is_a_table_for_people(tmp_path: Path) -> None:
    configuration = configuration_of("e1", "e2", "e3")
    result, _ = asked_while(configuration, tmp_path, LED_BY_E2, "status")
    lines = result.stdout.splitlines()
    assert lines[:2] == [
        "TEST, shard 1: e2 is primary in epoch 3",
        "120 frames, committed up to 120; ZooKeeper: connected",
    ]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]
    assert rows == [
        ["e1", "replica", "yes", "returning", "reference", "117", "3", "no"],
        ["e2", "replica", "yes", "primary", "kernel", "120", "0", "yes"],
        ["e3", "replica", "no", "no answer", "", "90", "30", "yes"],
        ["r1", "retransmitter", "yes", "", "", "119", "1", "yes"],
    ]
    assert "gateways alive: g1" in lines
    assert lines[-1].startswith("e3: no answer from")


def test_status_names_the_frame_at_which_a_replica_differs(tmp_path: Path) -> None:
    configuration = configuration_of("e1", "e2")
    differing = status("e2", state="diverged", divergence={"sequence": 77, "reason": "a price"})
    answers = {"e1": status("e1", state="primary"), "e2": differing}
    result, _ = asked_while(configuration, tmp_path, answers, "status")
    assert "e2 differs at frame 77: a price" in result.stdout


def test_status_says_why_a_replica_can_store_no_more(tmp_path: Path) -> None:
    configuration = configuration_of("e1", "e2")
    full = status("e2", state="failed", storage_failure="e2/1.frames: the disk is full")
    answers = {"e1": status("e1", state="primary"), "e2": full}
    result, _ = asked_while(configuration, tmp_path, answers, "status")
    assert "e2 can store no more: e2/1.frames: the disk is full" in result.stdout


def test_status_without_a_primary_says_so_and_exits_with_1(tmp_path: Path) -> None:
    configuration = configuration_of("e1", "e2")
    answers = {"e1": status("e1", sequence=80), "e2": status("e2", sequence=90)}
    result, _ = asked_while(configuration, tmp_path, answers, "status")
    assert result.exit_code == ExitStatus.FAILED
    assert result.stdout.startswith("TEST, shard 1: no replica is primary\n90 frames")
    result, _ = asked_while(configuration, tmp_path, answers, "status", "--json")
    assert result.exit_code == ExitStatus.FAILED
    told = json.loads(result.stdout)
    assert (told["primary"], told["holders"]["e1"]["lag"]) == (None, 10)


def test_status_of_an_exchange_that_does_not_run(tmp_path: Path) -> None:
    path = tmp_path / "exchange.toml"
    configuration = configuration_of("e1", "e2")
    configuration.save(path)
    result = invoke(path, "status", "--json")
    assert result.exit_code == ExitStatus.FAILED
    told = json.loads(result.stdout)
    assert (told["primary"], told["epoch"], told["members"]) == (None, None, {})
    assert told["holders"]["r1"] == {
        "role": "retransmitter",
        "alive": False,
        "state": None,
        "machine": None,
        "sequence": None,
        "lag": None,
        "vote": None,
    }
    assert invoke(path, "status").exit_code == ExitStatus.FAILED


def test_replica_that_is_ahead_of_the_last_acknowledgement_lags_by_nothing() -> None:
    statuses = {"e1": status("e1", state="primary"), "e2": status("e2", sequence=125)}
    summary = summarize(configuration_of("e1", "e2"), statuses)
    assert summary["holders"]["e2"]["lag"] == 0


def test_status_tells_the_day_once_there_is_one(tmp_path: Path) -> None:
    configuration = configuration_of("e1", "e2", "e3")
    result, _ = asked_while(configuration, tmp_path, in_a_day(20261122), "status")
    assert result.stdout.splitlines()[1] == "day 20261122"
    result, _ = asked_while(configuration, tmp_path, in_a_day(20261122), "status", "--json")
    assert json.loads(result.stdout)["day"] == 20261122
    result, _ = asked_while(configuration, tmp_path, in_a_day(0), "status")
    assert "day" not in result.stdout


@pytest.mark.parametrize("digests", [True, False])
def test_digests_are_asked_for_only_when_they_are_wanted(tmp_path: Path, digests: bool) -> None:
    configuration = configuration_of("e1", "e2", "e3")
    words = ["status", *(["--digests"] if digests else [])]
    result, asked = asked_while(configuration, tmp_path, LED_BY_E2, *words)
    assert asked["e1"] == [{"request": "status", "digests": digests}]
    shown = [line for line in result.stdout.splitlines() if "digest" in line]
    assert shown == (
        [
            "e1 at 117: list digest list, book digest book, state digest state",
            "e2 at 120: list digest list, book digest book, state digest state",
        ]
        if digests
        else []
    )


def two_shards(folder: Path, monkeypatch: pytest.MonkeyPatch, directory: Directory | None) -> Any:
    """What status shows, and its JSON, of two shards of which e2's alone has a primary."""
    configuration = shards_of(2)
    answers = {
        "e1": status("e1", sequence=80),
        "e2": status("e2", shard=2, state="primary", primary="e2", sequence=90),
    }

    async def read_directory(configuration: Configuration) -> Directory:
        if directory is None:
            raise CommandError("there is no ZooKeeper")
        return directory

    monkeypatch.setattr("tools.status.read_directory", read_directory)
    shown, _ = asked_while(configuration, folder, answers, "status")
    told, _ = asked_while(configuration, folder, answers, "status", "--json")
    assert shown.exit_code == told.exit_code
    return shown, json.loads(told.stdout)


def test_status_shows_every_shard_with_its_symbols_and_unfinished_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = Directory((1, 2), (1,), {"NVDA": (2,), "AAPL": (1, 2), "MSFT": (1,)}, {"MSFT": 2})
    shown, told = two_shards(tmp_path, monkeypatch, directory)
    assert shown.exit_code == ExitStatus.FAILED  # nobody leads in shard 1
    lines = shown.stdout.splitlines()
    assert lines[0] == "TEST, shard 1: no replica is primary"
    assert "TEST, shard 2: e2 is primary in epoch 3" in lines
    assert [line for line in lines if "symbols" in line] == ["symbols: MSFT", "symbols: AAPL, NVDA"]
    assert lines[-1] == (
        "MSFT is on its way to shard 2; if nobody is at it, finish it: lockstep move MSFT --to 2"
    )
    one, two = told["shards"]["1"], told["shards"]["2"]
    assert (one["primary"], one["listed"], one["symbols"]) == (None, True, ["MSFT"])
    assert (two["primary"], two["sequence"], two["symbols"]) == ("e2", 90, ["AAPL", "NVDA"])
    assert (one["shard"], two["shard"], list(two["holders"])) == (1, 2, ["e2"])
    assert (told["exchange"], told["homes"], told["moving"]) == ("TEST", [1], {"MSFT": 2})
    assert told["directory_trouble"] is None


def test_shard_that_is_only_configured_needs_no_primary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = Directory((2,), (2,), {"AAPL": (2,)}, {})
    shown, told = two_shards(tmp_path, monkeypatch, directory)
    assert shown.exit_code == ExitStatus.OK
    assert "not in use yet, only configured: lockstep add-shard 1" in shown.stdout
    assert (told["shards"]["1"]["listed"], told["shards"]["2"]["listed"]) == (False, True)


def test_status_without_a_directory_says_why_and_shows_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, told = two_shards(tmp_path, monkeypatch, None)
    assert shown.exit_code == ExitStatus.FAILED
    assert "where the symbols are is not known: there is no ZooKeeper" in shown.stdout
    assert "symbols: " not in shown.stdout
    assert told["directory_trouble"] == "there is no ZooKeeper"
    assert (told["shards"]["2"]["primary"], told["shards"]["2"]["symbols"]) == ("e2", None)


def test_digests_of_every_shard_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = Directory((2,), (2,), {}, {})

    async def read_directory(configuration: Configuration) -> Directory:
        return directory

    monkeypatch.setattr("tools.status.read_directory", read_directory)
    answers = {name: status(name, state="primary") for name in ("e1", "e2")}
    result, asked = asked_while(shards_of(2), tmp_path, answers, "status", "--digests")
    assert asked["e2"] == [{"request": "status", "digests": True}]
    assert [line[:9] for line in result.stdout.splitlines() if "digest" in line] == [
        *("e1 at 120", "e2 at 120")
    ]
