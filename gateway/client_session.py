"""A client's side of its session: the log-in, the numbered stream, commands and their resends.

Sans-I/O, over any number of connections, one after the other: bytes and times (monotonic) in, bytes
and events out. On each connection it

1. logs in from the number after the last event that it has given out,
2. asks which user_ref_num comes next, for new commands,
3. sends again all that has no answer, in its order, and from then on what is entered.

A log-in voids what an earlier one had under way. So of what is sent again, what is in a list stays
there and is answered in the stream; what can't come into one any more, as a later number was used,
is refused; and the rest takes effect now.

    OFFLINE -- connected --> LOGGING_IN -- accepted --> QUERYING -- answered --> OPEN
       \\_________________________ disconnected _________________________________/

When its session is over, as its day is, it follows into the next one, unless it was asked for one
session alone: it logs in to the one that is over by its name, until the exchange says that this was
all of it; then to the next one by its name, from number 1.
"""

from collections.abc import Iterable, Iterator
from enum import Enum, auto

from gateway import ouch, soup
from gateway.client_errors import (
    LinkFault,
    LogInPutOff,
    LoginRejected,
    ProtocolError,
    SessionEnded,
    UserRefNumsSpent,
)
from gateway.client_policy import ClientPolicy
from gateway.closing import ClosingReason, next_session
from gateway.events import (
    UNNUMBERED,
    Event,
    Rejected,
    SessionBegan,
    read_event,
    read_message,
    to_event,
)
from gateway.ouch_codec import encode
from gateway.rejects import GatewayReject
from gateway.soup import (
    ClientHeartbeat,
    Debug,
    EndOfSession,
    LoginAccepted,
    LoginRejectReason,
    LoginRequest,
    LogoutRequest,
    PacketReader,
    SequencedData,
    ServerHeartbeat,
    ServerPacket,
    SoupError,
    UnsequencedData,
    server_packets,
)
from gateway.translate import LARGEST_USER_REF_NUM
from gateway.unanswered import NumberedCommand, Unanswered

# A log-in refused for one of these was wrong in itself; what else there is passes.
_LASTING_REASONS = (
    ClosingReason.UNKNOWN_SESSION,
    ClosingReason.SEQUENCE_TOO_HIGH,
    ClosingReason.SEQUENCE_DROPPED,
)


class Phase(Enum):
    """How far the connection is."""

    OFFLINE = auto()
    LOGGING_IN = auto()
    QUERYING = auto()  # logged in; the next user_ref_num is not known yet
    OPEN = auto()


class ClientSession:
    """One client's stream and commands.

    `next_sequence` is the first event to ask for: 1 for all of the day, 0 for those to come.
    `session` binds it to one session; without, it follows from one day into the next. A session
    that is over counts as lost once `gateway_count` gateways in a row have said they lack it.
    Raises ValueError when a name does not fit its field.
    """

    def __init__(
        self,
        user: str,
        secret: str,
        *,
        session: str = "",
        next_sequence: int = 1,
        policy: ClientPolicy | None = None,
        gateway_count: int = 1,
    ) -> None:
        LoginRequest(user, secret, session, next_sequence).encode()
        self.phase = Phase.OFFLINE
        self.next_sequence = next_sequence
        self.last_user_ref_num = 0
        self.farewell = ""  # the last that the exchange said in words on this connection
        self.unanswered = Unanswered()
        self._user = user
        self._secret = secret
        self.session = session  # to ask for; empty for the current one
        self.session_before = ""  # the last that it was let in to
        self.has_logged_in = False
        self.knows_its_numbers = False  # which user_ref_num comes next
        self._is_bound = bool(session)
        self._gateway_count = gateway_count
        self._refusals = 0  # in a row, of a session that it was in
        self._is_moving = False  # from a session that is over to the next one
        self._may_have_missed = False  # events of what it moves from
        self._forgets = False  # which commands are unanswered: the answers may have been missed
        self._policy = policy or ClientPolicy()
        self._reader: PacketReader[ServerPacket] = server_packets()
        self._output = bytearray()
        self._incoming_sequence = 0  # of the next sequenced data on this connection
        self._sent_again: set[int] = set()  # on this connection: the numbers that it names
        self._put_off: set[int] = set()  # those of them to be sent once more
        self._put_off_until_ns = 0
        # Log-ins whose outcome was never told may end this session yet. Each does so once, unless
        # its gateway was asking for it anew; which it does until it gives the log-in up.
        self._log_ins_in_doubt = 0
        self._in_doubt_until_ns = 0
        self._phase_since_ns = 0
        self._heard_at_ns = 0
        self._sent_at_ns = 0

    def connected(self, now_ns: int) -> None:
        """A new connection is there: begins to log in on it."""
        self._enter_phase(Phase.LOGGING_IN, now_ns)
        self._heard_at_ns = self._sent_at_ns = now_ns
        self._reader = server_packets()
        self.farewell = ""
        self._sent_again.clear()
        self._put_off.clear()
        self._log_ins_in_doubt += 1
        request = LoginRequest(self._user, self._secret, self.session, self.next_sequence)
        self._output[:] = request.encode()

    def disconnected(self) -> None:
        """The connection is gone; what was not answered waits for the next one."""
        if self.phase is Phase.LOGGING_IN:
            self._in_doubt_until_ns = self._log_in_deadline_ns
        self.phase = Phase.OFFLINE
        self._output.clear()

    def receive(self, data: bytes, now_ns: int) -> Iterator[Event]:
        """The events in what the connection brought, to be drawn to the end.

        After them raises LinkFault when the connection is to be dropped and another one tried, or
        a ClientError when that would not help.
        """
        self._heard_at_ns = now_ns
        try:
            for packet in self._reader.take(data):
                yield from self._on_packet(packet, now_ns)
        except SoupError as error:
            raise LinkFault(f"the gateway sent what is not SoupBinTCP: {error}") from error

    def on_time(self, now_ns: int, *, is_reading: bool = True) -> None:
        """Sends a heartbeat when it is due; raises LinkFault when the link is dead.

        While the connection is not being read, silence says nothing about the other end.
        """
        if self.phase is Phase.OFFLINE:
            return
        if not is_reading:
            self._heard_at_ns = self._phase_since_ns = now_ns
        if now_ns - self._heard_at_ns >= self._policy.dead_link_ns:
            raise LinkFault("nothing was heard from the gateway for too long")
        if self.phase is not Phase.OPEN and now_ns >= self._log_in_deadline_ns:
            raise LinkFault("the gateway did not answer the log-in in time")
        if self.phase is not Phase.LOGGING_IN and now_ns >= self._heartbeat_deadline_ns:
            self._output += ClientHeartbeat().encode()
        if self._put_off and now_ns >= self._put_off_until_ns:
            self._send_again(self.unanswered.naming(self._put_off))
            self._put_off.clear()

    @property
    def is_logged_in(self) -> bool:
        """Whether the gateway has accepted the log-in on this connection."""
        return self.phase in (Phase.QUERYING, Phase.OPEN)

    @property
    def deadline_ns(self) -> int | None:
        """When `on_time` has something to do next; None while offline."""
        dead_at_ns = self._heard_at_ns + self._policy.dead_link_ns
        match self.phase:
            case Phase.OFFLINE:
                return None
            case Phase.LOGGING_IN:
                return min(self._log_in_deadline_ns, dead_at_ns)
            case Phase.QUERYING:
                return min(self._log_in_deadline_ns, self._heartbeat_deadline_ns, dead_at_ns)
            case Phase.OPEN if self._put_off:
                return min(self._heartbeat_deadline_ns, dead_at_ns, self._put_off_until_ns)
            case Phase.OPEN:
                return min(self._heartbeat_deadline_ns, dead_at_ns)

    def take_output(self, now_ns: int) -> bytes:
        """The bytes to send now."""
        data = bytes(self._output)
        if data:
            self._output.clear()
            self._sent_at_ns = now_ns
        return data

    def next_user_ref_num(self) -> int:
        """The number for the next command; raises UserRefNumsSpent after the largest."""
        if self.last_user_ref_num >= LARGEST_USER_REF_NUM:
            raise UserRefNumsSpent("every user_ref_num has been used; only cancels are left")
        return self.last_user_ref_num + 1

    def submit(self, message: NumberedCommand) -> None:
        """Sends a command with a new user_ref_num, now or after the next log-in."""
        assert message.user_ref_num > self.last_user_ref_num
        self.last_user_ref_num = message.user_ref_num
        self.unanswered.add(message)
        self._send(encode(message))

    def submit_cancel(self, message: ouch.CancelOrder) -> None:
        """Sends a cancel of an order, now or after the next log-in."""
        self.unanswered.add_cancel(message)
        self._send(encode(message))

    def log_out(self) -> None:
        """Says goodbye."""
        self._output += LogoutRequest().encode()

    @property
    def _heartbeat_deadline_ns(self) -> int:
        return self._sent_at_ns + self._policy.heartbeat_interval_ns

    @property
    def _log_in_deadline_ns(self) -> int:
        return self._phase_since_ns + self._policy.log_in_timeout_ns

    def _enter_phase(self, phase: Phase, now_ns: int) -> None:
        self.phase = phase
        self._phase_since_ns = now_ns

    def _send(self, payload: bytes) -> None:
        if self.phase is Phase.OPEN:
            self._output += UnsequencedData(payload).encode()

    def _on_packet(self, packet: ServerPacket, now_ns: int) -> Iterator[Event]:
        match packet:
            case SequencedData(payload) if self.is_logged_in:
                self._phase_since_ns = now_ns  # a long replay may come before the answer to a query
                yield from self._on_sequenced(payload)
            case UnsequencedData(payload) if self.is_logged_in:
                yield from self._on_unsequenced(payload, now_ns)
            case LoginAccepted() if self.phase is Phase.LOGGING_IN:
                yield from self._on_accepted(packet, now_ns)
            case soup.LoginRejected(reason) if self.phase is Phase.LOGGING_IN:
                self._on_rejected(reason)
            case ServerHeartbeat():
                pass
            case Debug(text):
                self._on_debug(text, now_ns)
            case EndOfSession():
                following = next_session(self.farewell) if self.is_logged_in else None
                if following is not None:
                    self._leave_session(following, may_have_missed=False)
                raise LinkFault(self.farewell or "the gateway ended the session")
            case _:
                raise LinkFault(f"the gateway sent a {type(packet).__name__} out of its place")

    def _on_accepted(self, accepted: LoginAccepted, now_ns: int) -> Iterator[Event]:
        self._log_ins_in_doubt -= 1
        session, sequence = accepted
        if self.has_logged_in and session != self.session != "":
            raise SessionEnded(
                f"the exchange is in session {session!r} now; {self.session!r} is over"
            )
        if sequence == 0 or (self.next_sequence and sequence > self.next_sequence):
            raise LinkFault(
                f"the gateway's stream begins at {sequence}, though {self.next_sequence} was asked"
            )
        before, self.session_before = self.session_before, session
        self.session, self.has_logged_in = session, True
        self._refusals = 0
        self._incoming_sequence = sequence
        self.next_sequence = self.next_sequence or sequence
        self._enter_phase(Phase.QUERYING, now_ns)
        self._output += UnsequencedData(encode(ouch.AccountQuery())).encode()
        if self._is_moving:
            has_missed, self._may_have_missed = self._may_have_missed, False
            self._is_moving = False
            if has_missed:
                self._forgets = True
                self.unanswered.lose_sight()
            yield SessionBegan(session, before, has_missed)

    def _leave_session(self, following: str, *, may_have_missed: bool) -> None:
        """Its session is over: the next one is to be read from its beginning."""
        if self._is_bound:
            raise SessionEnded(self.farewell)
        self._is_moving = True
        self._may_have_missed |= may_have_missed
        self.session, self.next_sequence = following, 1

    def _on_rejected(self, reason: LoginRejectReason) -> None:
        if self.has_logged_in and self.farewell.startswith(ClosingReason.UNKNOWN_SESSION.text):
            self._on_session_gone()
        lasting = any(self.farewell.startswith(known.text) for known in _LASTING_REASONS)
        if reason is LoginRejectReason.NO_SUCH_SESSION and self.farewell and not lasting:
            raise LogInPutOff(f"log-in refused: {self.farewell}")
        raise LoginRejected(reason, self.farewell)

    def _on_session_gone(self) -> None:
        """A gateway lacks a session that there was; another one may have it yet."""
        self._log_ins_in_doubt -= 1
        self._refusals += 1
        if self._is_bound or self._refusals >= self._gateway_count:
            self._refusals = 0
            self._leave_session("", may_have_missed=True)
        raise LogInPutOff(f"log-in refused: {self.farewell}")

    def _on_debug(self, text: str, now_ns: int) -> None:
        self.farewell = text
        if not text.startswith(ClosingReason.SUPERSEDED.text):
            return
        if self._log_ins_in_doubt == 0 and now_ns >= self._in_doubt_until_ns:
            raise SessionEnded(text)
        # It was an earlier log-in of our own that came late.
        self._log_ins_in_doubt = max(self._log_ins_in_doubt - 1, 0)
        raise LinkFault(text)

    def _on_sequenced(self, payload: bytes) -> Iterator[Event]:
        sequence = self._incoming_sequence
        self._incoming_sequence += 1
        if sequence < self.next_sequence:
            return  # had on an earlier connection
        event = read_event(payload, sequence)
        self.next_sequence = sequence + 1
        self.unanswered.settle(event)
        self._send_again(self.unanswered.take_in_vain())
        yield event

    def _on_unsequenced(self, payload: bytes, now_ns: int) -> Iterator[Event]:
        message = read_message(payload)
        match message:
            case ouch.AccountQueryResponse(next_user_ref_num=next_user_ref_num):
                self._on_account(next_user_ref_num, now_ns)
            case ouch.Rejected(user_ref_num=0) if self.phase is Phase.QUERYING:
                event = to_event(message, UNNUMBERED)
                assert isinstance(event, Rejected)
                raise LinkFault(f"the gateway refused an account query: {event.text}")
            case ouch.Rejected():
                yield from self._on_refusal(message, now_ns)
            case _:
                raise ProtocolError(f"a {type(message).__name__} outside of the numbered stream")

    def _on_refusal(self, message: ouch.Rejected, now_ns: int) -> Iterator[Event]:
        """The gateway itself refused something; it may have a number that was sent again."""
        number, reason = message.user_ref_num, message.reason
        was_sent_again = number in self._sent_again
        if reason == GatewayReject.RATE_EXCEEDED and (
            was_sent_again or self.unanswered.may_be_either(number)
        ):
            # What was sent again may be in a list long since; and of an order and a cancel of it
            # either may be meant. Sent once more, each comes to its own end.
            self._put_off_until_ns = now_ns + self._policy.put_off_ns
            self._put_off.add(number)
            self._sent_again.add(number)
            return
        was_waiting = self.unanswered.refuse(number)
        if was_sent_again and not was_waiting:
            return  # its end has been told
        if was_sent_again and reason == GatewayReject.NUMBER_PASSED:
            message = message._replace(reason=GatewayReject.CONNECTION_LOST)
        yield to_event(message, UNNUMBERED)

    def _on_account(self, next_user_ref_num: int, now_ns: int) -> None:
        if self.phase is not Phase.QUERYING:
            raise LinkFault("the gateway answered an account query that was not asked")
        self._enter_phase(Phase.OPEN, now_ns)
        if next_user_ref_num == 0:  # no number is left, so all are in the list
            next_user_ref_num = LARGEST_USER_REF_NUM + 1
        self.last_user_ref_num = max(self.last_user_ref_num, next_user_ref_num - 1)
        self.knows_its_numbers = True
        if self._forgets:
            self.unanswered.forget(next_user_ref_num)
            self._forgets = False
        self._sent_again = self.unanswered.numbers
        self._send_again(self.unanswered.resend())

    def _send_again(self, payloads: Iterable[bytes]) -> None:
        for payload in payloads:
            self._send(payload)
