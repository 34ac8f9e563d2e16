"""The drills, all but the largest: what each does to the exchange, and how it is undone."""

import asyncio
import contextlib
import time
from typing import Any, ClassVar

from tools.child import ChildError
from tools.console import CommandError
from tools.drill import namespaces
from tools.drill.drill import Drill, Strike
from tools.drill.flow import SMALL_PAYLOAD_BYTES
from tools.drill.kill_all import KillAll
from tools.drill.servers import ApacheServers
from tools.drill.world import WITHIN_S, WatchedShard, World
from tools.drill.zookeeper import end_session
from tools.replicas import Status

_ZOOKEEPER_AWAY_S = 4.0  # longer than a session lives without a sign from its client


class KillPrimary(Drill):
    """Kill the primary (SIGKILL)."""

    name = "kill-primary"

    async def strike(
        self, world: World, shard: WatchedShard, primary: Status, number: int
    ) -> Strike:
        """Kill it, and wait until it is dead."""
        victim = primary["name"]
        at_ns = time.monotonic_ns()
        await world.exchange.kill(victim)
        return Strike(at_ns, victim, f"{victim}, the primary of epoch {primary['epoch']}, killed")


class PausePrimary(Drill):
    """Stop the primary (SIGSTOP), and wake it after the takeover (SIGCONT)."""

    name = "pause-primary"
    return_counts = True

    async def strike(
        self, world: World, shard: WatchedShard, primary: Status, number: int
    ) -> Strike:
        """Stop it in its tracks; its connections stay open."""
        victim = primary["name"]
        at_ns = time.monotonic_ns()
        world.exchange.pause(victim)
        return Strike(at_ns, victim, f"{victim}, the primary of epoch {primary['epoch']}, paused")

    async def mend(self, world: World, strike: Strike) -> str:
        """Let it go on, believing that it still leads."""
        world.exchange.unpause(strike.victim)
        return f"{strike.victim} wakes and has to find out that it was replaced"


class KillBackup(Drill):
    """Kill a backup."""

    name = "kill-backup"
    takeover = False
    stays_s = 1.0

    async def strike(
        self, world: World, shard: WatchedShard, primary: Status, number: int
    ) -> Strike:
        """Kill one of the backups."""
        backups = [name for name in shard.configuration.replicas if name != primary["name"]]
        return await _kill(world, world.random.choice(backups), "a backup")


class KillRetransmitter(Drill):
    """Kill a retransmitter."""

    name = "kill-retransmitter"
    takeover = False
    stays_s = 1.0

    async def strike(
        self, world: World, shard: WatchedShard, primary: Status, number: int
    ) -> Strike:
        """Kill one of the retransmitters."""
        retransmitters = list(shard.configuration.retransmitters)
        return await _kill(world, world.random.choice(retransmitters), "a retransmitter")


class KillGateway(Drill):
    """Kill a gateway; its clients go on at another."""

    name = "kill-gateway"
    takeover = False
    stays_s = 0.5

    async def strike(
        self, world: World, shard: WatchedShard, primary: Status, number: int
    ) -> Strike:
        """Kill them in turns: the clients of one gather at the next, which is killed next."""
        gateways = list(world.exchange.configuration.gateways)
        return await _kill(world, gateways[number % len(gateways)], "a gateway")

    async def mend(self, world: World, strike: Strike) -> str | None:
        """Start it, and wait until it has read the day."""
        told = await Drill.mend(self, world, strike)
        await world.until_gateway_serves(strike.victim)
        return told


class ExpireSession(Drill):
    """End the primary's ZooKeeper session while it is well."""

    name = "expire-session"
    takeover = None
    return_counts = True

    async def strike(
        self, world: World, shard: WatchedShard, primary: Status, number: int
    ) -> Strike:
        """Open a second session under the primary's own number, and close it."""
        victim = primary["name"]
        session = await world.exchange.ask(victim, {"request": "session"})
        hosts = world.exchange.configuration.zookeeper.hosts
        number_of_session = int(session["session_id"], 16)
        password = bytes.fromhex(session["password"])
        at_ns = await asyncio.to_thread(end_session, hosts, number_of_session, password)
        return Strike(at_ns, victim, f"the session of {victim}, the primary, ended")

    async def mend(self, world: World, strike: Strike) -> str:
        """The process is well and comes back by itself."""
        return f"{strike.victim} opens another session by itself"


class StopZooKeeper(Drill):
    """Stop every ZooKeeper server for some seconds; trading goes on."""

    name = "stop-zookeeper"
    stops_zookeeper = True
    takeover = False
    stays_s = _ZOOKEEPER_AWAY_S
    return_counts = True

    async def strike(
        self, world: World, shard: WatchedShard, primary: Status, number: int
    ) -> Strike:
        """Kill all servers."""
        at_ns = time.monotonic_ns()
        await world.servers.stop_all(world.exchange)
        return Strike(at_ns, "zookeeper", "every ZooKeeper server killed")

    async def mend(self, world: World, strike: Strike) -> str:
        """Start them again."""
        await world.servers.start_all(world.exchange)
        return "ZooKeeper has been started again"


class KillZooKeeperLeader(Drill):
    """Kill the leader of an ensemble of three."""

    name = "kill-zookeeper-leader"
    stops_zookeeper = True
    kills_a_leader = True
    takeover = False
    stays_s = 3.0  # the ensemble elects another within a second
    return_counts = True

    async def strike(
        self, world: World, shard: WatchedShard, primary: Status, number: int
    ) -> Strike:
        """Kill whichever server leads."""
        assert isinstance(world.servers, ApacheServers)
        leader = await world.servers.apache.leader()
        at_ns = time.monotonic_ns()
        world.servers.apache.kill(leader)
        return Strike(at_ns, str(leader), f"ZooKeeper's server {leader + 1}, its leader, killed")

    async def mend(self, world: World, strike: Strike) -> str:
        """Start it again."""
        assert isinstance(world.servers, ApacheServers)
        leader = int(strike.victim)
        await world.servers.apache.restart(leader)
        return f"ZooKeeper's server {leader + 1} has been started again"


class CutPrimary(Drill):
    """Cut the primary's host off the network, and connect it again; needs root."""

    name = "cut-primary"
    cuts_hosts = True
    one_shard = True  # a host for each replica of one
    stays_s = 1.0
    return_counts = True

    async def strike(
        self, world: World, shard: WatchedShard, primary: Status, number: int
    ) -> Strike:
        """Take its port of the bridge down."""
        assert world.network is not None
        victim = primary["name"]
        at_ns = time.monotonic_ns()
        namespaces.run(world.network.cutting(victim))
        return Strike(at_ns, victim, f"the host of {victim}, the primary, cut off")

    async def mend(self, world: World, strike: Strike) -> str:
        """Take the port up again."""
        assert world.network is not None
        namespaces.run(world.network.healing(strike.victim))
        return f"the host of {strike.victim} connected again: it has to step down by itself"


class KillInGroup(Drill):
    """Let the primary die between two packets of one group."""

    name = "kill-in-group"
    sweeps = True
    feed_options: ClassVar[dict[str, Any]] = {"payload_limit_bytes": SMALL_PAYLOAD_BYTES}

    async def strike(
        self, world: World, shard: WatchedShard, primary: Status, number: int
    ) -> Strike:
        """Tell it to die after the first packet of the next group that spans packets."""
        victim = primary["name"]
        child = world.exchange.children[victim]
        await world.exchange.ask(victim, {"request": "die-in-group"})
        try:
            async with asyncio.timeout(WITHIN_S):
                with contextlib.suppress(ChildError):
                    await child.watch()
        except TimeoutError as error:
            raise CommandError(f"{victim} did not die: no group spanned packets") from error
        await world.exchange.kill(victim)  # it is dead; the exchange is to know that we know
        # The system takes a while to bury a process; it was last heard of when it died.
        at_ns = shard.witness.heard_ns[primary["epoch"]]
        return Strike(at_ns, victim, f"{victim}, the primary, died between two packets of a group")


class RollingRestart(Drill):
    """Restart each process of a shard, and the gateways, in turn, as for a new version."""

    name = "rolling-restart"
    return_counts = True

    async def strike(
        self, world: World, shard: WatchedShard, primary: Status, number: int
    ) -> Strike:
        """Restart the others one by one, each when all is whole again; then stop the primary."""
        exchange = world.exchange
        since_ns = time.monotonic_ns()
        victim = primary["name"]
        configuration = shard.configuration
        backups = [name for name in configuration.replicas if name != victim]
        for name in (*configuration.retransmitters, *backups):
            await world.restart(name)
            await world.until_whole()
        for name in configuration.gateways:
            await world.restart(name)
            await world.until_gateway_serves(name)
            await world.until_whole()
        now_leads = (await world.until_whole())[shard.number]["name"]
        if now_leads != victim:  # the restarts have made somebody suspect the primary
            await world.restart(victim)
            victim = (await world.until_whole())[shard.number]["name"]
        at_ns = time.monotonic_ns()
        await exchange.finish(victim)
        what = f"{victim}, the primary, stopped, after each of the others was restarted"
        return Strike(at_ns, victim, what, since_ns)


DRILLS: tuple[type[Drill], ...] = (
    KillPrimary,
    PausePrimary,
    KillBackup,
    KillRetransmitter,
    KillGateway,
    ExpireSession,
    StopZooKeeper,
    KillZooKeeperLeader,
    CutPrimary,
    KillInGroup,
    RollingRestart,
    KillAll,
)


async def _kill(world: World, victim: str, what: str) -> Strike:
    at_ns = time.monotonic_ns()
    await world.exchange.kill(victim)
    return Strike(at_ns, victim, f"{victim}, {what}, killed")
