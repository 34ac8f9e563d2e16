import os
from pathlib import Path
from typing import Literal

import pytest
from argon2 import PasswordHasher, extract_parameters
from structlog.testing import capture_logs

from gateway.clients import ClientsError, add_client, read_clients
from gateway.verifier import Verifier

HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class CountingHasher(PasswordHasher):
    """Notes the cost of every hash that it looks at."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.costs: list[tuple[int, int]] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        parameters = extract_parameters(str(hash))
        self.costs.append((parameters.time_cost, parameters.memory_cost))
        return super().verify(hash, password)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "clients.toml"
    add_client(path, "ALICE", "alice-pass", hasher=HASHER)
    return path


def test_only_the_right_secret_of_a_known_name_is_taken(path: Path) -> None:
    verifier = Verifier(path, HASHER)
    alice = read_clients(path)["ALICE"]
    assert verifier.verify("ALICE", "alice-pass") == alice
    assert verifier.verify("alice", "alice-pass") == alice
    assert verifier.verify("ALICE", "Alice-Pass") is None
    assert verifier.verify("ALICE", "") is None
    assert verifier.verify("BOB", "alice-pass") is None
    assert verifier.verify("", "") is None


def test_a_name_that_is_not_there_costs_what_a_known_one_costs(tmp_path: Path) -> None:
    path = tmp_path / "clients.toml"
    add_client(path, "ALICE", "alice-pass", hasher=PasswordHasher(2, 16, 1))
    hasher = CountingHasher()
    verifier = Verifier(path, hasher)
    assert verifier.verify("ALICE", "wrong-pass") is None
    assert verifier.verify("MALLET", "wrong-pass") is None
    assert hasher.costs == [(2, 16), (2, 16)]


def test_a_secret_that_proved_right_is_not_hashed_again_but_a_wrong_one_always_is(
    path: Path,
) -> None:
    hasher = CountingHasher()
    verifier = Verifier(path, hasher)
    for _ in range(3):
        assert verifier.verify("ALICE", "alice-pass") is not None
    assert len(hasher.costs) == 1
    for _ in range(3):
        assert verifier.verify("ALICE", "wrong-pass") is None
    assert len(hasher.costs) == 4
    assert verifier.verify("ALICE", "alice-pass") is not None
    assert len(hasher.costs) == 4


def test_a_client_that_is_added_later_can_log_in(path: Path) -> None:
    verifier = Verifier(path, HASHER)
    assert verifier.verify("BOB", "bob-secret") is None
    bob = add_client(path, "BOB", "bob-secret", hasher=HASHER)
    assert verifier.verify("BOB", "bob-secret") == bob


def test_a_secret_that_was_changed_is_forgotten(path: Path) -> None:
    verifier = Verifier(path, HASHER)
    assert verifier.verify("ALICE", "alice-pass") is not None
    path.unlink()
    add_client(path, "ALICE", "other-pass", hasher=HASHER)
    assert verifier.verify("ALICE", "alice-pass") is None
    assert verifier.verify("ALICE", "other-pass") is not None


def test_a_file_that_is_not_sound_changes_nothing_and_is_told_of_once(path: Path) -> None:
    verifier = Verifier(path, HASHER)
    path.write_text("not TOML at all")
    with capture_logs() as logs:
        assert verifier.verify("ALICE", "alice-pass") is not None
        assert verifier.verify("ALICE", "alice-pass") is not None
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [
        ("error", "clients file not taken; who could log in before still can")
    ]
    os.unlink(path)
    assert verifier.verify("ALICE", "alice-pass") is not None


def test_a_file_that_is_not_sound_at_the_start_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClientsError, match="can't be read"):
        Verifier(tmp_path / "nothing.toml", HASHER)
