"""Members of one shard on real connections, and ways to do them harm."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient  # type: ignore[import-untyped]

from zk.membership import Member
from zk.settings import ZooKeeperSettings

WITHIN_S = 15.0  # all waits together; busy machines, and an ensemble that elects a leader
_POLL_S = 0.005  # beside changes, for what is not told
_ROOT = Path(__file__).parents[2]
_OTHER_PROCESS = """
import asyncio
from zk.membership import Member
from zk.settings import ZooKeeperSettings

async def main():
    settings = ZooKeeperSettings(**{settings!r})
    def on_change():
        if {name!r} in member.members and member.granted is not None:
            print("reigns", flush=True)
    member = Member(settings, "DEMO", 0, {name!r}, role="replica", holder=True,
                    on_change=on_change, commands="127.0.0.1:9")
    member.electable = True
    await member.start()
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Shard:
    """Members of one shard in this process: replicas e..., retransmitters r..., gateways g..."""

    def __init__(self, settings: ZooKeeperSettings) -> None:
        self.settings = settings
        self.members: dict[str, Member] = {}
        self.grants: list[tuple[str, int]] = []  # in the order in which they were told
        self.changes: dict[str, int] = {}
        self._changed = asyncio.Event()

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    async def start(self, *names: str, memory: str = "") -> None:
        """Start these, and wait until each one knows all."""
        await self.start_without_waiting(*names, memory=memory)
        await self.until(
            lambda: all(
                set(each.members) >= set(names) and each.epoch_at_start is not None
                for each in map(self.members.__getitem__, names)
            )
        )

    async def start_without_waiting(self, *names: str, memory: str = "") -> None:
        for name in names:
            role = {"e": "replica", "r": "retransmitter", "g": "gateway"}[name[0]]
            self.changes[name] = 0
            self.members[name] = Member(
                self.settings,
                "DEMO",
                0,
                name,
                role=role,
                holder=role != "gateway",
                commands=f"127.0.0.1:{name[1:]}" if role == "replica" else None,
                on_change=lambda name=name: self._on_change(name),  # type: ignore[misc]
                memory=memory,
            )
            await self.members[name].start()

    async def start_with_primary(self, *names: str) -> None:
        """Start these, and have the first one take epoch 1."""
        await self.start(*names)
        self.members[names[0]].electable = True
        await self.until_reigning(names[0], 1)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until this is so; raises TimeoutError."""
        async with asyncio.timeout(WITHIN_S):
            while not condition():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_S):
                        await self._changed.wait()

    async def until_reigning(self, name: str, epoch: int) -> None:
        """Wait until this one reigns in this epoch, and all know it."""
        await self.until(
            lambda: all(
                each.primary is not None
                and (each.primary.name, each.primary.epoch, each.epoch) == (name, epoch, epoch)
                and each.granted == (epoch if own == name else None)
                for own, each in self.members.items()
            )
        )

    def suspect(self, epoch: int, *names: str) -> None:
        for name in names:
            self.members[name].suspect(epoch)

    async def nodes(self, path: str) -> dict[str, int]:
        """The nodes under this one, relative to the shard's, and the session that each is of."""

        def read(kazoo: Any) -> dict[str, int]:
            above = f"{self.settings.root}/DEMO/shards/0/{path}"
            owners: dict[str, int] = {}
            for name in kazoo.get_children(above) if kazoo.exists(above) else ():
                stat = kazoo.exists(f"{above}/{name}")
                if stat is not None:
                    owners[name] = stat.ephemeralOwner
            return owners

        owners: dict[str, int] = await self.with_kazoo(read)
        return owners

    async def until_nodes(self, path: str, condition: Callable[[dict[str, int]], bool]) -> None:
        """Wait until this holds of the nodes under `path`."""
        nodes: dict[str, int] = {}
        try:
            async with asyncio.timeout(WITHIN_S):
                while not condition(nodes := await self.nodes(path)):
                    await asyncio.sleep(_POLL_S)
        except TimeoutError as error:
            raise AssertionError(f"{path}: last seen were {nodes}") from error

    async def with_kazoo(self, work: Callable[[Any], Any], **options: Any) -> Any:
        """Have a client of its own do something."""

        def run() -> Any:
            kazoo = KazooClient(hosts=self.settings.hosts, timeout=5.0, **options)
            kazoo.start(timeout=WITHIN_S)
            try:
                return work(kazoo)
            finally:
                kazoo.stop()
                kazoo.close()

        return await asyncio.get_running_loop().run_in_executor(None, run)

    async def end_session(self, name: str) -> None:
        """End a member's session behind its back, as if it had expired."""
        number, password = self.members[name].session()
        client_id = (number, bytes.fromhex(password))
        await self.with_kazoo(lambda kazoo: None, client_id=client_id)

    def _on_change(self, name: str) -> None:
        self.changes[name] += 1
        granted = self.members[name].granted
        if granted is not None and (name, granted) not in self.grants:
            self.grants.append((name, granted))
        self._changed.set()


@contextlib.asynccontextmanager
async def shard_at(settings: ZooKeeperSettings) -> AsyncIterator[Shard]:
    """A shard whose members leave in the end."""
    shard = Shard(settings)
    try:
        yield shard
    finally:
        await asyncio.gather(*(member.stop() for member in shard.members.values()))


async def let_a_primary_be_killed(settings: ZooKeeperSettings, name: str) -> None:
    """Have a replica in a process of its own take the next epoch, and kill it.

    Its session lives on until it expires.
    """
    code = _OTHER_PROCESS.replace("{settings!r}", repr(settings.model_dump()))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code.replace("{name!r}", repr(name)),
        cwd=_ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(WITHIN_S):
            while await process.stdout.readline() != b"reigns\n":
                assert not process.stdout.at_eof(), "it ended by itself"
    finally:
        process.kill()
        await process.communicate()


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a test, but not for ever."""

    async def limited() -> None:
        async with asyncio.timeout(3 * WITHIN_S):
            await work

    asyncio.run(limited())
