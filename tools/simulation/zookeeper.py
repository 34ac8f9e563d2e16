"""A ZooKeeper ensemble in virtual time: what it guarantees to the processes of a shard, no more.

Each client is on a server of its own, which may lag behind. Requests and answers take their time,
in their order, and wait while a client is cut off. A connection that ends takes with it what was
under way, which was carried out or not. Clients ping; a session that was not heard of for its
time-out ends, with its nodes, whatever its client knows of that.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random

from tools.simulation.network import Network, Process
from tools.simulation.world import MICROSECOND_NS, MILLISECOND_NS
from tools.simulation.zookeeper_member import Link, Reply, SimulatedMember
from tools.simulation.zookeeper_tree import Connection, History, State
from zk.election import PrimaryRecord
from zk.nodes import ShardNodes, decode_epoch, decode_primary
from zk.operations import Create, Operation, SetData, Write
from zk.presence import Identity, Presence

SHORTEST_NS, LONGEST_NS = 200 * MICROSECOND_NS, 3 * MILLISECOND_NS  # on the way, and on a disk
# Of the times that a server is behind, so many are long ones.
LONG_LAG_SHARE, LONGEST_LAG_NS = 0.02, 150 * MILLISECOND_NS
LONGEST_RESEND_NS = 300 * MILLISECOND_NS  # until a packet that did not pass is sent again
RECONNECT_NS = 50 * MILLISECOND_NS  # between two attempts of a client, at least; twice that at most
START_JITTER_NS = MILLISECOND_NS  # no two processes of one name start at the same nanosecond


class _Session:
    """What the ensemble knows of a client."""

    def __init__(self, number: int, link: Link, heard_ns: int) -> None:
        self.number = number
        self.link = link  # its newest connection
        self.heard_ns = heard_ns  # when it was last heard of

    @property
    def name(self) -> str:
        """The process's."""
        return self.link.member.process.name


@dataclass(slots=True)
class Realm:
    """Who led one shard, and when."""

    nodes: ShardNodes
    epoch: int = 0  # the newest one granted
    grants: list[tuple[int, str]] = field(default_factory=list)  # in their order, with who got it
    # The epochs that were tried for, and by whom.
    attempts: list[tuple[int, str]] = field(default_factory=list)


class Ensemble:
    """The servers of an exchange's ZooKeeper, and the network between them and the processes."""

    def __init__(
        self, network: Network, *, session_timeout_ns: int, exchange: str = "SIM", shard: int = 1
    ) -> None:
        """`shard` is the first one; others come with those who join them."""
        self.has_quorum = True
        self._network = network
        self._random = Random(network.random.getrandbits(64))
        self._session_timeout_ns = session_timeout_ns
        self._exchange = exchange
        self._first = shard
        self._realms: dict[int, Realm] = {}
        self._history = History()
        self._sessions: dict[int, _Session] = {}  # those that live
        self._members: dict[tuple[str, int], SimulatedMember] = {}  # by process and shard

    def realm(self, shard: int) -> Realm:
        """What is known of a shard."""
        realm = self._realms.get(shard)
        if realm is None:
            nodes = ShardNodes.of("/lockstep", self._exchange, shard)
            realm = self._realms[shard] = Realm(nodes)
        return realm

    @property
    def epoch(self) -> int:
        """The newest epoch that was granted in the first shard."""
        return self.realm(self._first).epoch

    @property
    def grants(self) -> list[tuple[int, str]]:
        """What was granted in the first shard."""
        return self.realm(self._first).grants

    @property
    def attempts(self) -> list[tuple[int, str]]:
        """What was tried for in the first shard."""
        return self.realm(self._first).attempts

    @property
    def clients(self) -> list[str]:
        """The processes that have a session, one name for each session."""
        return [session.name for session in self._sessions.values()]

    @property
    def paths(self) -> list[str]:
        """All nodes that there are."""
        return sorted(self._history.tree)

    def join(
        self,
        process: Process,
        *,
        role: str,
        holder: bool,
        commands: str | None,
        on_change: Callable[[], None],
        memory: str = "",
        shard: int | None = None,
    ) -> SimulatedMember:
        """A process has started; `commands` is where a replica takes them as primary, `memory`
        names what it remembers of earlier ones. The shard is the first one, unless it is named."""
        shard = self._first if shard is None else shard
        started_ns = process.wall_clock_ns() + self._random.randrange(START_JITTER_NS)
        presence = Presence(
            self.realm(shard).nodes,
            Identity(process.name, role, holder, commands, started_ns, memory),
            return_time_ns=self._session_timeout_ns,
        )
        member = SimulatedMember(self, process, presence, on_change, shard)
        self._members[process.name, shard] = member
        self._network.after(0, partial(self._dial, member))
        return member

    # What befalls it.

    def lose_quorum(self) -> None:
        """Nothing is answered from here on, and all connections are dropped."""
        if self.has_quorum:
            self._note("has lost its quorum")
            for session in self._sessions.values():
                self._break(session.link)
            self.has_quorum = False

    def return_quorum(self) -> None:
        """It works again; no session has ended meanwhile, and each has all its time again."""
        if not self.has_quorum:
            self._note("has a quorum again")
            self.has_quorum = True
            for session in self._sessions.values():
                session.heard_ns = self._network.now_ns

    def forget_everything(self) -> None:
        """Its only server starts again with nothing: no nodes, no sessions, no epochs."""
        self._note("has forgotten everything")
        for session in tuple(self._sessions.values()):
            self._break(session.link)
            self._history.sessions.discard(session.number)
        self._sessions.clear()
        self._history.append({})
        for realm in self._realms.values():
            realm.epoch = 0
            realm.grants.clear()

    def drop_connection(self, name: str) -> None:
        """The server of this process is gone; its session goes on, on another one."""
        for session in tuple(self._sessions.values()):
            if session.name == name:
                self._break(session.link)

    def expire(self, name: str) -> None:
        """The sessions of this process end now, whether it lives or not; not without a quorum."""
        for session in tuple(self._sessions.values()):
            if session.name == name and self.has_quorum:
                self._end(session)

    def check(self) -> None:
        """Raises AssertionError when its books are not in order, or an epoch was granted twice."""
        for realm in self._realms.values():
            epochs = [epoch for epoch, _ in realm.grants]
            is_one_by_one = epochs == sorted(set(epochs))
            assert is_one_by_one, f"epochs were not granted one by one: {realm.grants}"
            assert realm.epoch >= max(epochs, default=0), "a granted epoch is forgotten"
        assert self._history.sessions == set(self._sessions), "these are not those that live"
        for path, node in self._history.tree.items():
            assert not node.owner or node.owner in self._sessions, f"{path} outlives its session"
        for member in self._members.values():
            member.check()

    # What clients do, with `SimulatedMember`.

    def reconnect(self, member: SimulatedMember) -> None:
        """A client has no connection: it tries to get one until it has."""
        pause_ns = RECONNECT_NS + self._random.randrange(RECONNECT_NS)
        self._network.after(pause_ns, partial(self._dial, member))

    def send(self, link: Link, operation: Operation) -> None:
        """A request sets out on this connection."""
        link.connection.requests.append(operation)
        self._request_is_on_its_way(link, self._latency_ns())

    # Connections.

    def _dial(self, member: SimulatedMember) -> None:
        member.do(partial(self._ask_for_connection, member))

    def _ask_for_connection(self, member: SimulatedMember) -> None:
        member.process.send_one()
        self._network.after(self._latency_ns(), partial(self._accept, member))

    def _accept(self, member: SimulatedMember) -> None:
        """A server has been asked for a connection, with the session that the client has."""
        if not (self.has_quorum and member.process.reaches_zookeeper):
            self.reconnect(member)
            return
        now_ns = self._network.now_ns
        session = self._sessions.get(member.session)
        number = self._history.new_session() if session is None else session.number
        link = Link(member, Connection(self._history, number, self._server_state(member.seen)))
        if session is None:
            session = self._sessions[number] = _Session(number, link, now_ns)
            self._look_after(session)
        else:
            session.link.close()  # it is served at one place only
            session.link, session.heard_ns = link, now_ns
        delay_ns = self._latency_ns() + member.process.lag_ns
        link.delivers_ns = now_ns + delay_ns  # nothing is told before
        self._network.after(delay_ns, partial(self._welcome, link))
        self._catch_up_later(link)

    def _welcome(self, link: Link) -> None:
        member = link.member
        if member.process.reaches_zookeeper:
            member.do(partial(member.on_connected, link))
        else:
            link.is_followed = False
            self.reconnect(member)

    def _server_state(self, seen: int) -> State:
        """Where the server of a new connection is: as far as another one, never before `seen`."""
        newest = self._history.newest
        links = [session.link for session in self._sessions.values() if session.link.is_open]
        states = [link.connection.state for link in links]
        return self._random.choice([newest, *(each for each in states if each.number >= seen)])

    def _break(self, link: Link) -> None:
        """A connection ends at the server: what is under way has been done or not, told or not."""
        if not link.is_open:
            return
        requests, outgoing = link.connection.requests, link.outgoing
        if link.member.process.reaches_zookeeper:
            for _ in range(self._random.randint(0, len(requests))):
                self._serve(link)
        told = self._random.randint(0, len(outgoing))
        while len(outgoing) > told:
            outgoing.pop()
        self._network.count("ZooKeeper connection lost")
        self._close(link)

    def _close(self, link: Link) -> None:
        if link.is_open:
            link.close()
            self._reply(link, None)

    # Sessions.

    def _latency_ns(self) -> int:
        return self._random.randrange(SHORTEST_NS, LONGEST_NS)

    def _note(self, text: str) -> None:
        self._network.trace.note("zookeeper", text)

    def _look_after(self, session: _Session) -> None:
        """Whether a client is heard: it pings when a third of its session's time-out is over.

        It gives a connection up itself after two thirds without an answer.
        """
        now_ns, timeout_ns = self._network.now_ns, self._session_timeout_ns
        link = session.link
        if self.has_quorum and link.is_heard:
            session.heard_ns = now_ns
        silent_ns = now_ns - session.heard_ns
        if link.is_followed and link.member.process.runs and silent_ns >= timeout_ns * 2 // 3:
            link.member.do(partial(link.member.give_up, link))
        if session.number in self._sessions and self.has_quorum and silent_ns >= timeout_ns:
            self._end(session)
        if session.number in self._sessions or (link.is_followed and link.member.is_alive):
            due_ns = (
                now_ns + timeout_ns // 3,
                session.heard_ns + timeout_ns * 2 // 3,
                session.heard_ns + timeout_ns,
            )
            next_ns = min(each_ns for each_ns in due_ns if each_ns > now_ns)
            self._network.world.at(next_ns, partial(self._look_after, session))

    def _end(self, session: _Session) -> None:
        self._network.count("ZooKeeper session ended")
        session.link.member.process.note("session {} with ZooKeeper ends", session.number)
        del self._sessions[session.number]
        self._history.expire(session.number)
        self._on_new_state()
        # Its server hears of that like all the others, and serves what only reads until then.
        self._network.after(self._latency_ns(), partial(self._close, session.link))

    # Requests and replies.

    def _request_is_on_its_way(self, link: Link, delay_ns: int) -> None:
        link.arrives_ns = max(link.arrives_ns, self._network.now_ns + delay_ns)
        self._network.world.at(link.arrives_ns, partial(self._on_request, link))

    def _on_request(self, link: Link) -> None:
        """The next request is there; a process that is dead or paused has sent it before."""
        if not (link.is_open and link.connection.requests):
            return
        if link.member.process.reaches_zookeeper:
            self._serve(link)
        else:
            self._resend(partial(self._on_request, link))

    def _serve(self, link: Link) -> None:
        connection, history = link.connection, self._history
        before, request = history.newest, connection.requests[0].request
        count = len(connection.requests)
        session = self._sessions.get(connection.session)
        if session is not None:
            session.heard_ns = self._network.now_ns
        connection.serve()
        if len(connection.requests) == count:  # its second part comes a round trip later
            self._request_is_on_its_way(link, self._latency_ns() + self._latency_ns())
        record = self._taken(request) if isinstance(request, Write) else None
        if record is not None:
            realm = self.realm(link.member.shard)
            realm.attempts.append((record.epoch, record.name))
            if history.newest is not before:
                realm.grants.append((record.epoch, record.name))
                link.member.process.note("is granted epoch {}", record.epoch)
        if history.newest is not before:
            self._on_new_state()
        self._send_replies(link)

    def _taken(self, request: Write) -> PrimaryRecord | None:
        """Whom a transaction makes primary of a new epoch; None when it is for something else."""
        data = {
            type(change): change.data
            for change in request.changes
            if isinstance(change, Create | SetData)
        }
        return decode_primary(data[Create]) if data.keys() == {Create, SetData} else None

    def _on_new_state(self) -> None:
        """The servers hear of it in their time."""
        for realm in self._realms.values():
            node = self._history.tree.get(realm.nodes.epoch)
            realm.epoch = 0 if node is None else decode_epoch(node.data)
        for session in self._sessions.values():
            self._catch_up_later(session.link)

    def _catch_up_later(self, link: Link) -> None:
        if link.is_open and link.connection.lag and not link.is_catching_up:
            link.is_catching_up = True
            delay_ns = self._latency_ns()
            if self._random.random() < LONG_LAG_SHARE:
                self._network.count("ZooKeeper server lagged")
                delay_ns = self._random.randrange(LONGEST_LAG_NS)
            self._network.after(delay_ns, partial(self._catch_up, link))

    def _catch_up(self, link: Link) -> None:
        link.is_catching_up = False
        if link.is_open:
            for _ in range(self._random.randint(min(1, link.connection.lag), link.connection.lag)):
                link.connection.catch_up()
            self._send_replies(link)
            self._catch_up_later(link)

    def _send_replies(self, link: Link) -> None:
        replies = link.connection.replies
        while replies:
            self._reply(link, replies.popleft())

    def _reply(self, link: Link, reply: Reply) -> None:
        link.outgoing.append((reply, link.connection.state.number))
        delay_ns = self._latency_ns() + link.member.process.lag_ns
        link.delivers_ns = max(link.delivers_ns, self._network.now_ns + delay_ns)
        self._network.world.at(link.delivers_ns, partial(self._deliver, link))

    def _deliver(self, link: Link) -> None:
        """The next reply is there."""
        member, outgoing = link.member, link.outgoing
        if not (outgoing and link.is_followed and member.is_alive):
            outgoing.clear()
        elif member.process.reaches_zookeeper:
            member.do(partial(member.on_reply, link, *outgoing.popleft()))
        else:
            self._resend(partial(self._deliver, link))

    def _resend(self, act: Callable[[], None]) -> None:
        self._network.after(self._random.randrange(LONGEST_RESEND_NS), act)
