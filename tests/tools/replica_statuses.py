"""What replicas say of themselves, made up for tests, and control ports that say it."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from engine.control import ControlServer
from engine.settings import InstrumentSettings, ReplicaSettings
from retransmitter.settings import RetransmitterSettings
from tools.configuration import Configuration
from tools.layout import Layout
from tools.ports import free_addresses
from zk.settings import ZooKeeperSettings

HOLDERS = ("e1", "e2", "e3", "r1")
MEMBERS: dict[str, dict[str, Any]] = {
    name: {"role": {"e": "replica", "r": "retransmitter", "g": "gateway"}[name[0]]}
    for name in (*HOLDERS, "g1")
}


def status(name: str, **changes: Any) -> dict[str, Any]:
    """A backup's word; with `state="primary"` a primary's, whom all holders follow."""
    told: dict[str, Any] = {
        "role": "replica",
        "name": name,
        "shard": 1,
        "state": "backup",
        "machine": "kernel",
        "epoch": 3,
        "primary": "e1",
        "sequence": 120,
        "committed_sequence": 120,
        "commands": 100,
        "frames": 120,
        "trades": 20,
        "live_orders": 40,
        "book_digest": "book",
        "state_digest": "state",
        "list_digest": "list",
        "divergence": None,
        "zookeeper": "connected",
        "members": MEMBERS,
        **changes,
    }
    if told["state"] == "primary":
        told.setdefault(
            "holders", {each: {"sequence": told["sequence"], "vote": True} for each in HOLDERS}
        )
    return told


def configuration_of(*replicas: str, **others: Any) -> Configuration:
    """An exchange of these replicas and a retransmitter r1 on free ports; `others` may override."""
    addresses = iter(free_addresses(4 * len(replicas) + 2))
    sections = {
        "exchange": "TEST",
        "instruments": (InstrumentSettings(symbol="AAPL"),),
        "replicas": {
            name: ReplicaSettings(
                repair=next(addresses),
                replication=next(addresses),
                commands=next(addresses),
                control=next(addresses),
            )
            for name in replicas
        },
        "retransmitters": {
            "r1": RetransmitterSettings(repair=next(addresses), replication=next(addresses))
        },
    }
    return Configuration(**{**sections, **others})


def shards_of(count: int) -> Configuration:
    """An exchange of several shards on free ports, each with a replica; AAPL is in shard 1."""
    layout = Layout([f"e{i + 1}" for i in range(count)], [], ["g1"], shards=count)
    symbols = [InstrumentSettings(symbol=name) for name in ("AAPL", "MSFT", "NVDA")]
    zookeeper = ZooKeeperSettings()
    configuration, _ = layout.configuration("TEST", symbols, zookeeper, Path("clients.toml"))
    return configuration


@contextlib.asynccontextmanager
async def control_ports(
    configuration: Configuration, answers: Mapping[str, dict[str, Any]]
) -> AsyncIterator[dict[str, list[Mapping[str, Any]]]]:
    """Let replicas give these answers to whatever they are asked; what each was asked so far."""
    asked: dict[str, list[Mapping[str, Any]]] = {name: [] for name in answers}

    def serve(name: str) -> ControlServer:
        def handle(request: Mapping[str, Any]) -> dict[str, Any]:
            asked[name].append(request)
            if request["request"] != "status":
                return {"done by": name, **request}
            return answers[name]

        return ControlServer(handle)

    servers = {name: serve(name) for name in answers}
    try:
        for name, server in servers.items():
            await server.start(configuration.all_replicas()[name].control)
        yield asked
    finally:
        for server in servers.values():
            await server.stop()
