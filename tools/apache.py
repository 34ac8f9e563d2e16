"""Apache ZooKeeper from Debian's package, for tests and drills: one server or an ensemble of three.

The servers are child processes of this one, on free ports of the loopback interface, with all that
they write in one folder. They end with this process, even when it is killed.
"""

import asyncio
import contextlib
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple, Self

from feed.settings import Address
from tools.console import CommandError
from tools.ports import HOST, free_addresses

READY_WITHIN_S = 30.0  # a server takes 0.3 s, three with their election 1 s; machines are busy
_ASK_WITHIN_S = 0.5  # a server that takes longer to say its state is paused, or as good as
_ASK_AGAIN_AFTER_S = 0.02
_ENSEMBLE_SIZES = (1, 3)
_PORTS_PER_SERVER = 3  # for clients, for the other servers, for elections
_JARS = (Path("/usr/share/java/zookeeper.jar"), Path("/usr/share/java/slf4j-simple.jar"))
_MAIN_CLASS = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
_JAVA_OPTIONS = (
    "-Xmx128m",
    "-XX:+UseSerialGC",  # this and the next: starts in half the time, and lives for minutes
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",  # else it leaves a file outside the folder
    "-Djava.net.preferIPv4Stack=true",
    "-Dzookeeper.preAllocSize=1024",  # KB; the default of 64 MB would fill small disks
    "-Dzookeeper.jmx.log4j.disable=true",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)
_SHORTEST_SESSION_MS = 1_000  # our settings allow it, so every server must
_LONGEST_SESSION_MS = 60_000  # likewise
_FOLLOW_WITHIN_MS = 10_000  # a follower gets the leader's data; a busy machine is slow at that
_SILENCE_MS = 1_000  # soon, for a failover; long enough for a machine that is not overloaded
_STATE = re.compile(r"^Zxid: 0x(?P<zxid>[0-9a-f]+)$\n^Mode: (?P<mode>\w+)$", re.MULTILINE)
_LEADING_MODES = ("leader", "standalone")
_LOG_LINES_SHOWN = 12
_STACK_FRAME = "\tat "  # Java's traces are longer than what is shown


class _State(NamedTuple):
    """What a server says of itself."""

    mode: str
    zxid: int  # of the last change that it knows of; a new leader's first is above all before


class ApacheZooKeeper:
    """One server, or an ensemble of three; an async context manager.

    Servers are numbered from 0. What they wrote stays when they are stopped or killed, so that they
    come back with it.
    """

    def __init__(
        self,
        servers: int,
        folder: Path,
        *,
        tick_ms: int = 100,
        silence_ms: int = _SILENCE_MS,
        sync: bool = True,
        host: str = HOST,
    ) -> None:
        """Nothing is started yet.

        In an ensemble, a leader or follower that is silent for `silence_ms` counts as gone.
        `host` is the address of this machine at which clients reach them.
        `sync=False` leaves out the flush to the disk that a power cut would need. Raises
        CommandError when Java or ZooKeeper is not installed.
        """
        if servers not in _ENSEMBLE_SIZES:
            raise ValueError(f"{servers} servers: it is one, or an ensemble of three")
        self._launcher = _launcher()
        ports = free_addresses(servers * _PORTS_PER_SERVER)
        self._addresses = [Address(host, port) for _, port in ports[:servers]]
        self._peer_ports = [
            (ports[servers + each].port, ports[2 * servers + each].port) for each in range(servers)
        ]
        self._folders = [folder / f"zookeeper-{each + 1}" for each in range(servers)]
        self._tick_ms = tick_ms
        self._silence_ms = silence_ms
        self._sync = sync
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def hosts(self) -> str:
        """The servers' addresses, as kazoo and our settings take them."""
        return ",".join(f"{host}:{port}" for host, port in self._addresses)

    @property
    def addresses(self) -> list[Address]:
        """The same one by one: where each server takes clients."""
        return list(self._addresses)

    @property
    def process_ids(self) -> dict[int, int]:
        """The numbers that the operating system knows the running servers by."""
        return {server: process.pid for server, process in self._processes.items()}

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start all servers, and wait until each one serves clients.

        Raises CommandError, with the end of its log, when one does not; none runs then.
        """
        try:
            for server in range(len(self._addresses)):
                self._launch(server)
            await asyncio.gather(*map(self._until_serving, self._processes))
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End all servers. It is safe at any time: every change is in their logs."""
        for server in list(self._processes):
            self.kill(server)

    async def leader(self) -> int:
        """Which server leads; a single one always does. Waits until one of them says so.

        One that was paused believes for a while that it still does; the newest leader counts.
        Raises CommandError when none says so in time.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_WITHIN_S):
                while True:
                    servers = list(self._processes)
                    states = await asyncio.gather(*map(self._state, servers))
                    leaders = [
                        (state.zxid, server)
                        for server, state in zip(servers, states, strict=True)
                        if state is not None and state.mode in _LEADING_MODES
                    ]
                    if leaders:
                        return max(leaders)[1]
                    await asyncio.sleep(_ASK_AGAIN_AFTER_S)
        raise CommandError(f"ZooKeeper at {self.hosts} has no leader after {READY_WITHIN_S:.0f} s")

    def kill(self, server: int) -> None:
        """End a server at once (SIGKILL), paused or not."""
        process = self._processes.pop(server)
        process.kill()
        process.wait()

    async def restart(self, server: int) -> None:
        """Start a server that was killed, with what it had written; wait until it serves."""
        self._launch(server)
        await self._until_serving(server)

    def pause(self, server: int) -> None:
        """Stop a server in its tracks (SIGSTOP): its connections stay open, nothing answers."""
        self._processes[server].send_signal(signal.SIGSTOP)

    def resume(self, server: int) -> None:
        """Let a paused server go on (SIGCONT)."""
        self._processes[server].send_signal(signal.SIGCONT)

    def _launch(self, server: int) -> None:
        assert server not in self._processes, f"server {server} runs already"
        folder = self._folders[server]
        data_folder = folder / "data"
        data_folder.mkdir(parents=True, exist_ok=True)
        (data_folder / "myid").write_text(f"{server + 1}\n")
        configuration_path = folder / "zoo.cfg"
        configuration_path.write_text(self._configuration(server, data_folder))
        options = [f"-Dzookeeper.forceSync={'yes' if self._sync else 'no'}"]
        with (folder / "log").open("ab") as log_file:
            self._processes[server] = subprocess.Popen(
                [*self._launcher, *options, _MAIN_CLASS, str(configuration_path)],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is for this process alone
            )

    def _configuration(self, server: int, data_folder: Path) -> str:
        lines = [
            f"tickTime={self._tick_ms}",
            f"dataDir={data_folder}",
            f"clientPort={self._addresses[server].port}",
            f"clientPortAddress={self._addresses[server].host}",
            f"minSessionTimeout={min(2 * self._tick_ms, _SHORTEST_SESSION_MS)}",
            f"maxSessionTimeout={_LONGEST_SESSION_MS}",
            "maxClientCnxns=0",  # all clients have one address here
            "admin.enableServer=false",
            "4lw.commands.whitelist=ruok,srvr",
            "localSessionsEnabled=false",
            "reconfigEnabled=false",
            "autopurge.purgeInterval=0",
        ]
        if len(self._addresses) > 1:
            lines.append(f"initLimit={_ticks(_FOLLOW_WITHIN_MS, self._tick_ms)}")
            lines.append(f"syncLimit={_ticks(self._silence_ms, self._tick_ms)}")
            for number, (quorum_port, election_port) in enumerate(self._peer_ports, start=1):
                lines.append(f"server.{number}={HOST}:{quorum_port}:{election_port}")
        return "\n".join(lines) + "\n"

    async def _until_serving(self, server: int) -> None:
        process = self._processes[server]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_WITHIN_S):
                while await self._state(server) is None:
                    if process.poll() is not None:
                        raise self._failure(server, f"ended with status {process.returncode}")
                    await asyncio.sleep(_ASK_AGAIN_AFTER_S)
                return
        raise self._failure(server, f"did not serve within {READY_WITHIN_S:.0f} s")

    async def _state(self, server: int) -> _State | None:
        """What a server says of itself; None when it does not serve."""
        host, port = self._addresses[server]
        try:
            async with asyncio.timeout(_ASK_WITHIN_S):
                reader, writer = await asyncio.open_connection(host, port)
                try:
                    writer.write(b"srvr")
                    answer = await reader.read(-1)
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return None
        found = _STATE.search(answer.decode(errors="replace"))
        return _State(found["mode"], int(found["zxid"], 16)) if found else None

    def _failure(self, server: int, what: str) -> CommandError:
        log_text = (self._folders[server] / "log").read_text(errors="backslashreplace")
        log_lines = [line for line in log_text.splitlines() if not line.startswith(_STACK_FRAME)]
        shown = "\n".join(log_lines[-_LOG_LINES_SHOWN:]) or "(nothing)"
        return CommandError(f"Apache ZooKeeper {what}. The end of its log:\n{shown}")


def _ticks(duration_ms: int, tick_ms: int) -> int:
    """As many ticks as fill `duration_ms`; two at least, for one alone is no time."""
    return max(2, -(-duration_ms // tick_ms))


def _launcher() -> list[str]:
    """The command line up to the options that differ from server to server."""
    java = shutil.which("java")
    if java is None:
        raise CommandError(
            "Apache ZooKeeper needs Java, and there is no java on the PATH; on Debian: "
            "apt-get install default-jre-headless"
        )
    missing = [path for path in _JARS if not path.exists()]
    if missing:
        raise CommandError(
            f"Apache ZooKeeper is not installed ({missing[0]} is missing); on Debian: "
            "apt-get install zookeeper"
        )
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise CommandError(
            "Apache ZooKeeper is started through setpriv, so that it ends with whoever started "
            "it, and there is none on the PATH; on Debian: apt-get install util-linux"
        )
    class_path = ":".join(map(str, _JARS))
    return [setpriv, "--pdeathsig", "KILL", java, *_JAVA_OPTIONS, "-cp", class_path]
