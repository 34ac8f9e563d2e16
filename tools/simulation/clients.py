"""A simulated trading client: the production library's session over simulated TCP, and its faults.

It does what `gateway.client` and `gateway.client_link` do with sockets and tasks. Whatever it sends
and hears goes into the ledger. What ends a session for good without a reason is a failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from feed.settings import Address
from gateway import ouch
from gateway.client_errors import (
    ClientError,
    ConnectionLost,
    LinkFault,
    LogInPutOff,
    SessionEnded,
)
from gateway.client_session import ClientSession, Phase
from gateway.closing import ClosingReason
from gateway.events import Accepted, Event, Replaced, SessionBegan
from gateway.ouch_codec import encode
from gateway.reconnect import Attempt, Reconnect
from gateway.soup import UnsequencedData
from tools.simulation.client_link import ClientLink
from tools.simulation.client_log_ins import LogIn, LogIns
from tools.simulation.ledger import UNREADABLE, Ledger
from tools.simulation.network import Died, Process
from tools.simulation.order_flow import OrderFlow, Sending, repeat_of
from tools.simulation.programs import Program
from tools.simulation.shard import EXCHANGE
from tools.simulation.world import MILLISECOND_NS, SECOND_NS, Timer

if TYPE_CHECKING:
    from tools.simulation.shard import Shard

PORT = "clients"  # where gateways listen
MOST_UNANSWERED = 40  # commands; further ones wait
RIVAL_ORDERS = 4
LONGEST_RIVALRY_NS = SECOND_NS
LONGEST_ABSENCE_NS = 300 * MILLISECOND_NS  # of a user whose session has been ended
SLOW_SHARE = 0.005  # of what comes, after which a client reads no more for a while
LONGEST_SLOWNESS_NS = 300 * MILLISECOND_NS
SILENCE_NS = 100 * MILLISECOND_NS  # of a client that still waits for answers: then it asks
RAW_SHARE = 0.02  # of commands, beside which something else is sent


class ClientNode(Process):
    """One client's program, which starts again after each end, and from time to time a rival's."""

    def __init__(
        self,
        shard: Shard,
        name: str,
        number: int,
        ledger: Ledger,
        *,
        seed: int = 1,
        rival_of: ClientNode | None = None,
    ) -> None:
        """`number` stands for the client in the list; clients of one `seed` have the same prices.

        A rival goes by the name and secret of another node.
        """
        super().__init__(shard.network, name)
        self.shard = shard
        self.number = number
        self.program: Program | None = None  # while it runs
        self.superseded = 0  # sessions that were ended by another program
        self._user = name if rival_of is None else rival_of.name
        self._is_rival = rival_of is not None
        self._rival: ClientNode | None = None
        self._log_ins: LogIns = LogIns() if rival_of is None else rival_of._log_ins
        self._log_in: LogIn | None = None  # of the newest connection
        self._was_let_in = False  # in this life
        self._began_ns = 0
        self._ledger = ledger
        self._seed = seed
        self._random = Random(shard.network.random.getrandbits(64))
        self._link: ClientLink | None = None
        self._to_send = 0
        self._interval_ns = 0
        self._sent_ns = 0  # when the last command was
        self._is_trading = False
        self._wanted: list[str] = []  # the symbols of the next orders, where that matters
        self._spent = 0  # a user_ref_num that is
        self._kept_sequence = 1  # what it would keep on a disk
        self._is_leaving = False
        self._timer = Timer(shard.network.world, lambda: None, lambda: None)
        self._session: ClientSession
        self._reconnect: Reconnect
        self._flow: OrderFlow

    @property
    def session(self) -> ClientSession:
        """The session of the program that runs."""
        return self._session

    @property
    def unanswered(self) -> int:
        """How many commands wait for an answer."""
        if self.program is None:
            return 0
        unanswered = self._session.unanswered
        return unanswered.numbered_count + unanswered.cancel_count

    @property
    def is_settled(self) -> bool:
        """Whether it is logged in, has nothing to send, and has heard all that it can."""
        return (
            self.runs
            and self.program is not None
            and self._session.phase is Phase.OPEN
            and self._to_send == 0
            and self.unanswered == 0
            and (self._rival is None or not self._rival.is_alive)
            and self._ledger.has_heard_all(self.program)
        )

    # What users do.

    def start(self) -> None:
        """A program with an empty memory, but perhaps for where it was in its stream."""
        super().start()
        life, kept, random = self.life, self._kept_sequence, self._random
        first = random.choice((1, kept, kept, random.randint(1, kept)))
        policy = self.shard.shape.client
        secret = self._user.lower()
        self._session = ClientSession(
            self._user,
            secret,
            next_sequence=first,
            policy=policy,
            gateway_count=len(self.shard.gateways),
        )
        addresses = [Address(host=name, port=1) for name in self.shard.gateways]
        random.shuffle(addresses)
        self._reconnect = Reconnect(addresses, policy, Random(random.getrandbits(64)))
        self._reconnect.begin(self.network.now_ns)
        name = f"{self.name}.{life}"
        instruments = self.shard.instruments
        self._flow = OrderFlow(self.number, name, instruments, random, seed=self._seed)
        self.program = self._ledger.begin(self.number, name, first)
        self._link = self._log_in = None
        self._was_let_in = False
        self._began_ns = self.network.now_ns
        self._spent = 0
        self._is_leaving = False
        self._timer = Timer(
            self.network.world,
            lambda: self._deadline_ns() if self.runs and self.life == life else None,
            lambda: self.do(life, self._on_time),
        )
        self.network.after(0, partial(self.do, life, self._try))

    def kill(self) -> None:
        """The program dies, with its commands on their way."""
        super().kill()
        self._end_program()

    def vanish(self) -> None:
        """It dies with its machine."""
        super().vanish()
        self._end_program()

    def trade(self, count: int, interval_ns: int) -> None:
        """Enter so many more commands, one in each interval, as soon as it is able to."""
        self._to_send += count
        self._interval_ns = interval_ns
        if not self._is_trading:
            self._is_trading = True
            self.network.after(self._random.randrange(interval_ns), self._tick)

    def enter(self, symbols: Sequence[str]) -> None:
        """Enter one more order in each of these symbols, as soon as it is able to."""
        self._wanted += symbols
        self.trade(len(symbols), MILLISECOND_NS)

    def rival(self) -> None:
        """Somebody else logs in with this client's name and secret, and trades for a while."""
        if self._rival is None:
            name, number, ledger = f"{self.name}-b", self.number, self._ledger
            self._rival = ClientNode(
                self.shard, name, number, ledger, seed=self._seed, rival_of=self
            )
        rival = self._rival
        if rival.is_alive:
            return
        rival._kept_sequence = self._kept_sequence
        rival.start()
        rival._to_send = 0
        rival.trade(RIVAL_ORDERS, 2 * MILLISECOND_NS)
        rival_ns = self._random.randrange(LONGEST_RIVALRY_NS)
        self.network.after(rival_ns, partial(rival.do, rival.life, rival.leave))

    def leave(self) -> None:
        """Log out, or just end."""
        if self._session.phase is Phase.OPEN and self._random.random() < 0.5:
            self._is_leaving = True
            self._session.log_out()
            timeout_ns = self.shard.shape.client.close_timeout_ns
            self.network.after(timeout_ns, partial(self.do, self.life, self._exit))
        else:
            self._exit()

    # What befalls its connection.

    def drop_connection(self) -> None:
        """Its connections break, and both sides are told."""
        self.shard.tcp.break_all(self)

    def vanish_connection(self) -> None:
        """Its connection is dead, its gateway is not told, and it connects elsewhere."""
        self.do(self.life, self._vanish_connection)

    def move(self) -> None:
        """It hangs up, and connects to the next gateway."""
        self.do(self.life, self._move)

    def read_slowly(self, for_ns: int) -> None:
        """It reads nothing for so long; what comes piles up at the other side."""
        link = self._link
        if self.runs and link is not None and link.pause_reading():
            self.network.after(for_ns, partial(self.do, self.life, link.resume_reading))

    # What the connection says; `link` is the present one.

    def on_connected(self) -> None:
        """Begins the log-in."""
        now_ns = self.network.now_ns
        self._session.connected(now_ns)
        assert self.program is not None
        self._log_in = self._log_ins.ask(self.program.name, now_ns)
        self._ledger.on_log_in_asked(self.program)

    def on_data(self, data: bytes) -> None:
        """Hears the events in the bytes; raises what ends the connection."""
        session, link = self._session, self._link
        assert link is not None
        was_logged_in = session.is_logged_in
        try:
            for event in session.receive(data, self.network.now_ns):
                self._hear(event)
        except (LinkFault, ClientError) as error:
            link.fail(error)
        if session.is_logged_in and not was_logged_in:
            self._on_logged_in()
        if self._random.random() < SLOW_SHARE:
            self.read_slowly(self._random.randrange(LONGEST_SLOWNESS_NS))

    def on_lost(self, fault: Exception) -> None:
        """The connection is gone, or could not be had."""
        self._link = None
        if self._session.phase is not Phase.OFFLINE:
            self.note("loses its connection: {}", fault)
        self._session.disconnected()
        if self._is_leaving:
            self._exit()
        if isinstance(fault, ClientError):
            self._give_up(fault)
        if isinstance(fault, LogInPutOff):
            self._reconnect.put_off()
        self._reconnect.lost(self.network.now_ns)
        self._try()

    # How it is done.

    def turn(self) -> None:
        link = self._link
        if link is not None and link.is_usable:
            data = self._session.take_output(self.network.now_ns)
            if data:
                link.write(data)
        self._timer.set()

    def _end_program(self) -> None:
        if self.program is not None:
            self._ledger.end(self.program)
            self.program = None

    def _exit(self) -> None:
        """The program ends."""
        self.kill()
        raise Died

    def _try(self) -> None:
        """Make the next attempt to connect."""
        attempt = self._reconnect.attempt(self.network.now_ns)
        if attempt is None:
            self._give_up(ConnectionLost("no gateway could be reached"))
            return
        connect = partial(self.do, self.life, partial(self._connect, attempt))
        self.network.after(attempt.wait_ns, connect)

    def _connect(self, attempt: Attempt) -> None:
        if self._link is not None:
            return
        link = self._link = ClientLink(self)
        gateway = self.shard.gateways[attempt.address.host]
        timeout_ns = self.shard.shape.client.connect_timeout_ns
        link.end = self.shard.tcp.connect(
            self, gateway, PORT, lambda: link, link.on_failed, timeout_ns
        )

    def _give_up(self, error: ClientError) -> None:
        """The library can't go on: a user would start anew where that is nobody's mistake."""
        is_superseded = self._is_superseded(error)
        if self._is_of_earlier_day(error):
            self._kept_sequence = 1
        else:
            assert is_superseded or self._found_nobody(error), (
                f"{self.name} can't go on, {type(error).__name__}: {error}"
            )
        self.superseded += is_superseded
        absence_ns = self._random.randrange(LONGEST_ABSENCE_NS)
        if not self._is_rival:
            self.network.after(absence_ns, partial(self._come_back, self.life))
        self._exit()

    def _come_back(self, life: int) -> None:
        if self.life == life and not self.is_alive:
            self.start()

    def _is_superseded(self, error: ClientError) -> bool:
        """Whether the session was ended as another program of this client has logged in."""
        return (
            isinstance(error, SessionEnded)
            and str(error).startswith(ClosingReason.SUPERSEDED.text)
            and self._log_in is not None
            and self._log_ins.may_supersede(self._log_in)
        )

    def _is_of_earlier_day(self, error: ClientError) -> bool:
        """Whether a program that starts asks for more than there is of a day that has begun since
        it kept where it was."""
        has_days = self._ledger.streams.session_of(self.number) != EXCHANGE
        is_too_high = ClosingReason.SEQUENCE_TOO_HIGH.text in str(error)
        return has_days and is_too_high and not self._was_let_in

    def _found_nobody(self, error: ClientError) -> bool:
        """Whether it began while no gateway was there, which the library soon tells its user."""
        patience_ns = self.shard.shape.client.give_up_after_ns
        is_early = self.network.now_ns - self._began_ns < patience_ns
        return isinstance(error, ConnectionLost) and not self._was_let_in and is_early

    def _on_logged_in(self) -> None:
        self._reconnect.logged_in(self.network.now_ns)
        self._was_let_in = True
        assert self._log_in is not None
        assert self.program is not None
        self._log_in.answered_ns = self.network.now_ns
        self._ledger.on_logged_in(self.program, self._session.session_before)
        self.note("logs in, from event {}", self._session.next_sequence)

    def _hear(self, event: Event) -> None:
        program = self.program
        assert program is not None
        if not program.session:
            program.session = self._session.session_before
            if isinstance(event, SessionBegan):  # nothing was heard in the one before
                program.session = event.previous
        self._ledger.on_event(program, event)
        if isinstance(event, SessionBegan):
            self._kept_sequence = 1
        if event.sequence:
            self._kept_sequence = max(self._kept_sequence, event.sequence + 1)
        if isinstance(event, Accepted | Replaced):
            self._spent = event.user_ref_num

    def _on_time(self) -> None:
        link = self._link
        if link is None:
            return
        try:
            self._session.on_time(self.network.now_ns, is_reading=link.is_reading)
        except LinkFault as fault:
            link.fail(fault)

    def _deadline_ns(self) -> int | None:
        link = self._link
        return self._session.deadline_ns if link is not None and link.is_usable else None

    def _move(self) -> None:
        if self._link is not None and self._link.is_usable:
            self._link.fail(LinkFault("the client moves to another gateway"))

    def _vanish_connection(self) -> None:
        link = self._link
        if link is not None and link.is_usable:
            link.vanish()
            self.on_lost(LinkFault("the connection is dead"))

    # What it sends.

    def _tick(self) -> None:
        if self.runs:
            self.do(self.life, self._send_next)
        if self._is_rival and not self.is_alive:
            self._to_send = 0
        self._is_trading = bool(self._to_send or self.unanswered)
        if self._is_trading:
            self.network.after(self._interval_ns, self._tick)

    def _send_next(self) -> None:
        """Enter the next command, if there is one and it can be taken."""
        session, link = self._session, self._link
        if (
            not session.knows_its_numbers
            or self.unanswered >= MOST_UNANSWERED
            or self._is_leaving
            or (link is not None and not link.can_write)
        ):
            return
        if self._to_send:
            self._to_send -= 1
            number = session.next_user_ref_num()
            wanted = self._wanted.pop(0) if self._wanted else None
            self._submit(
                self._flow.next(number) if wanted is None else self._flow.plain(number, wanted)
            )
            if self._random.random() < RAW_SHARE:
                self._send_raw()
        elif self.unanswered and self.network.now_ns - self._sent_ns >= SILENCE_NS:
            # Nothing tells of a cancel that had nothing to do, nor of what a rival's command has
            # come before, but an answer to something later.
            self._submit(self._flow.without_effect(session.next_user_ref_num()))

    def _submit(self, sending: Sending) -> None:
        message, command = sending
        self._sent_ns = self.network.now_ns
        assert self.program is not None
        if command is None:
            self._ledger.on_sent_to_be_refused(self.program, message.user_ref_num)
        else:
            self._ledger.on_sent(self.program, command)
        if isinstance(message, ouch.CancelOrder):
            self._session.submit_cancel(message)
        else:
            self._session.submit(message)

    def _send_raw(self) -> None:
        """Send, past the library, what must not do anything: no message at all, or a repeat."""
        link = self._link
        assert self.program is not None
        if self._session.phase is not Phase.OPEN or link is None or not link.is_usable:
            return
        if self._spent and self._random.random() < 0.5:
            payload = encode(repeat_of(self._spent, self.shard.shape.instruments[0]))
        else:
            payload = bytes([0]) + self._random.randbytes(self._random.randrange(60))
            self._ledger.on_sent_to_be_refused(self.program, UNREADABLE)
        link.write(UnsequencedData(payload).encode())
