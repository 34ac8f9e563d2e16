"""halt, resume and new-day, asked of replicas that answer and of ones that do not."""

import json
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.tools.operators import LED_BY_E2, asked_while, in_a_day, lockstep
from tests.tools.replica_statuses import configuration_of, shards_of, status
from tools.cli import build_app
from tools.configuration import Configuration
from tools.console import CommandError, ExitStatus, UsageError
from tools.new_days import BegunDay, BegunDays
from zk.directory import Directory


@pytest.mark.parametrize("command", ["halt", "resume"])
def test_halt_and_resume_go_to_the_primary_alone(tmp_path: Path, command: str) -> None:
    configuration = configuration_of("e1", "e2", "e3")
    result, asked = asked_while(configuration, tmp_path, LED_BY_E2, command, "AAPL", "--json")
    assert json.loads(result.stdout) == {"done by": "e2", "request": command, "symbol": "AAPL"}
    status_request = {"request": "status", "digests": False}
    assert asked["e1"] == [status_request]
    assert asked["e2"] == [status_request, {"request": command, "symbol": "AAPL"}]


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


LED = {name: status(name, state="primary", shard=shard) for shard, name in ((1, "e1"), (2, "e2"))}
MOVED = Directory((1, 2), (1, 2), {"AAPL": (1, 2), "MSFT": (2,)}, {"MSFT": 1})


def with_directory(monkeypatch: pytest.MonkeyPatch, directory: Directory) -> None:
    async def read_directory(configuration: Configuration) -> Directory:
        return directory

    monkeypatch.setattr("tools.operate.read_directory", read_directory)


@pytest.mark.parametrize("command", ["halt", "resume"])
def test_symbol_is_halted_in_the_shard_that_it_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    with_directory(monkeypatch, MOVED)
    result, asked = asked_while(shards_of(2), tmp_path, LED, command, "AAPL", "--json")
    answer = {"done by": "e2", "request": command, "symbol": "AAPL"}
    assert json.loads(result.stdout) == {**answer, "shard": 2}
    assert asked["e1"] == []


@pytest.mark.parametrize(
    ("symbol", "text"),
    [
        ("IBM", "IBM is in no shard: lockstep add-symbol lists it"),
        (
            "MSFT",
            "MSFT is on its way to shard 1: finish that first, with lockstep move MSFT --to 1",
        ),
    ],
)
def test_symbol_that_is_in_no_shard_or_between_two_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, symbol: str, text: str
) -> None:
    with_directory(monkeypatch, MOVED)
    result, asked = asked_while(shards_of(2), tmp_path, LED, "halt", symbol)
    assert isinstance(result.exception, CommandError)
    assert str(result.exception) == text
    assert asked == {"e1": [], "e2": []}


@pytest.mark.parametrize("as_json", [True, False])
def test_new_day_of_several_shards_is_begun_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    begun = BegunDays(20261123, {1: BegunDay(4, 2), 2: BegunDay(None, None)})

    async def begin(settings: Configuration, day: int) -> BegunDays:
        assert (list(settings.shards), day) == ([1, 2], 20261123)
        return begun

    monkeypatch.setattr("tools.operate.begin_day_everywhere", begin)
    path = tmp_path / "exchange.toml"
    shards_of(2).save(path)
    told = lockstep(path, "new-day", "20261123", *(["--json"] if as_json else []))
    if as_json:
        assert json.loads(told) == begun.summary()
    else:
        assert told.splitlines() == begun.lines()
