"""status, halt and resume, asked of replicas that answer and of ones that do not."""

import asyncio
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.tools.replica_statuses import MEMBERS, configuration_of, control_ports, status
from tools.cli import build_app
from tools.configuration import Configuration
from tools.console import CommandError, ExitStatus, UsageError
from tools.operate import summarize


def invoke(configuration: Path, *words: str) -> Result:
    arguments = [*words, "-c", str(configuration)]
    return CliRunner().invoke(build_app(words[:1]), arguments, env={"COLUMNS": "120"})


def lockstep(configuration: Path, *words: str) -> str:
    """What a command prints that ends well; raises what it refuses with."""
    result = invoke(configuration, *words)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def asked_while(
    configuration: Configuration, folder: Path, answers: dict[str, dict[str, Any]], *words: str
) -> tuple[Result, dict[str, Any]]:
    """A command's result while replicas answer, and what each of them was asked."""
    path = folder / "exchange.toml"
    configuration.save(path)

    async def situation() -> tuple[Result, dict[str, Any]]:
        async with control_ports(configuration, answers) as asked:
            return await asyncio.to_thread(invoke, path, *words), asked

    return asyncio.run(situation())


LED_BY_E2 = {
    "e1": status("e1", epoch=3, sequence=117, state="returning", machine="reference", primary="e2"),
    "e2": status(
        "e2",
        state="primary",
        primary="e2",
        members={name: MEMBERS[name] for name in ("e1", "e2", "r1", "g1")},
        holders={
            "e1": {"sequence": 0, "vote": False},
            "e2": {"sequence": 120, "vote": True},
            "e3": {"sequence": 90, "vote": True},
            "r1": {"sequence": 119, "vote": True},
        },
    ),
}


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


@pytest.mark.parametrize("command", ["halt", "resume"])
def test_halt_and_resume_go_to_the_primary_alone(tmp_path: Path, command: str) -> None:
    configuration = configuration_of("e1", "e2", "e3")
    result, asked = asked_while(configuration, tmp_path, LED_BY_E2, command, "AAPL", "--json")
    assert json.loads(result.stdout) == {"done by": "e2", "request": command, "symbol": "AAPL"}
    status_request = {"request": "status", "digests": False}
    assert asked["e1"] == [status_request]
    assert asked["e2"] == [status_request, {"request": command, "symbol": "AAPL"}]


def in_a_day(day: int) -> dict[str, dict[str, Any]]:
    """What the replicas answer while this day runs."""
    return LED_BY_E2 | {"e2": LED_BY_E2["e2"] | {"day": day}}


def test_status_tells_the_day_once_there_is_one(tmp_path: Path) -> None:
    configuration = configuration_of("e1", "e2", "e3")
    result, _ = asked_while(configuration, tmp_path, in_a_day(20261122), "status")
    assert result.stdout.splitlines()[1] == "day 20261122"
    result, _ = asked_while(configuration, tmp_path, in_a_day(20261122), "status", "--json")
    assert json.loads(result.stdout)["day"] == 20261122
    result, _ = asked_while(configuration, tmp_path, in_a_day(0), "status")
    assert "day" not in result.stdout


def test_new_day_goes_to_the_primary_alone(tmp_path: Path) -> None:
    configuration = configuration_of("e1", "e2", "e3")
    words = ["new-day", "20261123", "--json"]
    result, asked = asked_while(configuration, tmp_path, in_a_day(20261122), *words)
    assert result.exit_code == ExitStatus.OK
    status_request = {"request": "status", "digests": False}
    assert asked["e1"] == [status_request]
    assert asked["e2"] == [status_request, {"request": "new-day", "day": 20261123}]


def test_new_day_without_a_day_is_today(tmp_path: Path) -> None:
    configuration = configuration_of("e1", "e2", "e3")
    before = date.today()
    _, asked = asked_while(configuration, tmp_path, LED_BY_E2, "new-day", "--json")
    assert asked["e2"][1]["day"] in {int(f"{day:%Y%m%d}") for day in (before, date.today())}


def test_new_day_that_is_not_later_is_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    configuration = configuration_of("e1", "e2", "e3")
    words = ["new-day", "20261122"]
    result, asked = asked_while(configuration, tmp_path, in_a_day(20261122), *words)
    assert isinstance(result.exception, CommandError)
    assert str(result.exception) == "the exchange is in day 20261122 already; give a later one"
    assert len(asked["e2"]) == 1


@pytest.mark.parametrize("day", ["20261131", "tomorrow", "2026112", "2026-11-22"])
def test_new_day_that_is_no_day_is_wrong_usage(tmp_path: Path, day: str) -> None:
    path = tmp_path / "exchange.toml"
    configuration_of("e1").save(path)
    with pytest.raises(UsageError, match="give it as YYYYMMDD"):
        lockstep(path, "new-day", day)


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


def test_halt_without_a_primary_is_refused_with_what_the_replicas_are(tmp_path: Path) -> None:
    configuration = configuration_of("e1", "e2")
    answers = {"e1": status("e1"), "e2": status("e2", state="candidate")}
    result, _ = asked_while(configuration, tmp_path, answers, "halt", "AAPL")
    assert isinstance(result.exception, CommandError)
    assert str(result.exception) == "no replica is primary (e1: backup; e2: candidate)"


def test_halt_of_an_exchange_that_does_not_run_is_told_with_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "exchange.toml"
    configuration = configuration_of("e1")
    configuration.save(path)
    control = configuration.replicas["e1"].control
    with pytest.raises(CommandError, match=rf"at {control}.*; are they running, with this config"):
        lockstep(path, "halt", "AAPL")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["replica", "--name", "e9"], r"--name e9: no section \[replicas.e9\] \(there is: e1\)"),
        (["gateway", "--name", "g9"], r"--name g9: no section \[gateways.g9\] \(there is: none\)"),
        (["retransmitter", "--name", "r9"], r"no section \[retransmitters.r9\] \(there is: r1\)"),
        (["retransmitter", "--name", "r1", "--faults", "lose=5"], "--faults: 'lose=5'"),
    ],
)
def test_role_that_the_configuration_does_not_have_is_refused(
    tmp_path: Path, words: list[str], text: str
) -> None:
    path = tmp_path / "exchange.toml"
    configuration_of("e1").save(path)
    with pytest.raises(CommandError, match=text):
        lockstep(path, *words)


def test_zookeeper_server_for_other_machines_is_refused() -> None:
    arguments = ["zookeeper", "--listen", "0.0.0.0:2181"]
    result = CliRunner().invoke(build_app(arguments), arguments)
    assert isinstance(result.exception, CommandError)
    assert result.exception.status == ExitStatus.USAGE
    assert str(result.exception).startswith("--listen: ")
