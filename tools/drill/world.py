"""What a drill acts on: the exchange, its ZooKeeper, the clients, and who watches; how to wait."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from engine.control import ControlError
from gateway.client import Client
from gateway.client_errors import ClientError
from tools.configuration import Configuration
from tools.console import CommandError
from tools.drill.namespaces import Network
from tools.drill.servers import Servers
from tools.drill.trader import Traders
from tools.drill.witness import Witness
from tools.drill.zookeeper import SuspicionWatcher
from tools.processes import Exchange
from tools.replicas import Status, Statuses, find_primary

PROBE = "PROBE"  # the client that tries whether a gateway serves
# A replica that comes back fetches the whole list and applies it; what else there is to wait for
# takes milliseconds. On a busy machine both take many times as long.
WITHIN_S = 120.0
_LOOK_AGAIN_AFTER_S = 0.002
# Rarely enough that asking does not keep the replicas from their work: a status has digests in it.
_ASK_AGAIN_AFTER_S = 0.2
# A holder that comes back is known to ZooKeeper a moment before the primary knows that it has
# forgotten everything; so one look is not enough.
_LOOKS = 2
_LAG_FRAMES = 1_000  # acknowledgements of what is under way; somebody who is gone lags further


@dataclass(frozen=True, slots=True)
class WatchedShard:
    """A shard of the exchange, and who watches it."""

    number: int
    configuration: Configuration  # as if it were the only one
    witness: Witness
    watcher: SuspicionWatcher

    def journals(self) -> list[Path]:
        """The folders of its holders' journals."""
        settings = self.configuration.shard_settings()
        assert settings.journal is not None, "nobody keeps a journal here"
        return [settings.journal.folder_of(self.number, name) for name in settings.holders]


@dataclass(frozen=True, slots=True)
class World:
    """One exchange under a drill."""

    exchange: Exchange
    servers: Servers
    traders: Traders
    shards: Sequence[WatchedShard]
    random: Random
    network: Network | None
    restarts_ns: dict[str, int] = field(default_factory=dict)  # by the wall clock, the last ones

    def shard_of_round(self, number: int) -> WatchedShard:
        """The shard that is struck in a round: they take turns."""
        return self.shards[(number - 1) % len(self.shards)]

    async def restart(self, *names: str) -> None:
        """Start processes anew, all at once, and wait until they say that they are ready."""
        self.restarts_ns.update(dict.fromkeys(names, time.time_ns()))
        await self.exchange.restart(*names)

    def journals(self) -> list[Path]:
        """The folders of all holders' journals."""
        return [folder for shard in self.shards for folder in shard.journals()]

    async def until(
        self, what: str, condition: Callable[[], bool], within_s: float = WITHIN_S
    ) -> None:
        """Wait for a condition that this process can see by itself.

        Raises CommandError when it takes too long, a client can't go on, the feed is lost, or a
        process has ended that nobody killed.
        """
        deadline = time.monotonic() + within_s
        async with self.watched() as check:
            while not condition():
                if time.monotonic() > deadline:
                    raise CommandError(f"{what} did not come about within {within_s:.0f} s")
                check()
                await asyncio.sleep(_LOOK_AGAIN_AFTER_S)
        for shard in self.shards:
            await shard.witness.check()

    async def until_whole(self) -> dict[int, Status]:
        """Wait until every process runs and does its part; the primaries' statuses, by shard.

        Raises CommandError, as `until` does.
        """
        deadline = time.monotonic() + WITHIN_S
        primaries: dict[int, Status] = {}
        async with self.watched() as check:
            for shard in self.shards:
                primaries[shard.number] = await self._until_whole(shard, deadline, check)
        await self.until("every client's log-in", lambda: self.traders.are_connected)
        return primaries

    async def _until_whole(
        self, shard: WatchedShard, deadline: float, check: Callable[[], None]
    ) -> Status:
        """Wait until every process that a shard needs does its part there; its primary's status."""
        looks = 0
        while True:
            statuses = await self.exchange.statuses(shard=shard.number)
            primary = whole(statuses, _members(shard.configuration), self.restarts_ns)
            looks = 0 if primary is None else looks + 1
            if primary is not None and looks == _LOOKS:
                return primary
            if time.monotonic() > deadline:
                raise CommandError(
                    f"shard {shard.number} is not whole after {WITHIN_S:.0f} s: "
                    f"{_describe(statuses)}"
                )
            check()
            await asyncio.sleep(_ASK_AGAIN_AFTER_S)

    async def until_gateway_serves(self, name: str) -> None:
        """Wait until clients can log in at a gateway: it has read the whole list by then."""
        exchange = self.exchange
        address = exchange.configuration.gateways[name].listen
        secret = exchange.secrets[PROBE]
        deadline = time.monotonic() + WITHIN_S
        while True:
            try:
                async with Client(address, PROBE, secret, next_sequence=0):
                    return
            except ClientError as error:
                if time.monotonic() > deadline:
                    raise CommandError(f"gateway {name} lets nobody in: {error}") from error

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Callable[[], None]]:
        """Gives what raises when a client can't go on or a process has ended by itself."""
        watching = asyncio.ensure_future(self.exchange.watch())

        def check() -> None:
            self.traders.check()
            if watching.done():
                watching.result()

        try:
            yield check
        finally:
            watching.cancel()


def _members(configuration: Configuration) -> list[str]:
    """Who should be there."""
    holders = (*configuration.replicas, *configuration.retransmitters)
    return [*holders, *configuration.gateways]


def whole(
    statuses: Statuses, members: Sequence[str], restarts_ns: Mapping[str, int]
) -> Status | None:
    """The primary's status when nothing is wrong with anybody; None otherwise.

    Of those who were started anew, the life before does not count: a dead process's node stays in
    ZooKeeper for a while, and so does what it has acknowledged.
    """
    known: dict[str, Status] = {}
    for name, status in statuses.items():
        if isinstance(status, ControlError) or status["zookeeper"] != "connected":
            return None
        known[name] = status
    primary = find_primary(statuses)
    if primary is None:
        return None
    for name, status in known.items():
        expected = "primary" if name == primary["name"] else "backup"
        if (status["state"], status["epoch"]) != (expected, primary["epoch"]):
            return None
    present = primary["members"]
    for name in members:
        if name not in present or present[name]["started_ns"] < restarts_ns.get(name, 0):
            return None
    return primary if all(map(partial(_keeps_up, primary), primary["holders"].values())) else None


def _keeps_up(primary: Status, holder: Mapping[str, Any]) -> bool:
    """Whether a holder votes, and has acknowledged nearly all that there is."""
    return bool(holder["vote"]) and primary["sequence"] - holder["sequence"] <= _LAG_FRAMES


def _describe(statuses: Statuses) -> str:
    """What each replica says, and who does not keep up."""
    told = []
    for name, status in statuses.items():
        if isinstance(status, ControlError):
            told.append(f"{name} does not answer")
            continue
        words = f"{name} is {status['state']} in epoch {status['epoch']}"
        if status["zookeeper"] != "connected":
            words += f", ZooKeeper {status['zookeeper']}"
        for holder, standing in (status["holders"] or {}).items():
            if not _keeps_up(status, standing):
                words += f", {holder} has acknowledged {standing['sequence']} of its "
                words += f"{status['sequence']} frames"
        told.append(words)
    return "; ".join(told)
