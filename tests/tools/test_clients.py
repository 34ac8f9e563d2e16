import json
import os
import tomllib
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from typer.testing import CliRunner, Result

from feed.messages import SelfTradePrevention
from gateway.clients import read_clients
from tools.clients import client_app
from tools.console import CommandError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clients.toml"


def run(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(client_app, arguments, input=typed, catch_exceptions=False)


def test_a_drawn_secret_is_printed_once_and_only_its_hash_is_kept(path: Path) -> None:
    result = run("add", "alice", "--file", str(path))
    assert result.exit_code == 0
    first, second = result.stdout.splitlines()
    assert first == f"ALICE is client 1 in {path}."
    secret = second.removeprefix("secret: ")
    assert len(secret) == 10
    client = read_clients(path)["ALICE"]
    assert PasswordHasher().verify(client.secret, secret)
    assert secret not in path.read_text()
    assert client.self_trade_prevention is SelfTradePrevention.CANCEL_NEWEST
    assert client.cancel_on_disconnect is False


def test_a_secret_is_asked_for_twice_and_not_shown(path: Path) -> None:
    result = run("add", "BOB", "--file", str(path), "--ask", "--json", typed="s3cret99\ns3cret99\n")
    assert result.exit_code == 0
    answer = result.stdout.splitlines()[-1]
    assert json.loads(answer) == {"name": "BOB", "number": 1, "secret": "s3cret99"}
    assert PasswordHasher().verify(read_clients(path)["BOB"].secret, "s3cret99")


def test_what_a_client_may_is_written_down_and_listed(path: Path) -> None:
    run("add", "ALICE", "--file", str(path))
    run(
        *("add", "BOB", "--file", str(path), "--cancel-on-disconnect"),
        *("--self-trade-prevention", "cancel-both", "--orders-per-second", "50"),
        *("--orders-burst", "5"),
    )
    result = run("list", "--file", str(path), "--json")
    assert json.loads(result.stdout) == {
        "clients": {
            "ALICE": {
                "number": 1,
                "self_trade_prevention": "cancel_newest",
                "cancel_on_disconnect": False,
                "orders_per_second": None,
                "orders_burst": None,
            },
            "BOB": {
                "number": 2,
                "self_trade_prevention": "cancel_both",
                "cancel_on_disconnect": True,
                "orders_per_second": 50,
                "orders_burst": 5,
            },
        }
    }
    table = run("list", "--file", str(path)).stdout
    assert "ALICE" in table
    assert "cancel-both" in table
    assert "$argon2" not in table


def test_a_removed_clients_number_is_not_given_again(path: Path) -> None:
    run("add", "ALICE", "--file", str(path))
    run("add", "BOB", "--file", str(path))
    result = run("remove", "bob", "--file", str(path))
    assert result.stdout == f"BOB is removed from {path}.\n"
    assert list(read_clients(path)) == ["ALICE"]
    run("add", "CAROL", "--file", str(path))
    run("remove", "CAROL", "--file", str(path))
    run("remove", "ALICE", "--file", str(path))
    run("add", "BOB", "--file", str(path))
    assert {name: each.number for name, each in read_clients(path).items()} == {"BOB": 4}
    assert tomllib.loads(path.read_text())["next_number"] == 5


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("add", "ALICE"), 'there is a client "ALICE"'),
        (("add", "TOOLONG"), "'TOOLONG' is not a client's name"),
        (("remove", "BOB"), 'there is no client "BOB"'),
    ],
)
def test_what_can_not_be_done_is_refused_with_a_reason(
    path: Path, arguments: tuple[str, str], complaint: str
) -> None:
    run("add", "ALICE", "--file", str(path))
    before = path.read_text()
    with pytest.raises(CommandError, match=complaint):
        run(*arguments, "--file", str(path))
    assert path.read_text() == before


def test_a_missing_file_is_not_listed(path: Path) -> None:
    with pytest.raises(CommandError, match="can't be read"):
        run("list", "--file", str(path))


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="can't be used"):
        run("add", "ALICE", "--file", str(tmp_path / "nowhere" / "clients.toml"))


def test_a_full_disk_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("add", "ALICE", "--file", str(path))
    before = path.read_text()

    def full_disk(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    for command in ("add", "remove"):
        with pytest.raises(CommandError, match="No space left"):
            run(command, {"add": "BOB", "remove": "ALICE"}[command], "--file", str(path))
    assert path.read_text() == before
