"""The processes of an exchange as children of this one: started, watched, and stopped in order."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tools.child import Child
from tools.configuration import Configuration
from tools.console import CommandError, Summary
from tools.replicas import primary_status
from tools.watching import first_failure

ZOOKEEPER = "zookeeper"  # the name of the child process that is the embedded server


class _Command(NamedTuple):
    """What starts a process: a command of `lockstep`, and what stands before it."""

    arguments: Sequence[str]
    prefix: Sequence[str]


class Fleet:
    """The child processes that run one configuration; each has its section's name."""

    def __init__(self, configuration: Configuration, logs: Path, inherit: Sequence[int] = ()):
        """Nothing is started yet. Logs go to the folder; `inherit` are descriptors for all."""
        self.configuration = configuration
        self.logs = logs
        self.summaries: dict[str, Summary] = {}
        self.environment: dict[str, str] = {}  # beside this process's own, for what is started next
        self._inherit = inherit
        self._commands: dict[str, _Command] = {}  # in the order of their start
        self._children: dict[str, Child] = {}
        self._changed = asyncio.Event()  # replaced by another each time that a process starts

    def add(self, name: str, arguments: Sequence[str], prefix: Sequence[str] = ()) -> None:
        """Say how a process is started, now or anew."""
        self._commands[name] = _Command(arguments, prefix)

    def add_zookeeper(self) -> None:
        """Have the embedded ZooKeeper among the processes, where the configuration looks for it."""
        self.add(ZOOKEEPER, ["zookeeper", "--listen", self.configuration.zookeeper.hosts])

    def add_roles(
        self,
        path_of: Callable[[str], Path],
        prefix_of: Callable[[str], Sequence[str]] = lambda name: (),
        options: Sequence[str] = (),
    ) -> None:
        """Have every process of the configuration among them, each with its own file."""
        configuration = self.configuration
        for role, names in (
            ("replica", configuration.all_replicas()),
            ("retransmitter", configuration.all_retransmitters()),
            ("gateway", configuration.gateways),
        ):
            for name in names:
                which = ["--configuration", str(path_of(name)), "--name", name]
                self.add(name, [role, *which, *options], prefix_of(name))

    @property
    def names(self) -> list[str]:
        """Of all processes that there are to be, in the order of their start."""
        return list(self._commands)

    @property
    def children(self) -> Mapping[str, Child]:
        """The processes that run, by name, in the order of their first start."""
        return {name: self._children[name] for name in self._commands if name in self._children}

    async def launch(self, name: str) -> Child:
        """Start a process; it is not ready yet."""
        arguments, prefix = self._commands[name]
        child = await Child.start(
            name, arguments, self.logs, prefix, self.environment, inherit=self._inherit
        )
        self._children[name] = child
        self._changed.set()
        self._changed = asyncio.Event()
        return child

    async def start(self, names: Sequence[str]) -> None:
        """Start processes at once, and wait until all are ready. Raises ChildError if one fails."""
        children = [await self.launch(name) for name in names]
        await asyncio.gather(*(child.until_ready() for child in children))

    async def finish(self, name: str) -> Summary:
        """Stop one process before the others; its summary. Raises ChildError when it failed."""
        self.summaries[name] = await self._children.pop(name).stop()
        return self.summaries[name]

    async def kill(self, names: Sequence[str]) -> None:
        """Kill processes (SIGKILL), all at once, and wait for their ends; they leave no summary."""
        killed = [self._children.pop(name) for name in names]
        for child in killed:
            child.send_kill()
        for child in killed:
            await child.kill()

    async def restart(self, names: Sequence[str]) -> None:
        """Start processes anew, and wait until all are ready; those that run are stopped first.

        Raises ChildError when one fails.
        """
        for name in names:
            if name in self._children:
                await self.finish(name)
        await self.start(names)

    async def stop(self) -> dict[str, Summary]:
        """Stop every process that still runs; all summaries by name.

        Gateways end before the holders, and each primary after the other holders: so nobody takes
        over meanwhile. Raises ChildError when one did not end as it should; the others are stopped
        all the same.
        """
        failures: list[BaseException] = []
        for step in stopping_order(self.configuration, self.names, await self._last_replicas()):
            running = [name for name in step if name in self._children]
            for result in await asyncio.gather(*map(self.finish, running), return_exceptions=True):
                if isinstance(result, BaseException):
                    failures.append(result)
        if failures:
            raise failures[0]
        return self.summaries

    async def watch(self) -> None:
        """Wait for ever, until one of the processes ends by itself: then raise ChildError.

        Those that are started meanwhile are watched, too.
        """
        watches: dict[Child, asyncio.Future[None]] = {}
        try:
            while True:
                changed = asyncio.ensure_future(self._changed.wait())
                for child in self._children.values():
                    if child not in watches:
                        watches[child] = asyncio.ensure_future(child.watch())
                await first_failure([*watches.values()], until=changed)
        finally:
            for watch in watches.values():
                watch.cancel()

    async def _last_replicas(self) -> list[str]:
        """The replicas to be stopped last: each shard's primary, or any where there is none."""
        views = self.configuration.by_shard().values()
        last = await asyncio.gather(*map(self._last_replica, views))
        return [name for name in last if name is not None]

    async def _last_replica(self, shard: Configuration) -> str | None:
        running = [name for name in shard.replicas if name in self._children]
        if len(running) > 1:
            with contextlib.suppress(CommandError):
                return str((await primary_status(shard))["name"])
        return running[0] if running else None


def stopping_order(
    configuration: Configuration, names: Sequence[str], last_replicas: Collection[str]
) -> list[list[str]]:
    """Who is stopped with whom, step by step.

    What uses the exchange goes first, the latest before the earlier; then the gateways, the
    holders, the last replica of each shard, and the ZooKeeper that all of them need.
    """
    holders = {*configuration.all_replicas(), *configuration.all_retransmitters()}
    gateways = [name for name in names if name in configuration.gateways]
    others = [name for name in names if name not in {*holders, *gateways, ZOOKEEPER}]
    steps = [[name] for name in reversed(others)]
    first = sorted(holders.difference(last_replicas))
    return [*steps, gateways, first, sorted(last_replicas), [ZOOKEEPER]]
