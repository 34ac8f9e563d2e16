"""Replicas' processes with files: they come back, from their own disk or another's snapshot."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from engine.process import ReplicaProcess
from engine.replica import State
from engine.settings import InstrumentSettings, ReplicaSettings
from feed.datagrams import Submission, encode_submission
from feed.journal import JournalError
from feed.messages import LogIn, SelfTradePrevention
from feed.settings import FailoverSettings, FeedSettings, JournalSettings, ShardSettings, SyncPolicy
from feed.vote import Vote
from tests.engine.test_process import ANY, LOGIN, ORDER
from tools.ports import free_addresses, free_group
from zk.embedded import EmbeddedServer
from zk.settings import ZooKeeperSettings

NAMES = ("e1", "e2", "e3")
ORDERS = 2_500  # more than two snapshots' worth


class Hall:
    """A shard of three replicas that all run in this process."""

    def __init__(self, folder: Path, zookeeper: ZooKeeperSettings) -> None:
        feed, *addresses = free_addresses(1 + 4 * len(NAMES))
        ports = iter(addresses)
        self.journal = JournalSettings(
            folder=folder, sync=SyncPolicy.GROUP, snapshot_frames=1_000, snapshots=2
        )
        self.settings = {
            name: ReplicaSettings(
                commands=next(ports),
                control=next(ports),
                repair=next(ports),
                replication=next(ports),
            )
            for name in NAMES
        }
        self.shard = ShardSettings(
            FeedSettings(group=free_group(), port=feed.port),
            FailoverSettings(suspicion_time_ms=1_000),
            self.settings,
            {},
            self.journal,
        )
        self.processes: dict[str, ReplicaProcess] = {}
        self._zookeeper = zookeeper
        self._running: dict[str, tuple[asyncio.Event, asyncio.Task[None]]] = {}

    def start(self, name: str) -> None:
        """Start a replica."""
        instrument = InstrumentSettings(symbol="ACME", short_sale=False)
        process = self.processes[name] = ReplicaProcess(
            name, "DEMO", self.shard, self._zookeeper, self.settings[name], [instrument]
        )
        stop = asyncio.Event()
        self._running[name] = stop, asyncio.create_task(process.run(stop, lambda: None))

    async def stop(self, name: str) -> None:
        """Stop a replica, in good order."""
        stop, task = self._running.pop(name)
        stop.set()
        await task

    async def stop_all(self) -> None:
        """Stop them all, whoever leads the last."""
        leads = [name for name in self._running if self.state(name) is State.PRIMARY]
        for name in [name for name in (*self._running,) if name not in leads] + leads:
            await self.stop(name)

    @property
    def running(self) -> list[str]:
        """Who was started, and not stopped since."""
        return [*self._running]

    def state(self, name: str) -> State:
        """What a replica is."""
        return self.processes[name].replica.state

    def failures(self, name: str) -> int:
        """How often it has asked somebody for a replay in vain."""
        summary = self.processes[name].summary(digests=False)
        return int(summary["catch_up"]["failures"])

    def folder(self, name: str) -> Path:
        """Where its files are."""
        return self.journal.folder_of(self.shard.feed.shard, name)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(20):
            while not condition():
                for _, task in self._running.values():
                    if task.done():
                        task.result()
                await asyncio.sleep(0.005)

    async def leader(self) -> str:
        """Who leads, once all the others that run follow, and know that all is committed."""

        def leads() -> list[str]:
            return [name for name in self._running if self.state(name) is State.PRIMARY]

        def all_alike() -> bool:
            replicas = [self.processes[name].replica for name in self._running]
            # What is not known to be committed goes into no snapshot.
            sequences = {each.sequence for each in replicas}
            committed = {each.holder.committed_sequence for each in replicas}
            votes = {each.holder.vote for each in replicas}
            return bool(leads()) and len(sequences | committed) == 1 and votes == {Vote.COUNTS}

        await self.until(all_alike)
        return leads()[0]

    async def trade(self, leader: str, orders: int) -> None:
        """Have the primary take so many orders, and wait until they are committed."""
        process = self.processes[leader]
        replica = process.replica
        login = LogIn(1, LOGIN, SelfTradePrevention.OFF)
        replica.submit(encode_submission(Submission(LOGIN, login)))
        for number in range(1, orders + 1):
            order = ORDER._replace(user_ref_num=number)
            replica.submit(encode_submission(Submission(LOGIN, order)))
            if number % 100 == 0:
                process.turn()
                await asyncio.sleep(0)
        process.turn()
        await self.until(lambda: replica.committed_sequence == replica.sequence)


@asynccontextmanager
async def hall(folder: Path) -> AsyncIterator[Hall]:
    """The shard, which has a ZooKeeper server of its own."""
    async with AsyncExitStack() as stack:
        server = EmbeddedServer(ANY)
        await server.start()
        stack.push_async_callback(server.stop)
        host, port = server.address
        made = Hall(folder, ZooKeeperSettings(hosts=f"{host}:{port}"))
        stack.push_async_callback(made.stop_all)
        yield made


def digests(of: Hall) -> set[bytes]:
    """The states that there are."""
    return {process.replica.machine.digest() for process in of.processes.values()}


def test_a_shard_that_was_stopped_comes_back_with_all_that_it_had(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with hall(tmp_path) as made:
            for name in NAMES:
                made.start(name)
            leader = await made.leader()
            await made.trade(leader, 500)
            await made.leader()
            before = made.processes[leader].replica
            sequence, (state,) = before.sequence, digests(made)
            await made.stop_all()
            for name in NAMES:
                assert list((made.folder(name) / "snapshots").glob("*.snapshot"))
                made.start(name)
                assert made.processes[name].replica.sequence == sequence  # of its last snapshot
            after = made.processes[await made.leader()].replica
            assert after.epoch > before.epoch
            assert after.sequence > sequence
            (again,) = digests(made)
            assert again == state

    asyncio.run(scenario())


def test_a_replica_that_lost_its_disk_begins_with_a_snapshot_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feed.replay.SNAPSHOT_WORTH_FRAMES", 100)

    async def scenario() -> None:
        async with hall(tmp_path) as made:
            for name in NAMES:
                made.start(name)
            leader = await made.leader()
            await made.trade(leader, ORDERS)
            await made.leader()
            # Who led has taken no snapshots; who leads next has.
            await made.stop(leader)
            leader = await made.leader()
            (other,) = (name for name in made.running if name != leader)
            await made.stop(other)
            shutil.rmtree(made.folder(other))
            made.start(other)
            await made.leader()
            replica = made.processes[other].replica
            assert replica.holder.list.first_sequence > 1
            lead = made.processes[leader].replica
            assert replica.machine.digest() == lead.machine.digest()
            sequence = lead.sequence
            assert replica.holder.list.digest(sequence) == lead.holder.list.digest(sequence)
            # And from its own disk, where the list now begins in the middle.
            await made.stop(other)
            made.start(other)
            await made.leader()
            again = made.processes[other].replica
            assert again.holder.list.first_sequence > 1
            assert again.machine.digest() == lead.machine.digest()
            # Without a snapshot it can't begin there: it asks until somebody has one.
            await made.stop_all()
            shutil.rmtree(made.folder(other) / "snapshots")
            made.start(other)
            await made.until(lambda: made.failures(other) >= len(NAMES) - 1)
            assert made.state(other) is State.FAILED
            for name in NAMES:
                if name != other:
                    made.start(name)
            await made.leader()
            await made.until(lambda: made.state(other) is not State.FAILED)
            assert len(digests(made)) == 1

    asyncio.run(scenario())


def test_a_journal_of_another_replica_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with hall(tmp_path) as made:
            made.start("e1")
            await made.stop("e1")
            shutil.copytree(made.folder("e1"), made.folder("e2"))
            with pytest.raises(JournalError, match="holder e1, not of e2"):
                made.start("e2")

    asyncio.run(scenario())
