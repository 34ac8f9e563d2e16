"""A whole exchange of one's own as child processes, in a temporary folder and on free ports."""

import asyncio
import contextlib
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from engine.control import ControlError
from engine.settings import InstrumentSettings, MachineKind
from feed.faults import FaultShares
from feed.messages import SelfTradePrevention
from feed.settings import Address, FailoverSettings, JournalSettings
from gateway.clients import add_client, new_secret
from tools.child import Child, ChildError
from tools.configuration import Configuration
from tools.console import CommandError, Summary, UsageError
from tools.credentials import write_secrets
from tools.fleet import Fleet
from tools.layout import SUBSCRIBER, Host, Layout, Transport
from tools.leftovers import remove_tree
from tools.ports import free_addresses
from tools.replicas import (
    Status,
    Statuses,
    all_follow,
    ask_replica,
    ask_replicas,
    describe,
    primary_status,
    status_request,
)
from zk.settings import ZooKeeperSettings

CONFIGURATION_FILE = "exchange.toml"
CLIENTS_FILE = "clients.toml"
SECRETS_FILE = "secrets.toml"
JOURNAL_FOLDER = "journal"
DEFAULT_SYMBOLS = (
    InstrumentSettings(symbol="AAPL"),
    InstrumentSettings(symbol="MSFT"),
    InstrumentSettings(symbol="NVDA"),
    InstrumentSettings(symbol="AMZN"),
)
# For what takes an exchange milliseconds; a busy machine may let its processes wait for seconds.
COMES_ABOUT_WITHIN_S = 30.0
_LOOKS_PER_SECOND = 20

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ClientSpec:
    """A client that the exchange should know; a secret is drawn where none is given."""

    secret: str | None = None
    self_trade_prevention: SelfTradePrevention = SelfTradePrevention.CANCEL_NEWEST
    cancel_on_disconnect: bool = False
    orders_per_second: int | None = None
    orders_burst: int | None = None


class Exchange:
    """Replicas, retransmitters and gateways; an async context manager.

    Entering it writes the files and starts the processes, and returns when there is a primary that
    all holders follow, and the gateways are ready; leaving it stops them and removes the folder.
    Other programs can use it meanwhile: all they need are `configuration_path` and `secrets`.

    The replicas are e1, e2 and so on, the retransmitters r1 and so on, the gateways g1 and so on;
    the ZooKeeper server is "zookeeper". With several shards the numbers go on from one to the next:
    with three replicas for each, e4 to e6 run shard 2.
    """

    def __init__(
        self,
        *,
        clients: Mapping[str, ClientSpec],
        symbols: Sequence[InstrumentSettings] = DEFAULT_SYMBOLS,
        name: str = "DEMO",
        shards: int = 1,
        replicas: int = 1,
        gateways: int = 1,
        retransmitters: int = 2,
        zookeeper_hosts: str | None = None,
        failover: FailoverSettings | None = None,
        drills: bool = False,
        machines: Mapping[str, MachineKind] | None = None,
        faults: FaultShares | None = None,
        transport: Transport = Transport.AUTO,
        feed_options: Mapping[str, Any] | None = None,
        gateway_options: Mapping[str, Any] | None = None,
        hosts: Mapping[str, Host] | None = None,
        journal: JournalSettings | Mapping[str, Any] | None = None,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Nothing is started yet. `replicas` and `retransmitters` are those of each shard.

        Without `zookeeper_hosts` an embedded server is started, too. `faults` are put in at every
        receiver of the feed. The options are keys of FeedSettings and GatewaySettings that differ
        from their defaults. `machines` says by name which machine a replica runs, where that is not
        the fastest that there is. `hosts` says for each process where it runs, and with the name
        "subscriber" where this one does; without it all run here, on the loopback interface.

        With `journal`, the settings or those keys of them that differ from their defaults, the
        holders keep the list on disk, in the folder "journal" beside the configuration unless they
        say otherwise. All files are in `folder`, and stay there, instead of in a temporary one:
        `lockstep run` brings an exchange that keeps journals back from it. All processes have
        `environment` beside this one's own.
        """
        if hosts and zookeeper_hosts is None:
            raise ValueError("the embedded server is on the loopback only: give zookeeper_hosts")
        if journal is not None and not isinstance(journal, JournalSettings):
            journal = JournalSettings(**{"folder": Path(JOURNAL_FOLDER), **journal})
        self.secrets = {each: spec.secret or new_secret() for each, spec in clients.items()}
        self._receive: Mapping[int, Address] = {}
        self._clients = clients
        self._symbols = symbols
        self._name = name
        self._zookeeper_hosts = zookeeper_hosts
        self._layout = Layout(
            shards=shards,
            replicas=[f"e{i + 1}" for i in range(shards * replicas)],
            retransmitters=[f"r{i + 1}" for i in range(shards * retransmitters)],
            gateways=[f"g{i + 1}" for i in range(gateways)],
            transport=transport,
            drills=drills,
            machines=machines or {},
            failover=failover,
            journal=journal,
            feed_options=feed_options or {},
            gateway_options=gateway_options or {},
            hosts=hosts or {},
        )
        self._faults = faults
        self._fleet: Fleet | None = None
        self._given_folder = folder
        self._environment = environment or {}
        self._folder: Path | None = None

    @property
    def folder(self) -> Path:
        """Where the files and the logs of the processes are; only while the exchange is entered."""
        assert self._folder is not None, "the exchange has not been entered"
        return self._folder

    @property
    def configuration_path(self) -> Path:
        """The file that every command takes which runs where this process does."""
        return self.configuration_path_of(SUBSCRIBER)

    def configuration_path_of(self, name: str) -> Path:
        """The file for whatever runs on the host of that process."""
        address = self._layout.host(name).address
        is_here = address == self._layout.host(SUBSCRIBER).address
        return self.folder / (CONFIGURATION_FILE if is_here else f"exchange-{address}.toml")

    @property
    def secrets_path(self) -> Path:
        """A file with the clients' secrets, for the commands that log in."""
        return self.folder / SECRETS_FILE

    @property
    def configuration(self) -> Configuration:
        """What stands in the file at `configuration_path`."""
        return self.fleet.configuration

    @property
    def shards(self) -> Mapping[int, Configuration]:
        """By its number, each shard as if it were the only one."""
        return self.configuration.by_shard()

    @property
    def receive(self) -> Address | None:
        """Where a subscriber listens if the feed is unicast, in an exchange of one shard."""
        return self.receive_of(self.configuration.of_shard().feed.shard)

    def receive_of(self, shard: int) -> Address | None:
        """Where a subscriber listens to a shard if its feed is unicast."""
        return self._receive.get(shard)

    @property
    def fleet(self) -> Fleet:
        """The processes."""
        assert self._fleet is not None, "the exchange has not been entered"
        return self._fleet

    @property
    def children(self) -> Mapping[str, Child]:
        """The processes that run, by name, in the order of their first start."""
        return self.fleet.children

    @property
    def summaries(self) -> dict[str, Summary]:
        """Of the processes that have been stopped, by name."""
        return self.fleet.summaries

    async def __aenter__(self) -> "Exchange":
        self._folder = self._given_folder or Path(tempfile.mkdtemp(prefix="lockstep-"))
        if (self._folder / CONFIGURATION_FILE).exists():
            raise UsageError(
                f"{self._folder} has an exchange already: name another folder, or bring that one "
                f"back with lockstep run -c {self._folder / CONFIGURATION_FILE}"
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._fleet = self._write_files()
            gateways = self._layout.gateways
            await self._fleet.start([name for name in self._fleet.names if name not in gateways])
            for shard in self.shards:
                await self.until("a primary that all holders follow", all_follow, shard=shard)
            await self._fleet.start(gateways)
        except BaseException:
            await self._abandon()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            try:
                await self.stop()
            finally:
                await self._remove_traces()
        else:
            await self._abandon()

    # The processes.

    async def start(self, name: str, arguments: Sequence[str]) -> Child:
        """Start one more supervised command as a part of this exchange, and wait until it is ready.

        It is stopped before all that were started earlier. Raises ChildError when it fails.
        """
        self.fleet.add(name, arguments, self._layout.host(name).prefix)
        await self.fleet.start([name])
        return self.children[name]

    async def finish(self, name: str) -> Summary:
        """Stop one process before the others; its summary. Raises ChildError when it failed."""
        return await self.fleet.finish(name)

    async def kill(self, *names: str) -> None:
        """Kill processes (SIGKILL), at once, and wait for their ends; they leave no summary."""
        await self.fleet.kill(names)

    def pause(self, name: str) -> None:
        """Let one process do nothing (SIGSTOP) until `unpause`."""
        self.children[name].pause()

    def unpause(self, name: str) -> None:
        """Let a paused process go on (SIGCONT)."""
        self.children[name].unpause()

    async def restart(self, *names: str) -> None:
        """Start processes anew, as they were first started, and wait until all are ready.

        Those that run are stopped first. Raises ChildError when one fails.
        """
        await self.fleet.restart(names)

    async def stop(self) -> dict[str, Summary]:
        """Stop every process that still runs, in the right order; all summaries by name.

        Raises ChildError when one did not end as it should; the others are stopped all the same.
        """
        return await self.fleet.stop()

    async def watch(self) -> None:
        """Wait for ever, until one of the processes ends by itself: then raise ChildError.

        Those that are started meanwhile are watched, too.
        """
        await self.fleet.watch()

    # What the replicas say. Of an exchange of several shards it is to be said which one is meant.

    async def primary(self, shard: int | None = None) -> str:
        """The name of the replica that leads. Raises CommandError when none does."""
        return str((await primary_status(self.configuration.of_shard(shard)))["name"])

    async def status(self, name: str | None = None, *, shard: int | None = None) -> Status:
        """A replica's word on its own state, with its digests; without a name the primary's.

        Raises CommandError when it does not answer.
        """
        if name is None:
            return await primary_status(self.configuration.of_shard(shard), digests=True)
        return await self.ask(name, status_request(digests=True))

    async def statuses(self, *, digests: bool = False, shard: int | None = None) -> Statuses:
        """The status of every replica, or why there is none, by name."""
        return await ask_replicas(self.configuration.of_shard(shard), digests=digests)

    async def ask(self, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """A replica's answer on its control port. Raises CommandError when it has none."""
        try:
            return await ask_replica(self.configuration, name, request)
        except ControlError as error:
            raise CommandError(str(error)) from error

    async def until(
        self,
        what: str,
        condition: Callable[[Statuses], Result | None],
        *,
        within_s: float = COMES_ABOUT_WITHIN_S,
        shard: int | None = None,
    ) -> Result:
        """Ask all replicas again and again until `condition` finds in their statuses what it wants.

        Raises CommandError when that takes too long, ChildError when a process ends meanwhile.
        """
        watching = asyncio.ensure_future(self.watch())
        try:
            deadline = time.monotonic() + within_s
            while True:
                statuses = await self.statuses(shard=shard)
                result = condition(statuses)
                if result is not None:
                    return result
                if time.monotonic() > deadline:
                    raise CommandError(
                        f"{what} did not come about within {within_s:.0f} s; {describe(statuses)}"
                    )
                await asyncio.wait({watching}, timeout=1 / _LOOKS_PER_SECOND)
                if watching.done():
                    watching.result()
        finally:
            watching.cancel()

    # How it is done.

    async def _abandon(self) -> None:
        """Stop what runs after a failure, which alone is worth telling."""
        if self._fleet is not None:
            with contextlib.suppress(ChildError):
                await self._fleet.stop()
        await self._remove_traces()

    async def _remove_traces(self) -> None:
        if self._given_folder is not None:
            return
        shutil.rmtree(self.folder)
        if self._zookeeper_hosts is not None and self._fleet is not None:
            await asyncio.to_thread(remove_tree, self.configuration.zookeeper)

    def _write_files(self) -> Fleet:
        """Write all files; the processes that take them, none of which is started."""
        clients_path = self.folder / CLIENTS_FILE
        clients_path.touch()
        for name, spec in self._clients.items():
            add_client(
                clients_path,
                name,
                self.secrets[name],
                self_trade_prevention=spec.self_trade_prevention,
                cancel_on_disconnect=spec.cancel_on_disconnect,
                orders_per_second=spec.orders_per_second,
                orders_burst=spec.orders_burst,
            )
        write_secrets(self.secrets_path, self.secrets)
        layout = self._layout
        zookeeper = self._zookeeper()
        configuration, self._receive = layout.configuration(
            self._name, self._symbols, zookeeper, Path(CLIENTS_FILE)
        )
        for name in (*layout.hosts, SUBSCRIBER):
            layout.on_host(configuration, name).save(self.configuration_path_of(name))
        fleet = Fleet(Configuration.load(self.configuration_path), self.folder)
        fleet.environment.update(self._environment)
        if self._zookeeper_hosts is None:
            fleet.add_zookeeper()
        faults = [] if self._faults is None else ["--faults", str(self._faults)]
        fleet.add_roles(self.configuration_path_of, lambda name: layout.host(name).prefix, faults)
        return fleet

    def _zookeeper(self) -> ZooKeeperSettings:
        if self._zookeeper_hosts is None:
            return ZooKeeperSettings(hosts=str(free_addresses(1)[0]))
        # A part of the tree for this exchange alone: what stood in it would look like its past.
        root = f"/lockstep/{self._name}-{secrets.token_hex(8)}"
        return ZooKeeperSettings(hosts=self._zookeeper_hosts, root=root)
