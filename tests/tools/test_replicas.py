"""Asking all replicas at once, and who leads by their answers."""

import asyncio
import socket
import time
from pathlib import Path

import pytest

from engine.control import ControlError
from engine.settings import InstrumentSettings
from tests.tools.replica_statuses import configuration_of, control_ports, status
from tools import replicas
from tools.console import CommandError, UsageError
from tools.layout import Layout
from tools.replicas import (
    all_follow,
    ask_replica,
    ask_replicas,
    describe,
    find_primary,
    primary_status,
    status_request,
)
from zk.settings import ZooKeeperSettings


def test_every_replica_is_asked_and_one_that_is_not_there_is_told() -> None:
    configuration = configuration_of("e1", "e2")

    async def situation() -> None:
        async with control_ports(configuration, {"e1": status("e1")}):
            answers = await ask_replicas(configuration)
        assert answers["e1"] == status("e1")
        assert isinstance(answers["e2"], ControlError)
        assert str(configuration.replicas["e2"].control) in str(answers["e2"])

    asyncio.run(situation())


def test_of_several_shards_it_is_to_be_said_which_one_is_asked() -> None:
    layout = Layout(["e1", "e2"], [], [], shards=2)
    symbols = [InstrumentSettings(symbol="AAPL")]
    whole, _ = layout.configuration("TEST", symbols, ZooKeeperSettings(), Path("clients.toml"))

    async def situation() -> None:
        views = whole.by_shard()
        async with control_ports(views[2], {"e2": status("e2", state="primary", shard=2)}):
            assert list(await ask_replicas(views[1])) == ["e1"]
            assert (await primary_status(views[2]))["name"] == "e2"
            request = status_request(digests=False)
            assert (await ask_replica(whole, "e2", request))["shard"] == 2  # it has but one
        with pytest.raises(UsageError, match="say which one"):
            await ask_replicas(whole)

    asyncio.run(situation())


def test_replicas_that_accept_and_say_nothing_are_waited_for_once_and_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replicas, "ANSWER_WITHIN_S", 0.2)
    configuration = configuration_of("e1", "e2", "e3")
    silent = [socket.create_server(each.control) for each in configuration.replicas.values()]
    begin = time.monotonic()
    answers = asyncio.run(ask_replicas(configuration))
    for each in silent:
        each.close()
    assert all(isinstance(answer, ControlError) for answer in answers.values())
    assert 0.2 <= time.monotonic() - begin < 0.5
    assert "no answer from e2" in str(answers["e2"])


def test_primary_is_the_one_of_the_latest_epoch() -> None:
    old = status("e1", state="primary", epoch=3)
    new = status("e2", state="primary", epoch=4)
    assert find_primary({"e1": old, "e2": new, "e3": status("e3")}) is new
    assert find_primary({"e1": status("e1"), "e2": ControlError("gone")}) is None


def test_without_a_primary_the_error_says_what_each_replica_is() -> None:
    configuration = configuration_of("e1", "e2")

    async def situation() -> None:
        async with control_ports(configuration, {"e1": status("e1", state="candidate")}):
            await primary_status(configuration)

    with pytest.raises(CommandError, match=r"^no replica is primary \(e1: candidate; e2: no answ"):
        asyncio.run(situation())


@pytest.mark.parametrize(
    ("changes", "follow"),
    [
        ({}, True),
        ({"committed_sequence": 119}, False),
        ({"sequence": 0, "committed_sequence": 0}, False),
        ({"holders": {"e1": {"sequence": 0}, "e2": {"sequence": 120}}}, True),
        ({"holders": {"e1": {"sequence": 120}, "e2": {"sequence": 119}}}, False),
        ({"state": "candidate"}, False),
    ],
)
def test_all_follow_when_each_other_holder_has_the_whole_committed_list(
    changes: dict[str, object], follow: bool
) -> None:
    primary = status("e1", **{"state": "primary", **changes})
    assert all_follow({"e1": primary}) == (primary if follow else None)


def test_description_tells_how_far_everybody_is() -> None:
    holders = {"e1": {"sequence": 120}, "e2": {"sequence": 7}, "r1": {"sequence": 0}}
    statuses = {"e1": status("e1", state="primary", committed_sequence=7, holders=holders)}
    assert describe(statuses) == (
        "e1 is primary in epoch 3, at 120, committed up to 7; acknowledged: e2 7, r1 0"
    )
