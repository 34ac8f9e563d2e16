"""What the commands that run one process hand to it, for one shard and for several."""

from pathlib import Path
from typing import Any

import pytest

import engine.process
import gateway.process
import retransmitter.process
from gateway.shard_feed import ShardSources
from tests.tools.test_configuration import ONE_OF_EACH, write
from tests.tools.test_configuration_shards import TWO_SHARDS, UNICAST
from tools import roles
from tools.configuration import Configuration
from tools.console import UsageError

ALONE = ONE_OF_EACH.replace('tls_certificate = "/etc/lockstep/certificate.pem"\n', "").replace(
    'tls_key = "key.pem"\n', ""
)


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The arguments of every process that was run."""
    calls: list[tuple[Any, ...]] = []

    async def run(*arguments: Any) -> dict[str, Any]:
        calls.append(arguments)
        return {}

    for module in (engine.process, retransmitter.process, gateway.process):
        monkeypatch.setattr(module, "run", run)
    return calls


def test_gateway_of_one_shard_knows_no_directory(
    tmp_path: Path, handed: list[tuple[Any, ...]]
) -> None:
    path = write(tmp_path, ALONE)
    roles.run_gateway(path, "g1")
    settings = Configuration.load(path)
    (name, exchange, shards, zookeeper, section, _, _, faults, reload, first_directory) = handed[0]
    assert (name, exchange, zookeeper) == ("g1", "TEST", settings.zookeeper)
    assert section == settings.gateways["g1"]
    replica, retransmitter = settings.replicas["e1"].repair, settings.retransmitters["r1"].repair
    assert shards == {
        1: ShardSources(settings.feed, (retransmitter,), [replica], [replica, retransmitter], None)
    }
    assert (faults, reload, first_directory) == (None, None, None)


def test_gateway_of_several_shards_has_the_sources_of_each_and_may_look_for_more(
    tmp_path: Path, handed: list[tuple[Any, ...]]
) -> None:
    path = write(tmp_path, UNICAST)
    roles.run_gateway(path, "g1")
    settings = Configuration.load(path)
    _, _, shards, _, _, _, _, _, reload, first_directory = handed[0]
    assert list(shards) == [1, 2]
    assert shards[1].receive == settings.gateways["g1"].shard_receive[1]
    assert shards[2].receive is None
    e1, r1 = (settings.by_shard()[1].shard_settings().holders[each].repair for each in ("e1", "r1"))
    assert (shards[1].retransmitters, shards[1].replicas) == ((r1,), [e1])
    assert shards[1].holders == [e1, r1]
    assert shards[2].retransmitters == (settings.all_replicas()["e2"].repair,)
    assert [each.feed.shard for each in shards.values()] == [1, 2]
    assert first_directory == settings.first_directory()
    assert reload() == shards
    third = TWO_SHARDS[TWO_SHARDS.index("[shards.2") : TWO_SHARDS.index("[gateways")]
    third = third.replace("shards.2", "shards.3").replace("e2", "e3").replace("302", "304")
    write(tmp_path, TWO_SHARDS + third.replace("76.84", "76.85"))
    assert list(reload()) == [1, 2, 3]
    write(tmp_path, TWO_SHARDS.replace("[gateways.g1]", "[gateways.g2]"))
    with pytest.raises(UsageError, match=r"--name g1: no section \[gateways.g1\]"):
        reload()


def test_holders_have_what_their_own_shard_shares(
    tmp_path: Path, handed: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    async def find_listings(configuration: Configuration, shard: int, stop: Any) -> list[Any]:
        asked.append(shard)
        return list(configuration.instruments[shard - 1 : shard])

    monkeypatch.setattr(roles, "find_listings", find_listings)
    path = write(tmp_path, TWO_SHARDS)
    roles.run_replica(path, "e2")
    roles.run_retransmitter(path, "r1")
    settings = Configuration.load(path)
    first, second = settings.by_shard().values()
    assert handed[0][2] == second.shard_settings()
    assert handed[0][4] == settings.all_replicas()["e2"]
    assert [each.symbol for each in handed[0][5]] == ["MSFT"]
    assert handed[1][2] == first.shard_settings()
    assert handed[1][4] == settings.all_retransmitters()["r1"]
    assert asked == [2]


def test_replica_that_was_stopped_before_it_knew_its_instruments_does_not_run(
    tmp_path: Path,
    handed: list[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def find_listings(*arguments: Any) -> None:
        return None

    monkeypatch.setattr(roles, "find_listings", find_listings)
    roles.run_replica(write(tmp_path, TWO_SHARDS), "e2", as_json=True)
    assert handed == []
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == '{"role": "replica", "name": "e2", "shard": 2}'


@pytest.mark.parametrize(
    ("text", "role", "message"),
    [
        (ALONE, "replica", r"--name x: no section \[replicas.x\] \(there is: e1\)"),
        (TWO_SHARDS, "replica", r"no section \[shards.N.replicas.x\] \(there is: e1, e2\)"),
        (TWO_SHARDS, "retransmitter", r"no section \[shards.N.retransmitters.x\] .*: r1\)"),
        (TWO_SHARDS, "gateway", r"no section \[gateways.x\] \(there is: g1\)"),
    ],
)
def test_unknown_name_is_told_with_the_section_that_it_lacks(
    tmp_path: Path, text: str, role: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        getattr(roles, f"run_{role}")(write(tmp_path, text), "x")
