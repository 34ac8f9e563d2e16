"""When an exchange is whole again, by what its replicas say."""

from typing import Any

import pytest

from engine.control import ControlError
from tools.drill.world import whole

MEMBERS = ("e1", "e2", "r1", "g1")
STARTED_NS = 1_000


def statuses() -> dict[str, Any]:
    """Everything as it should be, with e1 as the primary."""
    return {
        "e1": {
            "name": "e1",
            "state": "primary",
            "epoch": 3,
            "sequence": 5_000,
            "zookeeper": "connected",
            "members": {name: {"started_ns": STARTED_NS} for name in MEMBERS},
            "holders": {name: {"sequence": 4_990, "vote": True} for name in ("e1", "e2", "r1")},
        },
        "e2": {"name": "e2", "state": "backup", "epoch": 3, "zookeeper": "connected"},
    }


def test_exchange_is_whole_when_everybody_does_their_part() -> None:
    told = statuses()
    assert whole(told, MEMBERS, {}) == told["e1"]
    assert whole(told, MEMBERS, {"r1": STARTED_NS - 1}) == told["e1"]


@pytest.mark.parametrize(
    ("replica", "key", "value"),
    [
        ("e2", "state", "returning"),
        ("e2", "state", "diverged"),
        ("e2", "epoch", 2),
        ("e2", "zookeeper", "suspended"),
        ("e1", "zookeeper", "suspended"),
        ("e1", "state", "candidate"),
        ("e1", "members", {"e1": {"started_ns": STARTED_NS}, "e2": {"started_ns": STARTED_NS}}),
    ],
)
def test_exchange_is_not_whole_while_somebody_is_amiss(
    replica: str, key: str, value: object
) -> None:
    told = statuses()
    told[replica][key] = value
    assert whole(told, MEMBERS, {}) is None


@pytest.mark.parametrize("standing", [{"vote": False}, {"sequence": 3_000}])
def test_exchange_is_not_whole_while_a_holder_does_not_keep_up(standing: dict[str, Any]) -> None:
    told = statuses()
    told["e1"]["holders"]["r1"].update(standing)
    assert whole(told, MEMBERS, {}) is None


def test_exchange_is_not_whole_while_a_replica_does_not_answer() -> None:
    assert whole({**statuses(), "e2": ControlError("no answer")}, MEMBERS, {}) is None


def test_what_is_left_of_the_life_before_a_restart_does_not_count() -> None:
    assert whole(statuses(), MEMBERS, {"g1": STARTED_NS + 1}) is None
