"""Whose secrets a gateway looks at, and how many at a time."""

from random import Random

from gateway.clients import ClientSettings
from gateway.closing import ClosingReason
from gateway.gateway import Gateway, Verification
from gateway.secret_checks import SecretChecks
from gateway.session import Session
from gateway.settings import GatewaySettings
from gateway.soup import LoginRequest
from zk.directory import Directory

STRANGERS = 5


class Door:
    """A gateway that two secrets at a time are looked at for."""

    def __init__(self) -> None:
        settings = GatewaySettings.model_validate(
            {
                "listen": "127.0.0.1:0",
                "clients": "clients.toml",
                "connections": {"strangers": STRANGERS, "strangers_per_host": STRANGERS},
            }
        )
        self.gateway = Gateway("DEMO", settings, Random(1), lambda: 0, Directory.alone(1))
        self.checks = SecretChecks(self.gateway, parallel=2)

    def knock(self, name: str) -> Session:
        """Somebody asks to be let in."""
        session = self.gateway.connect("10.0.0.1", 0)
        self.gateway.on_data(session, LoginRequest(name, "secret", "", 1).encode(), 0)
        return session

    def begun(self) -> list[Verification]:
        return self.checks.take(0)


def names(verifications: list[Verification]) -> list[str]:
    return [verification.name for verification in verifications]


def test_secrets_are_looked_at_in_turn_so_many_at_a_time() -> None:
    door = Door()
    for name in ("A", "B", "C", "D"):
        door.knock(name)
    first = door.begun()
    assert (names(first), door.begun()) == (["A", "B"], [])
    door.checks.on_checked(first[1], None, 0)
    (third,) = door.begun()
    assert third.name == "C"
    door.checks.on_failed(first[0], 0)
    (fourth,) = door.begun()
    assert (fourth.name, door.begun()) == ("D", [])


def test_what_comes_of_a_check_is_told_to_its_session() -> None:
    door = Door()
    sessions = [door.knock("A"), door.knock("B")]
    known, unknown = door.begun()
    hashed = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$Nb38aP7G8AMTYRyDWZYzAA"
    door.checks.on_checked(known, ClientSettings(number=1, secret=hashed), 0)
    door.checks.on_checked(unknown, None, 0)
    assert [session.closing for session in sessions] == [None, ClosingReason.NOT_AUTHORISED]
    assert door.gateway.pending_count == 1
    unlucky = door.knock("C")
    (failing,) = door.begun()
    door.checks.on_failed(failing, 0)
    assert unlucky.closing is ClosingReason.SECRET_NOT_CHECKED


def test_a_secret_that_nobody_waits_for_any_more_is_not_looked_at_and_makes_room() -> None:
    door = Door()
    for name in ("A", "B"):
        door.knock(name)
    begun = door.begun()
    for _ in range(3):  # the strangers that there may be, again and again
        gone = [door.knock(name) for name in ("C", "D", "E")]
        assert [session.closing for session in gone] == [None] * 3, "there is no room"
        assert door.begun() == []
        for session in gone:
            door.gateway.on_disconnected(session, 0)
        door.checks.on_failed(begun.pop(0), 0)
        door.knock("F")
        begun += door.begun()
        assert begun[-1].name == "F"
