"""All shards of an exchange as a gateway sees them, and each session's way into them.

Sans-I/O, and told what happened as `gateway.gateway` is. What the lists bring about for sessions
comes back as happenings, one after the other; each is to be dealt with before the next is drawn.
How it works together stands in docs/gateway.md.
"""

from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple, TypeAlias

from feed.datagrams import Submission, encode_submission
from feed.messages import ALL_SYMBOLS, CancelReason, LogIn, MassCancel, pad
from feed.run import Run, type_bit
from feed.schema import FrameType
from feed.snapshot import SnapshotError, WholeSnapshot
from gateway.clients import ClientSettings
from gateway.days import Days, read_day
from gateway.home import Day, Home, OwnMessages, ToldClients, Turned
from gateway.kernel import tell
from gateway.log_ins import WaitingLogIn
from gateway.numbers import Numbers
from gateway.routing import Routed, Router, relabeled, remember_mass_cancels
from gateway.seats import Seat, Seats
from gateway.session import Session
from gateway.settings import GatewaySettings
from gateway.shard import GatewayShard
from gateway.soup import SESSION_BYTES
from gateway.told_parts import ToldPart, with_answers_apart
from gateway.translate import Refusal
from gateway.turning_points import Admission, Adoption, DayBegan, Mark, NewEpoch, Part, steps
from gateway.uplink import Submissions
from zk.directory import Directory

# What another list may have for the clients of a home who are all away, before their streams go on
# with it: far less than a stream may have.
UNMARKED_LIMIT_BYTES = 1 << 20
_MASS_CANCEL = type_bit(FrameType.MASS_CANCEL)


class LoggedIn(NamedTuple):
    """A client has logged in, here or elsewhere."""

    command: LogIn
    sequence: int  # in the list of its home
    log_in: WaitingLogIn[Session] | None  # None: elsewhere


class NotAdmitted(NamedTuple):
    """The log-in of a session was refused."""

    session: Session


class SeatOvertaken(NamedTuple):
    """A log-in that a session had asked for anew took effect after that: what it sends is void."""

    session: Session


class DayTurned(NamedTuple):
    """A day has begun for the clients that are at home in a shard."""

    home: int


Happening: TypeAlias = ToldClients | LoggedIn | NotAdmitted | SeatOvertaken | DayTurned


class Shards:
    """The lists, the uplinks, and the seats of all sessions."""

    def __init__(
        self, exchange: str, settings: GatewaySettings, random: Random, directory: Directory
    ) -> None:
        """`exchange` names the session before the first day; `random` draws log-ins' numbers.

        Raises ValueError when the name does not fit its field.
        """
        pad(exchange, SESSION_BYTES)
        self.by_number: dict[int, GatewayShard] = {}
        self._exchange = exchange
        self._settings = settings
        self._random = random
        self._numbers = Numbers()
        self._directory = directory
        self._router = Router(directory, self._numbers)
        self._homes: dict[int, int] = {}  # by client
        self._sources: dict[int, set[int]] = {}  # by shard: where its symbols have been before
        self._seats: dict[Session, Seats] = {}
        self._open: dict[int, Session] = {}  # of those that have seats, by client
        # Clients that are gone and wanted their orders canceled, until they log in again: with what
        # they were logged in by in each shard.
        self._gone: dict[int, tuple[ClientSettings, dict[int, Session | Seat]]] = {}
        self._wanted: dict[tuple[int, int], None] = {}  # marks: of a home, for another shard
        # Seats in a shard whose list the home has no mark of yet, by home and shard: what happens
        # there to the client of a home is not to come before the first mark.
        self._unmarked: dict[tuple[int, int], list[Seat]] = {}
        self.on_directory(directory, 0)

    def home_of(self, client: int) -> GatewayShard | None:
        """The shard whose list decides a client's stream; None while there is no directory."""
        return self.by_number[self._home_number(client)] if self.by_number else None

    def all_days(self) -> list[Days]:
        """The days of every home."""
        return [self.by_number[number].home.days for number in self._directory.homes]

    @property
    def pending_count(self) -> int:
        """How many submissions are not known to be committed."""
        return sum(shard.uplink.pending_count for shard in self.by_number.values())

    # What happens in the exchange.

    def on_directory(self, directory: Directory, now_ns: int) -> None:
        """There may be more shards, and symbols may be elsewhere."""
        self._directory = directory
        self._router.on_directory(directory)
        self._sources = {number: set() for number in directory.shards}
        for shards in directory.symbols.values():
            self._sources[shards[-1]].update(shards[:-1])
        for number in directory.shards:
            if number not in self.by_number:
                self._add_shard(number, now_ns)
        self._send_marks(now_ns)

    def on_feed(
        self, number: int, run: Run, epoch: int, committed_sequence: int, now_ns: int
    ) -> Iterator[Happening]:
        """The next whole committed groups of a list, if any, and what its packets last said."""
        shard = self.by_number[number]
        shard.uplink.on_feed_epoch(epoch)
        shard.committed_sequence = committed_sequence
        for step in steps(run):
            match step:
                case Part(groups, last_sequence):
                    self._hear(shard, groups, last_sequence, bool(run.types & _MASS_CANCEL))
                case Admission():
                    yield from self._hear_log_in(shard, step, now_ns)
                case NewEpoch(list_epoch):
                    yield from self._decide(shard)  # what the earlier ones decided so far stands
                    shard.list_epoch = list_epoch
                case DayBegan(day, sequence):
                    begun = Day(day, sequence, self._numbers.all_last_in(number))
                    shard.home.hear(begun)
                    for other in self._others(number):
                        other.home.others[number].begin_day(begun)
                        self._want_mark(other.number, number)
                case Mark():
                    shard.home.hear(step)
                case Adoption():
                    self._numbers.adopt(step.client, step.user_ref_num, number)
                    self._cancel_adopted(shard, step, now_ns)
        yield from self._decide(shard)
        if run:
            yield from self._proceed(now_ns)
        self._send_marks(now_ns)

    def restore(self, number: int, snapshot: WholeSnapshot) -> Iterator[Happening]:
        """A list goes on after the snapshot that a day began with, as if it were its beginning.

        Raises SnapshotError when it is of another place, or a client has been let in already.
        """
        shard = self.by_number[number]
        assert snapshot.head.sequence >= shard.heard_sequence
        if any(self.home_of(client) is shard for client in self._open):
            raise SnapshotError("it comes too late: clients are being told what came before it")
        state = read_day(snapshot, orders=len(self.by_number) > 1)
        shard.heard_sequence = snapshot.head.sequence
        shard.list_epoch = snapshot.head.epoch
        self._numbers.restore(number, state)
        day = Day(state.day, snapshot.head.sequence, state.last_user_ref_nums)
        shard.home.restore(day, state.marks)
        for other in self._others(number):
            other.home.others[number].restore(day)
            self._want_mark(other.number, number)
            self._want_mark(number, other.number)
        yield from self._proceed(0)

    def on_uplink_connected(self, number: int, epoch: int, now_ns: int) -> None:
        """There is a connection to the primary of this epoch, as far as is known."""
        shard = self.by_number[number]
        shard.uplink.on_connected(epoch, now_ns)
        shard.log_ins.on_uplink_connected(now_ns)
        shard.seats.on_uplink_connected(now_ns)

    def on_uplink_lost(self, number: int) -> None:
        """The connection to a primary is gone."""
        shard = self.by_number[number]
        logins = shard.uplink.on_lost()
        shard.log_ins.on_uplink_lost(logins)
        shard.seats.on_uplink_lost(logins)

    def on_uplink_data(self, number: int, data: bytes, now_ns: int) -> Iterator[Happening]:
        """Bytes came from a primary; raises WireError when they can't be its decisions."""
        shard = self.by_number[number]
        shard.uplink.on_data(data, now_ns)
        return self._decide(shard)

    # What sessions do.

    def enter(
        self, session: Session, client: ClientSettings, home_sequence: int, now_ns: int
    ) -> None:
        """A session is open, by the log-in at this place of its home's list."""
        home = self.home_of(client.number)
        assert home is not None
        seats = self._seats[session] = Seats(home.number, client, home_sequence, now_ns)
        seats.is_fresh = not self._numbers.last(client.number)
        self._open[client.number] = session
        for shard in self._others(home.number):
            self._add_seat(session, seats, shard, now_ns)
            if home.home.others[shard.number].has_messages:
                self._want_mark(home.number, shard.number)
        self._send_marks(now_ns)

    def leave(self, session: Session, client: ClientSettings | None, now_ns: int) -> None:
        """A session is over; `client` is gone, if it is given: its orders may be to be canceled."""
        if client is not None and not client.cancel_on_disconnect:
            client = None
        seats = self._seats.pop(session, None)
        askers: dict[int, Session | Seat] = {}
        if client is not None:
            home = self.home_of(client.number)
            assert home is not None
            askers[home.number] = session
            self._gone[client.number] = client, askers
        if seats is not None:
            askers.update(self._take_seats(session, seats))
        if client is not None:
            for number, asker in askers.items():
                self._cancel_orders(self.by_number[number], client, asker, now_ns)

    def give_up(self, session: Session) -> ClientSettings | None:
        """A session waits no longer; whose log-in it was, if that may take effect all the same."""
        given_up = [shard.give_up(session) for shard in self.by_number.values()]
        return next(filter(None, given_up), None)

    def last_user_ref_num(self, client: int) -> int:
        """The largest number that a client has used, in any shard."""
        return self._numbers.last(client)

    def room(self, session: Session, now_ns: int) -> int:
        """How many more commands of a session may go out."""
        seats, client = self._seats[session], session.client
        home = self.by_number[seats.home]
        if not seats.by_shard:
            return home.uplink.room(client)
        if not seats.are_settled(now_ns):
            return 0
        return min(
            shard.room(client, len(seats.waiting.get(number, ())))
            for number, shard in self.by_number.items()
        )

    def has_room_again(self, session: Session, now_ns: int) -> bool:
        """Whether a session that had to wait should be read again: not before half is free."""
        seats, client = self._seats[session], session.client
        home = self.by_number[seats.home]
        if not seats.by_shard:
            return home.uplink.has_room_again(client)
        return seats.are_settled(now_ns) and all(
            shard.has_room_again(client, len(seats.waiting.get(number, ())))
            for number, shard in self.by_number.items()
        )

    def submit(self, session: Session, submissions: Submissions, now_ns: int) -> list[Refusal]:
        """Takes a session's commands on their way; returns those that go nowhere."""
        seats, client = self._seats[session], session.client
        if seats.is_fresh and not seats.by_shard:
            remember_mass_cancels(submissions.data, seats)
            uplink = self.by_number[seats.home].uplink
            uplink.submit_all(client, session.login, submissions, now_ns)
            return []
        refusals: list[Refusal] = []
        by_shard: dict[int, list[bytes]] = {}
        for route in self._router.routes(client, submissions.data, seats):
            match route:
                case Refusal():
                    refusals.append(route)
                case Routed(number, submission):
                    by_shard.setdefault(number, []).append(submission)
        for number, commands in by_shard.items():
            seats.waiting.setdefault(number, []).extend(commands)
            self._submit_waiting(session, seats, number, now_ns)
        return refusals

    def summary(self) -> dict[str, Any]:
        """How far the lists are known, and what has gone to the primaries."""
        by_number = {str(number): shard.summary() for number, shard in self.by_number.items()}
        return next(iter(by_number.values())) if len(by_number) == 1 else {"shards": by_number}

    def check(self) -> None:
        """Raises AssertionError when the parts do not agree with one another."""
        self._numbers.check()
        for shard in self.by_number.values():
            shard.check()
        assert set(self._open.values()) <= self._seats.keys()
        for seats in self._seats.values():
            assert {seats.home, *seats.by_shard} == self.by_number.keys()

    # How it is done.

    def _home_number(self, client: int) -> int:
        number = self._homes.get(client)
        if number is None:
            number = self._homes[client] = self._directory.home_of(client)
        return number

    def _others(self, number: int) -> list[GatewayShard]:
        return [shard for shard in self.by_number.values() if shard.number != number]

    def _add_shard(self, number: int, now_ns: int) -> None:
        home = Home(number, self._exchange, self._settings.stream_limit_bytes)
        added = GatewayShard(number, home, self._settings.uplink, self._random)
        for shard in self.by_number.values():
            shard.home.add_other(number, 0)
            home.add_other(shard.number, shard.heard_sequence)
            self._want_mark(shard.number, number)
            self._want_mark(number, shard.number)
        self.by_number[number] = added
        for session, seats in self._seats.items():
            self._add_seat(session, seats, added, now_ns)

    def _add_seat(self, session: Session, seats: Seats, shard: GatewayShard, now_ns: int) -> None:
        """Has a session log in at another shard, once its home has a mark of that."""
        seat = seats.by_shard[shard.number] = Seat(shard.number, session, seats)
        self._complete_mass_cancels(session, seats, shard.number)
        if shard.number in self.by_number[seats.home].home.marks:
            self._log_in(seat, now_ns)
        else:
            pair = seats.home, shard.number
            self._unmarked.setdefault(pair, []).append(seat)
            self._want_mark(*pair)

    def _log_in(self, seat: Seat, now_ns: int) -> None:
        seats = seat.seats
        log_ins = self.by_number[seat.shard].seats
        log_ins.submit(seat, seats.client, now_ns, seats.home_sequence)

    def _take_seats(self, session: Session, seats: Seats) -> dict[int, Seat]:
        """A session has no seats any more; those where its log-in counts or may yet do so."""
        if self._open.get(session.client) is session:
            del self._open[session.client]
            self._numbers.forget_sent(session.client)
        left = {}
        for number, seat in seats.by_shard.items():
            unmarked = self._unmarked.get((seats.home, number), [])
            if seat in unmarked:
                unmarked.remove(seat)
            given_up = seat.login != 0 and self.by_number[number].seats.give_up(seat) is not None
            if seat.is_taken or given_up:
                left[number] = seat
        return left

    def _submit_waiting(self, session: Session, seats: Seats, number: int, now_ns: int) -> None:
        """Has what waits for a shard go out, if the session is logged in there.

        Where the shard has symbols that were in others before, it has to be logged in there, too:
        what the client sent there before is known from then on.
        """
        needed = {number, *self._sources.get(number, ())} - {seats.home}
        if not all(seats.by_shard[each].is_taken for each in needed):
            return
        commands = seats.waiting.pop(number, [])
        if len(needed) > 1:  # where they were used meanwhile, by an earlier session
            client = session.client
            commands = [each for each in commands if not self._router.is_repeat(client, each)]
        if not commands:
            return
        login = session.login
        if number != seats.home:
            login = seats.by_shard[number].login
            commands = [relabeled(command, login) for command in commands]
        self.by_number[number].submit(session.client, login, commands, now_ns)

    def _cancel_adopted(self, shard: GatewayShard, order: Adoption, now_ns: int) -> None:
        """Has an order canceled that its client canceled while it was on its way to this shard.

        Where it came from it was gone by then, so the cancel found nothing there.
        """
        session = self._open.get(order.client)
        if session is not None:
            seats = self._seats[session]
            cancel = seats.cancels.of(order.client, order.user_ref_num, order.symbol)
            if cancel is not None:
                seats.waiting.setdefault(shard.number, []).append(cancel)
                self._submit_waiting(session, seats, shard.number, now_ns)
        elif order.client in self._gone:
            client, askers = self._gone[order.client]
            if shard.number in askers:
                self._cancel_orders(shard, client, askers[shard.number], now_ns)

    def _cancel_orders(
        self, shard: GatewayShard, client: ClientSettings, asker: Session | Seat, now_ns: int
    ) -> None:
        command = MassCancel(client.number, 0, ALL_SYMBOLS, CancelReason.LINK_LOST)
        for login in (*asker.earlier_logins, asker.login):  # one of them counts
            shard.uplink.submit(login, command, now_ns)

    def _hear(
        self, shard: GatewayShard, groups: bytes, last_sequence: int, has_mass_cancel: bool
    ) -> None:
        """Has these frames, whole groups up to that number, in the streams that they concern."""
        told = tell(groups)
        for each in told:
            if each.spent:
                self._numbers.use(each.client, shard.number, each.spent)
        shard.heard_sequence = last_sequence
        if has_mass_cancel:
            parts = with_answers_apart(told)
        else:
            parts = [ToldPart(each) for each in told if each.ends]
        by_home: dict[int, list[ToldPart]] = {}
        for part in parts:
            by_home.setdefault(self._home_number(part.told.client), []).append(part)
        own = by_home.get(shard.number)
        if own is not None:
            shard.home.hear(OwnMessages(own))
        for home in self._others(shard.number):
            self._hear_other(home, shard.number, by_home.get(home.number), last_sequence)

    def _hear_other(
        self, home: GatewayShard, number: int, parts: list[ToldPart] | None, last_sequence: int
    ) -> None:
        """A home hears what another list has for its clients."""
        other = home.home.others[number]
        other.heard_sequence = last_sequence
        if parts is None:
            return
        other.add(parts)
        is_here = any(part.told.client in self._open for part in parts)
        if is_here or other.size_bytes > UNMARKED_LIMIT_BYTES:
            self._want_mark(home.number, number)

    def _hear_log_in(
        self, shard: GatewayShard, admission: Admission, now_ns: int
    ) -> Iterator[Happening]:
        command = admission.command
        if self.home_of(command.client) is not shard:
            if not admission.is_rejected:
                yield from self._hear_seat_log_in(shard, command, now_ns)
            return
        log_in = shard.log_ins.take(command.login)
        if not admission.is_rejected:
            if log_in is not None:
                shard.admitted[command.login] = log_in
            shard.home.hear(admission)
        elif log_in is not None:
            yield NotAdmitted(log_in.asker)

    def _hear_seat_log_in(
        self, shard: GatewayShard, command: LogIn, now_ns: int
    ) -> Iterator[Happening]:
        """A client has logged in where it is not at home; the home says which session counts."""
        taken = shard.seats.take(command.login)
        if taken is not None:
            seat = taken.asker
            seat.is_taken = True
            for number in tuple(seat.seats.waiting):
                self._submit_waiting(seat.session, seat.seats, number, now_ns)
            return
        session = self._open.get(command.client)
        if session is not None:
            seat = self._seats[session].by_shard[shard.number]
            if seat.is_taken and command.login in seat.earlier_logins:
                yield SeatOvertaken(session)

    def _complete_mass_cancels(self, session: Session, seats: Seats, number: int) -> None:
        """Has those of all symbols done in a shard that the session has not known, before all else.

        Those of an earlier session the client sends again, in their place among what else it does.
        """
        client, home = session.client, self.by_number[seats.home].home
        last = self._numbers.last_in(client, number)
        for user_ref_num in seats.cancels.of_all:
            if user_ref_num > last and not home.is_told(client, user_ref_num):
                seats.send(number, user_ref_num)
                command = MassCancel(client, user_ref_num, ALL_SYMBOLS, CancelReason.USER)
                waiting = seats.waiting.setdefault(number, [])
                waiting.append(encode_submission(Submission(0, command)))

    def _decide(self, shard: GatewayShard) -> Iterator[Happening]:
        """More may be decided, or heard, than before."""
        for login in shard.uplink.on_delivered(shard.heard_sequence, shard.list_epoch):
            log_in = shard.log_ins.take(login)
            if log_in is not None:
                yield NotAdmitted(log_in.asker)
            shard.seats.take(login)  # a later log-in of the client was there before

    def _proceed(self, now_ns: int) -> Iterator[Happening]:
        """What the lists bring about in the order of each home."""
        for shard in self.by_number.values():
            for happening in shard.home.proceed():
                match happening:
                    case Admission(command, _, sequence):
                        self._gone.pop(command.client, None)
                        log_in = shard.admitted.pop(command.login, None)
                        yield LoggedIn(command, sequence, log_in)
                    case Mark(other):
                        if shard.home.wants_mark(other):  # it may be behind what is known by now
                            self._want_mark(shard.number, other)
                        for seat in self._unmarked.pop((shard.number, other), []):
                            self._log_in(seat, now_ns)
                    case Turned():
                        yield DayTurned(shard.number)
                    case ToldClients():
                        yield happening

    def _want_mark(self, home: int, other: int) -> None:
        """Streams of a home are to go on with another list, if anybody is at home there."""
        if home in self._directory.homes:
            self._wanted[home, other] = None

    def _send_marks(self, now_ns: int) -> None:
        for pair in tuple(self._wanted):
            home, other = (self.by_number[number] for number in pair)
            if home.home.wants_mark(other.number) or self._unmarked.get(pair):
                home.mark(other, now_ns)
            else:
                del self._wanted[pair]
