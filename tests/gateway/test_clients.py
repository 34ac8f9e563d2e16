import os
import stat
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from feed.messages import SelfTradePrevention
from gateway import clients
from gateway.clients import (
    QUICK_HASHER,
    ClientsError,
    ClientSettings,
    add_client,
    client_name,
    new_secret,
    read_clients,
)
from gateway.verifier import Verifier

HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
HASH = HASHER.hash("alice-pass")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clients.toml"


def test_added_clients_are_read_back_as_they_were(path: Path) -> None:
    alice = add_client(path, "alice", "alice-pass", hasher=HASHER)
    bob = add_client(
        path,
        "BOB2",
        "bob-secret",
        number=7,
        self_trade_prevention=SelfTradePrevention.CANCEL_BOTH,
        cancel_on_disconnect=True,
        orders_per_second=50,
        orders_burst=5,
        hasher=HASHER,
    )
    carol = add_client(path, "CAROL", "carol-pass", hasher=HASHER)
    assert read_clients(path) == {"ALICE": alice, "BOB2": bob, "CAROL": carol}
    assert [client.number for client in (alice, bob, carol)] == [1, 7, 8]
    assert alice.self_trade_prevention is SelfTradePrevention.CANCEL_NEWEST
    assert HASHER.verify(bob.secret, "bob-secret")


def test_the_file_is_for_its_owner_alone_and_nothing_is_left_beside_it(path: Path) -> None:
    add_client(path, "ALICE", "alice-pass", hasher=HASHER)
    path.chmod(0o644)
    add_client(path, "BOB", "bob-secret", hasher=HASHER)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["clients.toml"]


def test_no_secret_stands_in_the_file(path: Path) -> None:
    add_client(path, "ALICE", "alice-pass", hasher=HASHER)
    assert "alice-pass" not in path.read_text()
    entry = tomllib.loads(path.read_text())["clients"]["ALICE"]
    assert entry["secret"].startswith("$argon2id$")
    assert entry["secret"] not in repr(read_clients(path))


def test_a_file_that_can_not_be_put_in_place_leaves_the_old_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = add_client(path, "ALICE", "alice-pass", hasher=HASHER)

    def full_disk(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        add_client(path, "BOB", "bob-secret", hasher=HASHER)
    assert read_clients(path) == {"ALICE": alice}
    assert [entry.name for entry in path.parent.iterdir()] == ["clients.toml"]


def test_two_who_add_at_once_do_not_lose_one_another(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice_writes, bob_read = threading.Event(), threading.Event()
    write, read = clients._write, clients._read
    path.write_text("")

    def slow_write(path: Path, content: Any) -> None:
        if not alice_writes.is_set():
            alice_writes.set()
            bob_read.wait(0.3)  # which must not happen before she has written
        write(path, content)

    def noted_read(path: Path) -> Any:
        content = read(path)
        if alice_writes.is_set():
            bob_read.set()
        return content

    monkeypatch.setattr(clients, "_write", slow_write)
    monkeypatch.setattr(clients, "_read", noted_read)
    alice = threading.Thread(target=add_client, args=(path, "ALICE", "alice-pass"))
    alice.start()
    assert alice_writes.wait(10)
    add_client(path, "BOB", "bob-secret", hasher=HASHER)
    alice.join(10)
    numbers = {name: client.number for name, client in read_clients(path).items()}
    assert numbers == {"ALICE": 1, "BOB": 2}


@pytest.mark.parametrize("name", ["", "TOOLONG", "A B", "É", "a-b", "\u0131"])
def test_a_name_that_does_not_fit_soupbintcp_is_refused(path: Path, name: str) -> None:
    with pytest.raises(ClientsError, match="not a client's name: 1 to 6 letters and digits"):
        add_client(path, name, "alice-pass", hasher=HASHER)
    assert not path.exists()


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("short", "6 to 10 characters"),
        ("much-too-long", "6 to 10 characters"),
        ("with blank"[:10], "letters, digits and punctuation"),
        ("sécrets", "letters, digits and punctuation"),
    ],
)
def test_a_secret_that_does_not_fit_soupbintcp_is_refused(
    path: Path, secret: str, why: str
) -> None:
    with pytest.raises(ClientsError, match=why):
        add_client(path, "ALICE", secret, hasher=HASHER)


def test_a_name_or_number_that_is_taken_is_refused(path: Path) -> None:
    add_client(path, "ALICE", "alice-pass", hasher=HASHER)
    with pytest.raises(ClientsError, match='a client "ALICE"'):
        add_client(path, "alice", "alice-pass", hasher=HASHER)
    with pytest.raises(ClientsError, match="number 1 is taken"):
        add_client(path, "BOB", "bob-secret", number=1, hasher=HASHER)
    with pytest.raises(ClientsError, match="number: Input should be greater"):
        add_client(path, "BOB", "bob-secret", number=0, hasher=HASHER)
    assert list(read_clients(path)) == ["ALICE"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClientsError, match="nowhere can't be used: No such file"):
        add_client(tmp_path / "nowhere" / "clients.toml", "ALICE", "alice-pass", hasher=HASHER)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[clients.ALICE]\nnumber = 1\n", "clients.ALICE.secret: Field required"),
        ("clients = 3\n", "clients: Input should be a valid dictionary"),
        ("[[[", "is not TOML"),
        (f'[clients.alice]\nnumber = 1\nsecret = "{HASH}"\n', 'must be written "ALICE"'),
        ('[clients.ALICE]\nnumber = 1\nsecret = "alice-pass"\n', "lockstep client add"),
        (f'[clients.A]\nnumber = 0\nsecret = "{HASH}"\n', "number"),
        (f'[clients.A]\nnumber = 1\nsecret = "{HASH}"\ncolour = 1\n', "colour"),
        (
            f'[clients.A]\nnumber = 1\nsecret = "{HASH}"\nself_trade_prevention = "on"\n',
            "'on' is none of off, cancel_newest, cancel_oldest, cancel_both",
        ),
        (
            f'[clients.A]\nnumber = 1\nsecret = "{HASH}"\n'
            f'[clients.B]\nnumber = 1\nsecret = "{HASH}"\n',
            'clients "A" and "B" both have number 1',
        ),
    ],
)
def test_a_file_that_is_not_sound_is_refused_with_the_place(
    path: Path, text: str, why: str
) -> None:
    path.write_text(text)
    with pytest.raises(ClientsError, match=str(path)) as refused:
        read_clients(path)
    assert why in str(refused.value)
    assert "alice-pass" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(ClientsError, match=rf"{path} can't be read: No such file"):
        read_clients(path)


def test_names_are_kept_in_capitals() -> None:
    assert client_name("alice1") == "ALICE1"


def test_new_secrets_are_fit_and_differ(path: Path) -> None:
    secrets = {new_secret() for _ in range(20)}
    assert len(secrets) == 20
    client = add_client(path, "ALICE", secrets.pop(), hasher=HASHER)
    assert isinstance(client, ClientSettings)


def test_many_clients_are_written_at_once_and_can_log_in(path: Path) -> None:
    secrets = {f"c{number}": f"secret{number}" for number in range(1, 1001)}
    clients.write_clients(path, secrets, QUICK_HASHER)
    written = read_clients(path)
    assert [*written] == [name.upper() for name in secrets]
    assert [client.number for client in written.values()] == [*range(1, 1001)]
    verifier = Verifier(path)  # which would hash at another cost itself
    found = verifier.verify("C1000", "secret1000")
    assert found == written["C1000"]
    assert verifier.verify("C1000", "secret1") is None
    assert add_client(path, "ALICE", "alice-pass", hasher=HASHER).number == 1001
    with pytest.raises(ClientsError, match="there is a clients file"):
        clients.write_clients(path, secrets, QUICK_HASHER)


@pytest.mark.parametrize(("name", "secret"), [("TOOLONG", "secret-1"), ("C1", "short")])
def test_clients_that_are_not_fit_are_not_written(path: Path, name: str, secret: str) -> None:
    with pytest.raises(ClientsError):
        clients.write_clients(path, {name: secret}, QUICK_HASHER)
    assert not path.exists()
