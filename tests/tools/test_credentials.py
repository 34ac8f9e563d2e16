import io
import stat
import sys
from pathlib import Path

import pytest

from feed.settings import Address
from gateway.settings import GatewaySettings
from tests.tools.replica_statuses import configuration_of
from tools.configuration import Configuration
from tools.console import UsageError
from tools.credentials import find_secret, open_client, read_secrets, write_secrets


@pytest.fixture(autouse=True)
def _nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    for name in ("LOCKSTEP_SECRET", "LOCKSTEP_SECRET_ALICE"):
        monkeypatch.delenv(name, raising=False)


def test_written_secrets_are_read_back_and_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secrets.toml"
    write_secrets(path, {"ALICE": 'a"secret', "BOB": "b\\secret"})
    assert read_secrets(path) == {"ALICE": 'a"secret', "BOB": "b\\secret"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("ALICE", "not TOML"),
        ("ALICE = 1", "ALICE has no secret"),
        ("[ALICE]\nsecret = 'x'", "ALICE has no secret"),
        ("TOOLONG = 'x'", "not a client's name"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "secrets.toml"
    path.write_text(content)
    with pytest.raises(UsageError, match=complaint):
        read_secrets(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_secrets(tmp_path / "secrets.toml")


def test_a_secret_comes_from_the_file_then_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secrets.toml"
    path.write_text('alice = "from file"')
    monkeypatch.setenv("LOCKSTEP_SECRET", "of anybody")
    assert find_secret("alice", None) == "of anybody"
    monkeypatch.setenv("LOCKSTEP_SECRET_ALICE", "of Alice")
    assert find_secret("alice", None) == "of Alice"
    assert find_secret("Alice", path) == "from file"
    with pytest.raises(UsageError, match="BOB is not in it"):
        find_secret("bob", path)


def test_without_a_secret_and_anybody_to_ask_it_is_told_what_to_do() -> None:
    with pytest.raises(UsageError, match="set LOCKSTEP_SECRET_ALICE, or give --secrets FILE"):
        find_secret("alice", None)


def configuration(**gateways: GatewaySettings) -> Configuration:
    return configuration_of("e1", gateways=gateways)


def test_an_exchange_without_a_gateway_can_not_be_logged_in_to() -> None:
    with pytest.raises(UsageError, match="no gateway"):
        open_client(configuration(), "ALICE", "secret", next_sequence=0)


def test_a_certificate_that_can_not_be_read_is_told(tmp_path: Path) -> None:
    gateway = GatewaySettings(
        listen=Address("127.0.0.1", 4),
        clients=tmp_path / "clients.toml",
        tls_certificate=tmp_path / "cert.pem",
        tls_key=tmp_path / "key.pem",
    )
    with pytest.raises(UsageError, match=r"cert\.pem"):
        open_client(configuration(g1=gateway), "ALICE", "secret", next_sequence=0)


def test_a_secret_that_fits_no_log_in_is_told() -> None:
    gateway = GatewaySettings(listen=Address("0.0.0.0", 4), clients=Path("clients.toml"))
    with pytest.raises(UsageError):
        open_client(configuration(g1=gateway), "ALICE", "far too long", next_sequence=0)
