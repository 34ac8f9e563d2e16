"""When an exchange is whole again, by what its replicas say; and how its shards are told apart."""

from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from engine.control import ControlError
from tools.drill.endings import differences
from tools.drill.run import endings
from tools.drill.world import WatchedShard, World, whole

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


def test_shards_are_struck_in_turns() -> None:
    shards: list[Any] = [SimpleNamespace(number=1), SimpleNamespace(number=2)]
    nothing: Any = None
    world = World(nothing, nothing, nothing, shards, Random(), nothing)
    assert [world.shard_of_round(number).number for number in (1, 2, 3, 4)] == [1, 2, 1, 2]


@pytest.mark.parametrize("told", ["one", "several"])
def test_a_gateways_word_on_a_shard_is_held_against_its_witness(told: str) -> None:
    digests = {"list_digest": "l", "book_digest": "b", "state_digest": "s"}
    configuration = SimpleNamespace(replicas=["e4"], gateways=["g1"], retransmitters=["r3"])
    witness = SimpleNamespace(sequence=9, list_digest="l", book_digest="b")
    shard: Any = WatchedShard(2, configuration, witness, None)  # type: ignore[arg-type]
    here = {"sequence": 9, "list_digest": "l"}
    elsewhere = {"sequence": 5, "list_digest": "z"}
    gateway = here if told == "one" else {"shards": {"1": elsewhere, "2": here}}
    summaries = {"g1": gateway, "r3": {"next_sequence": 10, "list_digest": "l"}}
    own, others = endings(shard, {"e4": {"sequence": 9, **digests}}, summaries)
    assert [each.name for each in others] == ["e4", "g1", "r3"]
    assert differences(own, others) == []
    here["sequence"] = 8
    own, others = endings(shard, {"e4": {"sequence": 9, **digests}}, summaries)
    assert differences(own, others) == [
        "g1 ended at sequence number 8, the subscriber at 9",
    ]
