"""What the configuration says of failover and of holders, and what it may not say."""

import pytest
from pydantic import ValidationError

from feed.settings import Address, FailoverSettings, FeedSettings, HolderSettings, ShardSettings

PORTS = {"repair": "127.0.0.1:4001", "replication": "127.0.0.1:4002"}


def test_by_default_a_primary_may_lose_a_heartbeat_before_anybody_suspects_it() -> None:
    settings = FailoverSettings()
    assert settings.suspicion_time_ms >= 2 * settings.heartbeat_interval_ms


@pytest.mark.parametrize(
    ("heartbeat_ms", "suspicion_ms", "works"),
    [(1, 2, True), (1, 1, False), (5, 10, True), (5, 9, False), (100, 30, False)],
)
def test_a_suspicion_time_in_which_one_lost_heartbeat_looks_like_a_death_is_refused(
    heartbeat_ms: int, suspicion_ms: int, works: bool
) -> None:
    fields = {"heartbeat_interval_ms": heartbeat_ms, "suspicion_time_ms": suspicion_ms}
    if works:
        assert FailoverSettings(**fields).suspicion_time_ms == suspicion_ms
    else:
        with pytest.raises(ValidationError, match="suspicion_time_ms"):
            FailoverSettings(**fields)


@pytest.mark.parametrize(
    "fields", [{"heartbeat_interval_ms": 0}, {"window_frames": 15}, {"suspicion_ms": 30}]
)
def test_failover_settings_that_cannot_work_or_are_unknown_are_refused(
    fields: dict[str, int],
) -> None:
    with pytest.raises(ValidationError):
        FailoverSettings(**fields)


def test_a_holder_has_two_ports_and_for_unicast_an_address_of_its_own() -> None:
    settings = HolderSettings.model_validate(PORTS)
    assert settings.repair == Address("127.0.0.1", 4001)
    assert settings.replication == Address("127.0.0.1", 4002)
    assert settings.receive is None
    own = HolderSettings.model_validate({**PORTS, "receive": "127.0.0.1:4003"})
    assert own.receive == Address("127.0.0.1", 4003)


@pytest.mark.parametrize(
    "changes",
    [
        {"replication": None},
        {"repair": "4001"},
        {"cache_bytes": (1 << 20) - 1},
        {"commands": "127.0.0.1:4004"},  # a replica has that, not every holder
    ],
)
def test_a_holder_without_what_it_needs_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        HolderSettings.model_validate({**PORTS, **changes})


def test_the_holders_of_a_shard_are_its_replicas_and_its_retransmitters() -> None:
    e1, e2, r1 = (
        HolderSettings(
            repair=Address("127.0.0.1", port), replication=Address("127.0.0.1", port + 1)
        )
        for port in (4001, 4003, 4005)
    )
    shard = ShardSettings(FeedSettings(), FailoverSettings(), {"e1": e1, "e2": e2}, {"r1": r1})
    assert shard.holders == {"e1": e1, "e2": e2, "r1": r1}
