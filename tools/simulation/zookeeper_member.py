"""A simulated process's part in ZooKeeper: the rules of production, on a simulated connection."""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from tools.simulation.network import Process
from tools.simulation.world import Timer
from tools.simulation.zookeeper_tree import Connection
from zk.operations import Answer, Operation
from zk.participant import Participant
from zk.presence import Presence

# An answer, a path that changed, or that the server has closed the connection.
Reply = tuple[int, Answer] | str | None


class Link:
    """One connection, as both of its ends see it."""

    def __init__(self, member: "SimulatedMember", connection: Connection) -> None:
        self.member = member
        self.connection = connection
        self.is_open = True  # at the server
        self.is_followed = True  # at the client: it has not given it up
        self.is_catching_up = False
        self.outgoing: deque[tuple[Reply, int]] = deque()  # with the number of the server's state
        self.arrives_ns = 0  # when the last request that has set out will be there
        self.delivers_ns = 0  # and the last reply

    @property
    def is_heard(self) -> bool:
        """Whether pings of the client, and the answers to them, are heard now."""
        process = self.member.process
        is_there = self.member.is_alive and process.runs and process.reaches_zookeeper
        return is_there and self.is_open and self.is_followed

    def close(self) -> None:
        """The server carries nothing out any more."""
        self.is_open = False
        self.connection.close()


class Servers(Protocol):
    """Where a member's requests go."""

    def send(self, link: Link, operation: Operation) -> None:
        """A request sets out on this connection."""

    def reconnect(self, member: "SimulatedMember") -> None:
        """A client has no connection: it tries to get one until it has."""


class SimulatedMember(Participant):
    """What a `zk.membership.Member` is, for one life of a simulated process."""

    def __init__(
        self,
        servers: Servers,
        process: Process,
        presence: Presence,
        on_change: Callable[[], None],
        shard: int,
    ) -> None:
        super().__init__(presence, on_change)
        self.shard = shard
        self.process = process
        self.session = 0  # the newest one's number
        self.seen = 0  # the number of the newest state that an answer came from
        self._servers = servers
        self._life = process.life
        self._link: Link | None = None
        self._is_telling = False
        self._timer = Timer(process.network.world, self._deadline_ns, self._on_due)

    @property
    def is_alive(self) -> bool:
        """Whether the process is, in the same life still."""
        return self.process.is_alive and self.process.life == self._life

    def do(self, act: Callable[[], None]) -> None:
        """Let something reach the process, in this life of it."""
        self.process.do(self._life, act)

    def on_connected(self, link: Link) -> None:
        """There is a connection."""
        session = link.connection.session
        text = "is connected to ZooKeeper, {} session {}"
        self.process.note(text, "same" if session == self.session else "new", session)
        self._link, self.session = link, session
        self._presence.on_connected(session)
        self._carry_out()
        self._tell()

    def on_reply(self, link: Link, reply: Reply, state: int) -> None:
        """Something has come in on a connection."""
        if link is not self._link:
            return
        if reply is None:
            self.give_up(link)
        elif isinstance(reply, str):
            self._presence.on_watch(reply)
            self._carry_out()
        else:
            self.seen = max(self.seen, state)
            self._presence.on_answer(*reply, self.process.network.now_ns)
            self._carry_out()
            self._tell()

    def give_up(self, link: Link) -> None:
        """The connection is lost, or nobody answers on it."""
        link.is_followed = False
        if link is not self._link:
            return
        self.process.note("has no connection to ZooKeeper")
        self._link = None
        self._presence.on_disconnected()
        self._carry_out()
        self._servers.reconnect(self)
        self._tell()

    def check(self) -> None:
        """Raises AssertionError when what is known contradicts itself, or was refused."""
        self._presence.check()
        assert self._known.trouble is None, f"{self.process.name} {self._known.trouble}"

    def _carry_out(self) -> None:
        network = self.process.network
        for operation in self._presence.take_operations(network.now_ns):
            assert self._link is not None
            self.process.send_one()
            self._servers.send(self._link, operation)
        self._timer.set()
        known = self._presence.take_change()
        if known is not None:
            self._known = known
            # Whoever has just asked for something is not told of it while asking.
            if not self._is_telling:
                self._is_telling = True
                network.after(0, partial(self.do, self._tell_what_waits))

    def _tell_what_waits(self) -> None:
        if self._is_telling:
            self._tell()

    def _tell(self) -> None:
        self._is_telling = False
        self._on_change()

    def _deadline_ns(self) -> int | None:
        return self._presence.deadline_ns(self.process.network.now_ns) if self.is_alive else None

    def _on_due(self) -> None:
        self.do(self._carry_out)
