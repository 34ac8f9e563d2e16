"""`lockstep run`: a whole exchange on this machine, brought up and kept up until it is stopped."""

import asyncio
import ipaddress
import socket
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from feed.settings import Address, parse_address
from tools.child import Child, ChildError
from tools.configuration import Configuration
from tools.console import ExitStatus, Summary, print_json, stop_on_signals
from tools.fleet import ZOOKEEPER, Fleet
from tools.kept_directory import KeptDirectory
from tools.only_run import only_run_of
from tools.options import ConfigurationOption, JsonOption
from tools.replicas import Status, Statuses, ask_replicas, describe, find_primary
from tools.restarts import MOST_RESTARTS, WITHIN_NS, Restarts

LOGS_FOLDER = "logs"
# A process that reads its journal says each second how far it is; a disk may stand still for long.
PATIENCE_S = 300.0
_PROGRESS_EVERY_S = 3.0  # of a process that is not ready yet
_LOOK_EVERY_S = 0.5  # at who leads
_LEADERLESS_FOR_S = 5.0  # before it is told: a takeover takes milliseconds, the first one seconds
_PROBE_WITHIN_S = 1.0  # the loopback interface takes microseconds
_SECOND_NS = 1_000_000_000

Say: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What is to be run, and how."""

    configuration: Path
    logs: Path
    zookeeper: bool  # whether an embedded server may be started
    restart: bool  # whether processes that die are started again


class Run:
    """One run of all processes of a configuration."""

    def __init__(self, options: RunOptions, inherit: int, say: Say) -> None:
        """`inherit` is the descriptor that all processes keep open.

        Raises ConfigurationError, or OSError when there can be no folder for the logs.
        """
        self._options = options
        self._say = say
        self._configuration = Configuration.load(options.configuration)
        options.logs.mkdir(parents=True, exist_ok=True)
        self._fleet = Fleet(self._configuration, options.logs, [inherit])
        self._begin_ns = time.monotonic_ns()
        self._restarts: dict[str, Restarts] = {}
        self._given_up: list[str] = []
        self._failed: list[str] = []  # to stop
        self._last: dict[int, Status] = {}  # each shard's primary's, when it was last seen
        self._directory: KeptDirectory | None = None  # beside an embedded ZooKeeper
        self._may_start = asyncio.Event()  # all that needs a ZooKeeper

    async def run(self, stop: asyncio.Event) -> Summary:
        """Run until `stop` is set, or no process is left; what came of it."""
        await self._prepare()
        names = self._fleet.names
        self._say(f"starting {', '.join(names)}; their logs are in {self._options.logs}")
        self._restarts = {name: Restarts() for name in names}
        keepers = [asyncio.ensure_future(self._keep(name)) for name in names]
        stopping = asyncio.ensure_future(stop.wait())
        watching = [
            asyncio.ensure_future(self._watch_list(shard, view))
            for shard, view in self._configuration.by_shard().items()
        ]
        kept = asyncio.gather(*keepers)
        restoring = asyncio.ensure_future(self._restore_directory())
        ends: set[asyncio.Future[Any]] = {stopping, *watching, kept, restoring}
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in ends:
                task.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
            if self._directory is not None:
                await self._directory.stop()
            await self._stop()
        return self._summary()

    async def _prepare(self) -> None:
        """Decide about ZooKeeper, and say what somebody might not expect."""
        hosts = self._configuration.zookeeper.hosts
        address = loopback_server(hosts)
        if address is not None and not await asyncio.to_thread(is_listening, address):
            if self._options.zookeeper:
                self._say(f"nobody listens at {hosts}: an embedded ZooKeeper is started there")
                self._fleet.add_zookeeper()
                self._directory = KeptDirectory(self._configuration)
            else:
                self._say(f"nobody listens at {hosts}: without a ZooKeeper nobody can lead")
        self._fleet.add_roles(lambda name: self._options.configuration)
        if self._configuration.journal is None:
            self._say("there is no [journal]: what the processes know is gone when they have ended")

    async def _keep(self, name: str) -> None:
        """Start a process, and start it again when it dies, until it has died too often."""
        if name != ZOOKEEPER:
            await self._may_start.wait()
        while True:
            begin_ns = time.monotonic_ns()
            child = await self._fleet.launch(name)
            try:
                await self._until_ready(child)
                seconds = (time.monotonic_ns() - begin_ns) / _SECOND_NS
                self._say(f"{name} is ready after {seconds:.1f} s")
                await child.watch()
                return  # somebody stopped it
            except ChildError as error:
                self._say(str(error).rstrip())
            await self._fleet.kill([name])
            if (wait_ns := self._wait_after_death(name, child)) is None:
                self._given_up.append(name)
                return
            await asyncio.sleep(wait_ns / _SECOND_NS)
            self._say(f"{name} is started again")

    async def _restore_directory(self) -> None:
        """Let nobody else start before an embedded ZooKeeper knows where everything is."""
        if self._directory is not None:
            if not self._directory.is_needed:
                self._may_start.set()
            while not self._are_ready([ZOOKEEPER]):
                await asyncio.sleep(_LOOK_EVERY_S)
            await self._directory.start()
        self._may_start.set()
        await asyncio.Event().wait()

    def _wait_after_death(self, name: str, child: Child) -> int | None:
        """In how many nanoseconds it is started again; None when it is not, which is told."""
        if not self._options.restart:
            self._say(f"{name} is not started again: --no-restart")
        elif child.status == ExitStatus.USAGE:
            self._say(f"{name} is not started again: it can't run as it is configured")
        elif (wait_ns := self._restarts[name].after_death(time.monotonic_ns())) is None:
            self._say(
                f"{name} is not started again: it died more than {MOST_RESTARTS} times within "
                f"{WITHIN_NS // _SECOND_NS} s"
            )
        else:
            return wait_ns
        return None

    async def _until_ready(self, child: Child) -> None:
        """Wait for a process, and tell how far it is."""
        ready = asyncio.ensure_future(child.until_ready(PATIENCE_S))
        told: str | None = None
        try:
            while not (await asyncio.wait({ready}, timeout=_PROGRESS_EVERY_S))[0]:
                event = child.latest_event()
                if event != told:
                    self._say(f"{child.name}: {event}")
                    told = event
            ready.result()
        finally:
            ready.cancel()

    async def _watch_list(self, shard: int, view: Configuration) -> None:
        """Tell who leads in a shard, each time that this changes, and when nobody does for long."""
        where = f"shard {shard}: " if self._configuration.shards else ""
        told: object = None
        led_ns = time.monotonic_ns()
        while True:
            statuses = await ask_replicas(view)
            primary = find_primary(statuses)
            now_ns = time.monotonic_ns()
            if primary is not None:
                self._last[shard], led_ns = primary, now_ns
                if told != (told := (primary["name"], primary["epoch"])):
                    self._say(where + leading(primary))
            elif not self._are_ready(statuses):
                led_ns = now_ns  # nobody can lead yet
            elif now_ns - led_ns > _LEADERLESS_FOR_S * _SECOND_NS:
                words = "; ".join([describe(statuses), *self._complaints(statuses)])
                if told != (told := words):
                    self._say(where + words)
            await asyncio.sleep(_LOOK_EVERY_S)

    def _are_ready(self, names: Iterable[str]) -> bool:
        """Whether all these processes are there that were not given up."""
        children = self._fleet.children
        there = {name for name, child in children.items() if child.is_ready}
        return there.issuperset(set(names) - set(self._given_up))

    def _complaints(self, statuses: Statuses) -> list[str]:
        """The latest errors in the replicas' logs."""
        children = self._fleet.children
        events = (
            (name, children[name].latest_event("error")) for name in statuses if name in children
        )
        return [f"{name}: {event}" for name, event in events if event is not None]

    async def _stop(self) -> None:
        """Stop what runs; what is not ready yet is not asked for a summary."""
        unready = [name for name, child in self._fleet.children.items() if not child.is_ready]
        await asyncio.gather(*map(self._fleet.finish, unready), return_exceptions=True)
        try:
            await self._fleet.stop()
        except ChildError as error:
            self._failed.append(str(error))
            self._say(str(error).rstrip())

    def _summary(self) -> Summary:
        seconds = (time.monotonic_ns() - self._begin_ns) / _SECOND_NS
        shards = {shard: self._led(shard) for shard in self._configuration.by_shard()}
        is_one = not self._configuration.shards
        return {
            "exchange": self._configuration.exchange,
            "zookeeper": "embedded" if ZOOKEEPER in self._fleet.names else "external",
            **(
                next(iter(shards.values()))
                if is_one
                else {"shards": {str(shard): led for shard, led in shards.items()}}
            ),
            "seconds": round(seconds, 1),
            "restarts": {name: each.count for name, each in self._restarts.items() if each.count},
            "given_up": self._given_up,
            "failures": self._failed,
            "processes": self._fleet.summaries,
        }

    def _led(self, shard: int) -> Summary:
        """Who led in a shard at the end, and how far its list was."""
        last = self._last.get(shard, {})
        last = self._fleet.summaries.get(last.get("name", ""), last)  # how it was when it ended
        return {
            "primary": last.get("name"),
            "epoch": last.get("epoch"),
            "sequence": last.get("sequence"),
            "committed_sequence": last.get("committed_sequence"),
        }


def leading(primary: Status) -> str:
    """Who leads, and how far the list is."""
    return (
        f"{primary['name']} is primary in epoch {primary['epoch']}: {primary['sequence']:,} frames,"
        f" committed up to {primary['committed_sequence']:,}"
    )


def loopback_server(hosts: str) -> Address | None:
    """Where an embedded ZooKeeper may be started; None if that is another machine's, or several."""
    if "," in hosts:
        return None
    address = parse_address(hosts)
    if address.host == "localhost":
        return address
    try:
        is_here = ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return None
    return address if is_here else None


def is_listening(address: Address) -> bool:
    """Whether somebody takes connections there."""
    try:
        with socket.create_connection(address, timeout=_PROBE_WITHIN_S):
            return True
    except OSError:
        return False


def run(
    configuration: ConfigurationOption,
    logs: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help='Where the logs of all processes go on; the folder "logs" beside the'
            " configuration, if not given.",
        ),
    ] = None,
    zookeeper: Annotated[
        bool,
        typer.Option(
            "--zookeeper/--no-zookeeper",
            help="Start an embedded ZooKeeper where the configuration names one on the loopback"
            " interface and nobody listens there.",
        ),
    ] = True,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart/--no-restart", help="Start processes that die by themselves again."
        ),
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Bring a whole exchange up on this machine, or back up, and keep it up.

    Starts every replica, retransmitter and gateway of the configuration, and a ZooKeeper server
    where none runs. With a [journal] in the configuration, the list goes on where it ended, however
    that was. Tells who leads and how far the list is, and runs until Ctrl-C or SIGTERM, when all
    are stopped in the right order.

    A process that dies by itself is started again, at most five times within a minute. The exit
    status is 1 when one had to be given up, or did not stop as it should.

    Example:
    lockstep run -c exchange.toml
    """
    options = RunOptions(
        configuration, logs or configuration.absolute().parent / LOGS_FOLDER, zookeeper, restart
    )

    def say(line: str) -> None:
        print(line, file=sys.stderr if as_json else sys.stdout, flush=True)

    with only_run_of(configuration) as descriptor:
        runner = Run(options, descriptor, say)
        summary = asyncio.run(_until_stopped(runner))
    if as_json:
        print_json(summary)
    else:
        say(told(summary))
    if summary["given_up"] or summary["failures"]:
        sys.exit(ExitStatus.FAILED)


async def _until_stopped(runner: Run) -> Summary:
    stop = asyncio.Event()
    stop_on_signals(stop)
    return await runner.run(stop)


def told(summary: Summary) -> str:
    """The summary for people."""
    restarts = sum(summary["restarts"].values())
    shards = summary.get("shards") or {"": summary}
    ends = [
        (f"shard {shard}: " if shard else "")
        + (
            "nobody ever led"
            if led["primary"] is None
            else f"{led['primary']} led in epoch {led['epoch']}, {led['sequence']:,} frames"
        )
        for shard, led in shards.items()
    ]
    return (
        f"stopped after {summary['seconds']:,.1f} s: {'; '.join(ends)}; processes started again: "
        f"{restarts}"
    )
