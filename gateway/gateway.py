"""A gateway's logic: sessions, log-ins, streams and the uplink, in one plain object.

Sans-I/O. A shell or a simulator tells it what happened, and then carries out what it asks for:

    session = gateway.connect(host, now_ns)               # a client's connection, and its data:
    gateway.on_data(session, data, now_ns)
    for session in gateway.take_changed():                # after every call
        send(gateway.take_output(session, buffered_bytes, now_ns))   # until it is empty
        read_or_not(session.is_reading)
        if session.closing is not None: close()           # once that is sent
    for verification in gateway.take_verifications():     # look at a secret, and then
        gateway.on_verified(verification.session, client, now_ns)
    for shard in gateway.shards.values():
        send_to_primary(shard.number, shard.uplink.take_output())

A log-in is checked, submitted as a command to the client's home, and answered when the feed shows
it committed. All that a client is told of its orders comes from the feeds, through its stream. What
several shards make of that, and a new day of sessions, stands in docs/gateway.md.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, NamedTuple

from feed.run import Run
from feed.snapshot import WholeSnapshot
from gateway.clients import ClientSettings
from gateway.closing import ClosingReason, session_now
from gateway.days import Days, Standing
from gateway.deadlines import Deadlines
from gateway.home import ToldClients
from gateway.limits import FailedLogIns, Origin, Rates
from gateway.session import Phase, Session, SessionCounters, resume_refusal
from gateway.settings import GatewaySettings
from gateway.shard import GatewayShard
from gateway.shards import (
    DayTurned,
    Happening,
    LoggedIn,
    NotAdmitted,
    SeatOvertaken,
    Shards,
)
from gateway.soup import LoginRequest
from gateway.strangers import Strangers
from gateway.streams import Stream
from zk.directory import Directory

# Slow clients are looked at so often: a tenth of the shortest of the sessions' times, the
# heartbeat's second.
TICK_NS = 100_000_000
# Heartbeats and ends of sessions come so late at most. Few are due at once, however many clients
# there are: nobody waits for a thousand heartbeats in a row.
GRAIN_NS = 10_000_000
# Committed frames not yet delivered here, beyond which a log-in would wait too long for its own
# to come by: about as many as arrive within a second of catching up.
CATCHING_UP_FRAMES = 10_000


class Verification(NamedTuple):
    """A secret to be looked at; answer with `on_verified` or `on_unverifiable`."""

    session: Session
    name: str
    secret: str

    def __repr__(self) -> str:
        return f"Verification({self.name!r})"


class Gateway:
    """All that a gateway knows."""

    def __init__(
        self,
        exchange: str,
        settings: GatewaySettings,
        random: Random,
        wall_clock_ns: Callable[[], int],
        directory: Directory,
    ) -> None:
        """`exchange` names the SoupBinTCP session until the first day that has a name of its own;
        `random` draws the log-ins' numbers; `directory` says which shards there are.

        `wall_clock_ns` gives the time since 1970 for what the gateway itself answers. Raises
        ValueError when the name does not fit its field.
        """
        self.deadline_ns = 0  # when `on_time` wants to be called next
        self._shards = Shards(exchange, settings, random, directory)
        self._settings = settings
        self._wall_clock_ns = wall_clock_ns
        self._failed_log_ins = FailedLogIns(settings.log_ins)
        self._rates = Rates(settings.sessions)
        # Dicts rather than sets: their order is the same in every run.
        self._sessions: dict[Session, None] = {}
        self._strangers = Strangers(settings.connections)
        self._open: dict[int, Session] = {}  # by client; one session for each
        self._clients: dict[int, ClientSettings] = {}  # those who are logged in here
        self._deadlines = Deadlines(GRAIN_NS)
        self._next_tick_ns = 0
        self._held: dict[Session, None] = {}  # those who wait for room in the uplinks
        self._sending: dict[Session, None] = {}  # those who have not taken all that there is
        self._changed: dict[Session, None] = {}
        self._verifications: list[Verification] = []
        self._unverified = 0  # of those that were handed out too
        self._is_stopped = False
        self._session_counters = SessionCounters()
        self._connections = 0
        self._accepted = 0
        self._closed: Counter[ClosingReason] = Counter()

    @property
    def shards(self) -> Mapping[int, GatewayShard]:
        """The shards by their numbers."""
        return self._shards.by_number

    @property
    def pending_count(self) -> int:
        """How many submissions are not known to be committed."""
        return self._shards.pending_count

    def days_of(self, client: int) -> Days:
        """The days that a client's stream has here; there has to be a directory."""
        return self._home_of(client).home.days

    def stream_of(self, client: int) -> Stream:
        """A client's stream of its running day."""
        return self.days_of(client).current.of(client)

    # What happens to a client's connection.

    def connect(self, host: str, now_ns: int) -> Session:
        """Somebody connected; the session is closed at once when there is no room for it."""
        self._connections += 1
        session = Session(
            host,
            self._settings.sessions,
            self._session_counters,
            self._wall_clock_ns,
            now_ns,
        )
        self._sessions[session] = None
        is_welcome = self._strangers.add(session)
        self._deadlines.put(session, session.deadline_ns)
        if self._is_stopped:
            session.close(ClosingReason.GATEWAY_STOPS, now_ns)
        elif len(self._sessions) > self._settings.connections.connections:
            session.close(ClosingReason.TOO_MANY_CONNECTIONS, now_ns)
        elif not is_welcome:
            session.close(ClosingReason.TOO_MANY_STRANGERS, now_ns)
        self._settle(session, now_ns)
        return session

    def on_data(self, session: Session, data: bytes, now_ns: int) -> None:
        """Bytes came from a client."""
        session.receive(data, now_ns)
        self._read(session, now_ns)

    def on_disconnected(self, session: Session, now_ns: int) -> None:
        """A client's connection is gone."""
        self._end(session, ClosingReason.DISCONNECTED, now_ns)
        self._changed.pop(session, None)

    def take_changed(self) -> list[Session]:
        """The sessions that may have something to send, or to close, or another mind to read."""
        changed = list(self._changed)
        self._changed.clear()
        return changed

    def take_output(self, session: Session, buffered_bytes: int, now_ns: int) -> bytes:
        """What to send to a client now; `buffered_bytes` were sent and have not left yet."""
        data = session.take_output(buffered_bytes, now_ns)
        if session.phase is Phase.CLOSED:
            if session in self._sessions:
                self._settle(session, now_ns)
        elif session.has_output:
            self._sending[session] = None
        else:
            self._sending.pop(session, None)
        return data

    # What becomes of a log-in.

    def take_verifications(self) -> list[Verification]:
        """The secrets to look at. There are no more of them under way than `strangers`."""
        taken, self._verifications = self._verifications, []
        return taken

    def on_verified(self, session: Session, client: ClientSettings | None, now_ns: int) -> None:
        """The name and secret of a session are those of this client, or (None) of nobody."""
        self._unverified -= 1
        origin = Origin(session.user, session.host)
        if client is None:
            self._failed_log_ins.failed(origin, now_ns)
        else:
            self._failed_log_ins.succeeded(origin)
        if session.phase is not Phase.CHECKING:
            return  # it has closed meanwhile
        if client is None:
            session.close(ClosingReason.NOT_AUTHORISED, now_ns)
        else:
            self._let_in(session, client, now_ns)
        self._settle(session, now_ns)

    def on_unverifiable(self, session: Session, now_ns: int) -> None:
        """The secret of a session was not looked at."""
        self._unverified -= 1
        self._end(session, ClosingReason.SECRET_NOT_CHECKED, now_ns)

    # What comes from the feeds, the primaries and the directory.

    def on_directory(self, directory: Directory, now_ns: int) -> None:
        """There may be more shards, and symbols may be elsewhere."""
        self._shards.on_directory(directory, now_ns)

    def on_feed(
        self, shard: int, run: Run, epoch: int, committed_sequence: int, now_ns: int
    ) -> None:
        """The next whole committed groups of a list, if any, and what its packets last said.

        `committed_sequence` may be ahead of the groups, while gaps are repaired.
        """
        happenings = self._shards.on_feed(shard, run, epoch, committed_sequence, now_ns)
        self._on_happenings(happenings, now_ns)

    def restore(self, shard: int, snapshot: WholeSnapshot) -> None:
        """A list goes on after the snapshot that a day began with, as if it were its beginning.

        Raises SnapshotError when it is of another place, or a client has been let in already.
        """
        self._on_happenings(self._shards.restore(shard, snapshot), 0)

    def on_uplink_connected(self, shard: int, epoch: int, now_ns: int) -> None:
        """There is a connection to the primary of this epoch, as far as is known."""
        self._shards.on_uplink_connected(shard, epoch, now_ns)

    def on_uplink_lost(self, shard: int, now_ns: int) -> None:
        """The connection to a primary is gone. Clients stay, and wait."""
        self._shards.on_uplink_lost(shard)
        self._read_held(now_ns)

    def on_uplink_data(self, shard: int, data: bytes, now_ns: int) -> None:
        """Bytes came from a primary; raises WireError when they can't be its decisions."""
        self._on_happenings(self._shards.on_uplink_data(shard, data, now_ns), now_ns)

    # Time, and the end.

    def on_time(self, now_ns: int) -> None:
        """Sends heartbeats, closes what is silent or slow."""
        if now_ns >= self._next_tick_ns:
            self._next_tick_ns = now_ns + TICK_NS
            self._changed.update(self._sending)
            self._read_held(now_ns)  # who does not wait for all shards any longer
        for session in self._deadlines.due(now_ns):
            session.on_time(now_ns)
            if session.has_output:
                self._changed[session] = None
            if session.phase is Phase.CLOSED:
                self._settle(session, now_ns)
            else:  # what is overdue waits for the client, or for room in the uplink
                at_ns = session.deadline_ns
                self._deadlines.put(session, at_ns if at_ns > now_ns else self._next_tick_ns)
        self._set_deadline()

    def stop(self, reason: ClosingReason, now_ns: int) -> None:
        """Ends all sessions, and takes no more."""
        self._is_stopped = True
        for session in tuple(self._sessions):
            self._end(session, reason, now_ns)

    def summary(self) -> dict[str, Any]:
        """What the gateway has done, for operators and programs."""
        sessions, all_days = self._session_counters, self._shards.all_days()
        return {
            **self._shards.summary(),
            "day": max((days.day for days in all_days), default=0),
            "connections": self._connections,
            "log_ins": self._accepted,
            "sessions": len(self._open),
            "closed": {reason.value: count for reason, count in self._closed.items()},
            "packets": sessions.packets,
            "commands": sessions.commands,
            "refusals": dict(sessions.refusals),
            "heartbeats_sent": sessions.heartbeats_sent,
            "stream_messages": sum(days.current.message_count for days in all_days),
        }

    def check(self) -> None:
        """Raises AssertionError when the parts do not agree with one another."""
        self._shards.check()
        self._failed_log_ins.check()
        self._deadlines.check(self._sessions, self._next_tick_ns)
        self._strangers.check()
        assert len(self._sessions) <= self._settings.connections.connections
        for session in self._sessions:
            assert session.phase is not Phase.CLOSED, "a closed session is still kept"
            is_stranger = session.phase in (Phase.STRANGER, Phase.CHECKING)
            assert (session in self._strangers) == is_stranger
            assert (self._open.get(session.client) is session) == (session.phase is Phase.OPEN)
        assert all(session in self._sessions for session in self._open.values())
        assert all(session in self._sessions for session in (*self._held, *self._sending))
        assert self._clients.keys() == self._open.keys()

    # How it is done.

    def _read(self, session: Session, now_ns: int) -> None:
        """Takes what the uplink has room for of what a session has received."""
        was_reading = session.is_reading
        room = self._shards.room(session, now_ns) if session.phase is Phase.OPEN else 1
        submissions = session.take_submissions(room, now_ns)
        if submissions.command_count:
            for refusal in self._shards.submit(session, submissions, now_ns):
                session.refuse(refusal, now_ns)
        request = session.take_log_in_request()
        if request is not None:
            self._check_log_in(session, request, now_ns)
        if session.is_held:
            self._held[session] = None
        is_plain = session.closing is None and not session.has_answers
        if not is_plain or session.is_reading is not was_reading:
            self._settle(session, now_ns)

    def _set_deadline(self) -> None:
        next_ns = self._deadlines.next_ns
        self.deadline_ns = (
            self._next_tick_ns if next_ns is None else min(self._next_tick_ns, next_ns)
        )

    def _on_happenings(self, happenings: Iterable[Happening], now_ns: int) -> None:
        for happening in happenings:
            match happening:
                case ToldClients(clients):
                    self._on_told(clients)
                case LoggedIn():
                    self._on_log_in(happening, now_ns)
                case NotAdmitted(session):
                    self._end(session, ClosingReason.LOG_IN_NOT_ADMITTED, now_ns)
                case SeatOvertaken(session):
                    self._end(session, ClosingReason.LOG_IN_OVERTAKEN, now_ns)
                case DayTurned(home):
                    self._begin_day(home, now_ns)
        self._read_held(now_ns)

    def _on_told(self, clients: Iterable[int]) -> None:
        for client in clients:
            session = self._open.get(client)
            if session is not None:
                self._changed[session] = None

    def _read_held(self, now_ns: int) -> None:
        for session in tuple(self._held):
            if self._shards.has_room_again(session, now_ns):
                del self._held[session]
                self._read(session, now_ns)

    def _home_of(self, client: int) -> GatewayShard:
        home = self._shards.home_of(client)
        assert home is not None, "there is no directory yet"
        return home

    def _check_log_in(self, session: Session, request: LoginRequest, now_ns: int) -> None:
        # Who hangs up leaves its secret behind, so connections alone do not bound these.
        all_days = self._shards.all_days()
        standings = {days.standing(session.requested_session) for days in all_days}
        if standings == {Standing.UNKNOWN}:
            self._refuse_session(session, all_days[0], now_ns)
        elif self._unverified >= self._settings.connections.strangers:
            session.close(ClosingReason.SECRET_NOT_CHECKED, now_ns)
        elif not self._failed_log_ins.start(Origin(session.user, session.host), now_ns):
            session.close(ClosingReason.TOO_MANY_FAILURES, now_ns)
        else:
            self._unverified += 1
            self._verifications.append(Verification(session, session.user, request.password))

    def _let_in(self, session: Session, client: ClientSettings, now_ns: int) -> None:
        """Asks for the log-in of a client whose secret is right, if it can be let in."""
        home = self._shards.home_of(client.number)
        if home is None or not self._is_up_to_date(home):
            session.close(ClosingReason.CATCHING_UP, now_ns)
            return
        days = home.home.days
        standing = days.standing(session.requested_session)
        if standing is Standing.LATER:
            session.close(ClosingReason.CATCHING_UP, now_ns)
        elif standing is Standing.UNKNOWN:
            self._refuse_session(session, days, now_ns)
        elif standing is Standing.BEFORE:
            self._show_day_before(session, client, now_ns)
        elif home.uplink.is_crowded:
            session.close(ClosingReason.TOO_MUCH_WAITING, now_ns)
        else:
            stream = days.current.of(client.number)
            refusal = resume_refusal(stream, session.requested_sequence)
            if refusal is not None:
                session.close(refusal, now_ns)
            else:
                home.log_ins.submit(session, client, now_ns)

    def _is_up_to_date(self, home: GatewayShard) -> bool:
        """Whether a log-in there would soon be heard of."""
        behind = home.committed_sequence - home.heard_sequence
        return home.home.is_known and not home.is_catching_up and behind <= CATCHING_UP_FRAMES

    def _refuse_session(self, session: Session, days: Days, now_ns: int) -> None:
        session.close(ClosingReason.UNKNOWN_SESSION, now_ns, session_now(days.name))

    def _show_day_before(self, session: Session, client: ClientSettings, now_ns: int) -> None:
        """Has a client read what it has not had of the day before; it can do nothing else there.

        Nothing of that goes through the list: a session that the client has in this day goes on.
        """
        days = self.days_of(client.number)
        assert days.before is not None
        self._accept(session, client, days.name_before, days.before.of(client.number), now_ns)
        if session.phase is Phase.OPEN:
            self._strangers.remove(session)
            session.end_day(days.name, now_ns)
            self._deadlines.put(session, session.deadline_ns)

    def _accept(
        self, session: Session, client: ClientSettings, name: str, stream: Stream, now_ns: int
    ) -> None:
        number = client.number
        session.accept(
            number,
            name,
            stream,
            self._rates.of(client),
            lambda: self._shards.last_user_ref_num(number),
            now_ns,
        )

    def _begin_day(self, home: int, now_ns: int) -> None:
        """Every session of a home's clients ends with its day, once they have had all of that."""
        shard = self._shards.by_number[home]
        for session in tuple(self._sessions):
            if session.phase is Phase.ENDING and self._shards.home_of(session.client) is shard:
                # Of the day before, which is now dropped.
                self._end(session, ClosingReason.SLOW_CLIENT, now_ns)
        for client, session in tuple(self._open.items()):
            if self._shards.home_of(client) is not shard:
                continue
            del self._open[client]
            del self._clients[client]  # so its orders are not canceled: the client is not gone
            self._held.pop(session, None)
            self._shards.leave(session, None, now_ns)
            session.end_day(shard.home.days.name, now_ns)
            self._deadlines.put(session, session.deadline_ns)
            self._settle(session, now_ns)

    def _on_log_in(self, logged_in: LoggedIn, now_ns: int) -> None:
        """A client has logged in, here or elsewhere: whatever session it had is over."""
        command, _, log_in = logged_in
        for session in self._home_of(command.client).log_ins.overtaken(command.client):
            self._end(session, ClosingReason.LOG_IN_OVERTAKEN, now_ns)
        current = self._open.get(command.client)
        if current is not None:
            is_its_own = command.login in current.earlier_logins
            reason = ClosingReason.LOG_IN_OVERTAKEN if is_its_own else ClosingReason.SUPERSEDED
            self._end(current, reason, now_ns)
        if log_in is not None:
            self._open_session(log_in.asker, log_in.client, logged_in.sequence, now_ns)

    def _open_session(
        self, session: Session, client: ClientSettings, sequence: int, now_ns: int
    ) -> None:
        """Lets a client in whose log-in is committed, at this place of its home's list."""
        days = self.days_of(client.number)
        standing = days.standing(session.requested_session)
        if standing is Standing.CURRENT:
            stream = days.current.of(client.number)
            self._accept(session, client, days.name, stream, now_ns)
        elif standing is Standing.BEFORE:  # that day was over before the log-in took effect
            self._show_day_before(session, client, now_ns)
        else:
            self._refuse_session(session, days, now_ns)
        if session.phase is not Phase.OPEN:
            # Where its day is over, the client comes back for the next one; else it is gone.
            is_gone = session.closing not in (None, ClosingReason.DAY_IS_OVER)
            self._shards.leave(session, client if is_gone else None, now_ns)
            self._settle(session, now_ns)
            return
        self._accepted += 1
        self._strangers.remove(session)
        self._open[client.number] = session
        self._clients[client.number] = client
        self._deadlines.put(session, session.deadline_ns)
        self._shards.enter(session, client, sequence, now_ns)
        self._read(session, now_ns)

    def _end(self, session: Session, reason: ClosingReason, now_ns: int) -> None:
        session.close(reason, now_ns)
        self._settle(session, now_ns)

    def _settle(self, session: Session, now_ns: int) -> None:
        """Has the shell look at a session, and forgets it once it is closed."""
        self._changed[session] = None
        if session.closing is None or session not in self._sessions:
            return
        del self._sessions[session]
        self._held.pop(session, None)
        self._sending.pop(session, None)
        self._deadlines.remove(session)
        self._closed[session.closing] += 1
        self._strangers.remove(session)
        if self._open.get(session.client) is session:
            del self._open[session.client]
            client: ClientSettings | None = self._clients.pop(session.client)
        else:
            client = self._shards.give_up(session)
        if session.closing is ClosingReason.SUPERSEDED:
            client = None  # it is not gone
        self._shards.leave(session, client, now_ns)
