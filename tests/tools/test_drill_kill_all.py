"""When a shard whose journals were allowed to forget counts as stopped."""

import inspect
from typing import Any

import pytest

from engine import replica
from engine.control import ControlError
from feed.settings import SyncPolicy
from tests.tools.replica_statuses import status
from tools.drill.kill_all import STOPS, KillAll, standstill

WHY = "too few holders that remember: the shard stops until more of them are back epoch=3"
LEADERLESS: dict[str, Any] = {
    "e1": status("e1", state="candidate"),
    "e2": status("e2", state="returning"),
}


def test_shard_has_stopped_when_nobody_leads_and_somebody_says_why() -> None:
    assert standstill(LEADERLESS, [None, WHY]) == WHY


@pytest.mark.parametrize("complaints", [[], [None, None], ["nothing more is stored"]])
def test_shard_that_does_not_say_why_has_not_stopped(complaints: list[str | None]) -> None:
    assert standstill(LEADERLESS, complaints) is None


def test_shard_with_a_primary_has_not_stopped() -> None:
    assert standstill({**LEADERLESS, "e1": status("e1", state="primary")}, [WHY]) is None


def test_shard_may_go_on_while_a_replica_is_not_there_yet() -> None:
    assert standstill({**LEADERLESS, "e3": ControlError("no answer")}, [WHY]) is None


def test_complaints_begin_as_a_candidate_writes_them() -> None:
    source = inspect.getsource(replica)
    for words in STOPS:
        assert f'"{words}' in source


@pytest.mark.parametrize(
    ("drill", "may_forget"),
    [
        (KillAll(), False),
        (KillAll(SyncPolicy.NEVER), False),  # the operating system has what was written
        (KillAll(SyncPolicy.GROUP, power_cut=True), False),
        (KillAll(SyncPolicy.INTERVAL, power_cut=True), True),
        (KillAll(SyncPolicy.NEVER, power_cut=True), True),
    ],
)
def test_only_a_power_cut_under_a_lax_policy_may_stop_a_shard(
    drill: KillAll, may_forget: bool
) -> None:
    assert drill.may_stop == may_forget
    assert drill.journal is not None
