"""One client's connection: bytes and times in; bytes, submissions and a closing reason out.

Sans-I/O. What the client sends is `receive`d and made into submissions only as fast as they can be
taken, so that a client waits when the primary does. Orders in a row are one call of
`gateway.kernel`; whatever else there is, all that is refused among it, is looked at here, packet by
packet. What the client is sent comes from its stream, at the place where this connection is, only
as fast as the client takes it: `take_output`.

    STRANGER -- log-in request --> CHECKING -- accept --> OPEN -- end_day --> ENDING
        \\______________________________ close __________________________________/ --> CLOSED
"""

from collections import Counter
from collections.abc import Callable
from enum import Enum, auto

from feed.datagrams import Submission, encode_submission
from feed.messages import NO_CLIENT_ORDER_ID, CancelOrder, EnterOrder, MassCancel, ReplaceOrder
from gateway.closing import ClosingReason, session_now
from gateway.kernel import take_orders
from gateway.limits import Rate
from gateway.ouch import AccountQuery
from gateway.rejects import GatewayReject
from gateway.settings import SessionLimits
from gateway.soup import (
    ClientHeartbeat,
    ClientPacket,
    Debug,
    EndOfSession,
    LoginAccepted,
    LoginRejected,
    LoginRequest,
    LogoutRequest,
    ServerHeartbeat,
    SoupError,
    UnsequencedData,
    client_packet_at,
)
from gateway.streams import Stream
from gateway.translate import ClientCommand, Refusal, encode_account, encode_refusal, to_command
from gateway.uplink import Submissions

# What may come in after the gateway has asked to read no more: what was already on its way.
UNREAD_LIMIT_BYTES = 1 << 20

_NOTHING = Submissions(b"", 0)


class Phase(Enum):
    """How far a session is."""

    STRANGER = auto()  # no log-in request yet
    CHECKING = auto()  # its log-in is looked at, and then on its way through the list
    OPEN = auto()
    ENDING = auto()  # its day is over: the rest of the stream goes out, what comes in is dropped
    CLOSED = auto()


class SessionCounters:
    """What all sessions of a gateway have seen together."""

    def __init__(self) -> None:
        self.packets = 0
        self.commands = 0
        self.heartbeats_sent = 0
        self.refusals: Counter[str] = Counter()  # by the name of the GatewayReject


class Session:
    """One connection of one client, or of whoever it turns out to be."""

    def __init__(
        self,
        host: str,
        limits: SessionLimits,
        counters: SessionCounters,
        wall_clock_ns: Callable[[], int],
        now_ns: int,
    ) -> None:
        """`wall_clock_ns` gives the time since 1970 for what the gateway itself answers."""
        self.host = host
        self.phase = Phase.STRANGER
        self.closing: ClosingReason | None = None
        self.user = ""  # the name that it asked to log in under
        self.requested_session = ""  # which one it wants; empty for the current one
        self.requested_sequence = 0  # where in its stream it wants to begin
        self.client = 0  # its number, once it is open
        self.login = 0  # what its log-in goes by, and then its commands
        self.earlier_logins: list[int] = []  # what its log-in went by before
        self.is_held = False  # it waits for room for its commands
        self._limits = limits
        self._counters = counters
        self._wall_clock_ns = wall_clock_ns
        self._log_in_request: LoginRequest | None = None
        self._unread: list[bytes] = []  # not cut into packets yet
        self._unread_bytes = 0  # of what came since it was cut last
        self._control = bytearray()  # what is to be sent outside of the stream
        self._stream: Stream | None = None
        self._next_session = ""  # the one after its own, once that is over
        self._rate: Rate | None = None
        self._last_user_ref_num: Callable[[], int] = lambda: 0  # the largest that it has used
        self._next_sequence = 1  # of the stream, to send next
        self._position = 0  # of that message in the stream's bytes
        self._is_catching_up = True  # it has not been at the end of the stream yet
        self._buffered_bytes = 0  # handed out, and not yet taken by the client
        self._phase_since_ns = now_ns
        self._heard_at_ns = now_ns
        self._sent_at_ns = now_ns
        self._progress_at_ns = now_ns

    @property
    def is_reading(self) -> bool:
        """Whether the connection should be read; if not, the client is made to wait."""
        return not self.is_held and self.phase in (Phase.STRANGER, Phase.OPEN, Phase.ENDING)

    @property
    def next_sequence(self) -> int:
        """The number of the next message of the stream that goes to the client."""
        return self._next_sequence

    @property
    def stream(self) -> Stream:
        """The client's stream; there is one from when the session is open."""
        assert self._stream is not None
        return self._stream

    def receive(self, data: bytes, now_ns: int) -> None:
        """Bytes came from the client; `take_submissions` looks at them."""
        if self.phase in (Phase.ENDING, Phase.CLOSED):
            return
        self._heard_at_ns = now_ns
        self._unread.append(data)
        self._unread_bytes += len(data)
        if not self.is_reading and self._unread_bytes > UNREAD_LIMIT_BYTES:
            self.close(ClosingReason.TOO_MUCH_UNREAD, now_ns)

    def take_submissions(self, room: int, now_ns: int) -> Submissions:
        """The next commands of what was received, `room` of them at most.

        When there is no room for more, the session is held: it is not read until it is asked again
        with room. Reads up to a log-in request, and no further until that is accepted.
        """
        if self.phase not in (Phase.STRANGER, Phase.OPEN):
            return _NOTHING
        if self.is_held:
            self._heard_at_ns = now_ns  # its silence was not its own
        self.is_held = room <= 0
        if self.is_held:
            return _NOTHING
        data = b"".join(self._unread)
        self._unread.clear()
        self._unread_bytes = 0
        taken: list[bytes] = []
        count = begin = 0
        try:
            while begin < len(data) and self.is_reading:
                if self._rate is not None:
                    begin, orders, submissions = take_orders(
                        data, begin, room - count, self.client, self.login, self._rate, now_ns
                    )
                    taken.append(submissions)
                    count += orders
                    self._counters.packets += orders
                if count < room:  # what comes now is no order, or not one to be forwarded
                    found = client_packet_at(data, begin)
                    if found is None:
                        break
                    packet, begin = found
                    command = self._on_packet(packet, now_ns)
                    if command is not None:
                        taken.append(encode_submission(Submission(self.login, command)))
                        count += 1
                self.is_held = count == room
        except SoupError as error:
            self.close(ClosingReason.BAD_PACKET, now_ns, str(error))
        if begin < len(data) and self.closing is None:
            self._unread.append(data[begin:])
        self._counters.commands += count
        return Submissions(b"".join(taken), count)

    def take_log_in_request(self) -> LoginRequest | None:
        """The log-in request, once; the session keeps no secret."""
        request, self._log_in_request = self._log_in_request, None
        return request

    def accept(
        self,
        client: int,
        name: str,
        stream: Stream,
        rate: Rate,
        last_user_ref_num: Callable[[], int],
        now_ns: int,
    ) -> None:
        """The client is let in to the session `name`: its stream goes out from where it asked.

        `last_user_ref_num` gives the largest that the client has used, whenever it asks. Closes the
        session when the stream can't be sent from there.
        """
        assert self.phase is Phase.CHECKING
        requested = self.requested_sequence
        refusal = resume_refusal(stream, requested)
        if refusal is None and requested > stream.next_sequence:
            refusal = ClosingReason.SEQUENCE_TOO_HIGH
        if refusal is not None:
            self.close(refusal, now_ns)
            return
        self.phase = Phase.OPEN
        self.client = client
        self._stream, self._rate = stream, rate
        self._last_user_ref_num = last_user_ref_num
        self._next_sequence = requested or stream.next_sequence
        self._position = stream.position(self._next_sequence)
        self._heard_at_ns = self._progress_at_ns = now_ns
        self._control += LoginAccepted(name, self._next_sequence).encode()

    def end_day(self, next_session: str, now_ns: int) -> None:
        """The day of its stream is over: the session ends once the client has all of that.

        What the client has sent and was not looked at yet is dropped, as with a lost connection:
        the client sends it again in the next session.
        """
        assert self.phase is Phase.OPEN
        self.phase = Phase.ENDING
        self.is_held = False
        self._next_session = next_session
        self._is_catching_up = True  # the stream grows no more, so nobody falls behind any further
        self._phase_since_ns = now_ns
        self._unread.clear()
        self._end_if_done(now_ns)

    def refuse(self, refusal: Refusal, now_ns: int) -> None:
        """Tells the client that the gateway itself says no to a command."""
        self._counters.refusals[refusal.reason.name.lower()] += 1
        self._answer(encode_refusal(refusal, self._wall_clock_ns()), now_ns)

    def close(self, reason: ClosingReason, now_ns: int, detail: str = "") -> None:
        """Ends the session; the client is told why in the last bytes. The first reason stays."""
        if self.phase is Phase.CLOSED:
            return
        if reason is not ClosingReason.DISCONNECTED:
            text = f"{reason.text} ({detail})" if detail else reason.text
            self._control += Debug(text).encode()
            if self.phase is Phase.CHECKING and reason.login_reject is not None:
                self._control += LoginRejected(reason.login_reject).encode()
            if reason in (ClosingReason.GATEWAY_STOPS, ClosingReason.DAY_IS_OVER):
                self._control += EndOfSession().encode()
        self.closing = reason
        self.phase = Phase.CLOSED
        self._phase_since_ns = now_ns
        self._unread.clear()

    def on_time(self, now_ns: int) -> None:
        """Sends a heartbeat when it is due, and closes the session when its time is over."""
        limits = self._limits
        age_ns = now_ns - self._phase_since_ns
        match self.phase:
            case Phase.STRANGER if age_ns >= limits.log_in_timeout_ns:
                self.close(ClosingReason.LOG_IN_TIMEOUT, now_ns)
            case Phase.CHECKING if age_ns >= limits.log_in_timeout_ns:
                self.close(ClosingReason.LOG_IN_UNANSWERED, now_ns)
            case Phase.OPEN if (
                self.is_reading and now_ns - self._heard_at_ns >= limits.dead_link_ns
            ):
                self.close(ClosingReason.DEAD_LINK, now_ns)
            case Phase.OPEN if now_ns - self._sent_at_ns >= limits.heartbeat_interval_ns:
                if not self.has_output:
                    self._control += ServerHeartbeat().encode()
                    self._counters.heartbeats_sent += 1
                    self._sent_at_ns = now_ns

    @property
    def deadline_ns(self) -> int:
        """`on_time` has nothing to do before this; within a phase, it only ever moves away."""
        if self.phase is Phase.OPEN:
            limits = self._limits
            return min(
                self._sent_at_ns + limits.heartbeat_interval_ns,
                self._heard_at_ns + limits.dead_link_ns,
            )
        return self._phase_since_ns + self._limits.log_in_timeout_ns

    @property
    def has_answers(self) -> bool:
        """Whether there is something to send that is not in the stream."""
        return bool(self._control)

    @property
    def has_output(self) -> bool:
        """Whether there is more to send, or to wait for the client to take."""
        return bool(self._control or self._buffered_bytes or self._backlog_bytes)

    def take_output(self, buffered_bytes: int, now_ns: int) -> bytes:
        """What to send now, when `buffered_bytes` of earlier output have not been taken yet.

        To be called, while there is output, every now and then: closes the session when the client
        takes nothing for too long, or has fallen too far behind. What is not in the stream may take
        as much room as the stream does.
        """
        limit_bytes = self._limits.output_bytes
        if buffered_bytes < self._buffered_bytes or self._buffered_bytes == 0:
            self._progress_at_ns = now_ns
        if not (buffered_bytes or self._control or self._backlog_bytes):
            self._buffered_bytes = 0
            return b""  # as most of the time: everything has been sent and taken
        output: list[bytes] = []
        used_bytes = buffered_bytes + self._take_control(output)
        if self.phase in (Phase.OPEN, Phase.ENDING):
            self._send_stream(output, limit_bytes - used_bytes, now_ns)
            self._end_if_done(now_ns)
            is_stalled = now_ns - self._progress_at_ns >= self._limits.stalled_ns
            if is_stalled or self._is_behind or used_bytes > 2 * limit_bytes:
                self.close(ClosingReason.SLOW_CLIENT, now_ns)
            self._take_control(output)
        data = b"".join(output)
        if data:
            self._sent_at_ns = now_ns
        self._buffered_bytes = buffered_bytes + len(data)
        return data

    def _take_control(self, output: list[bytes]) -> int:
        """Has what is not in the stream sent next; returns how many bytes that is."""
        size = len(self._control)
        if size:
            output.append(bytes(self._control))
            self._control.clear()
        return size

    @property
    def _backlog_bytes(self) -> int:
        return 0 if self._stream is None else self._stream.end_position - self._position

    @property
    def _is_behind(self) -> bool:
        return not self._is_catching_up and self._backlog_bytes > self._limits.behind_bytes

    def _send_stream(self, output: list[bytes], room: int, now_ns: int) -> None:
        stream = self.stream
        while room > 0 and self._position < stream.end_position:
            if self._next_sequence < stream.first_sequence:
                self.close(ClosingReason.SLOW_CLIENT, now_ns, "its next message is not kept")
                return
            data, self._next_sequence = stream.read(self._next_sequence, room)
            output.append(data)
            self._position += len(data)
            room -= len(data)
        if self._position == stream.end_position:
            self._is_catching_up = False

    def _end_if_done(self, now_ns: int) -> None:
        """Ends a session whose day is over once the client has been sent all of it."""
        if self.phase is Phase.ENDING and not self._backlog_bytes:
            self.close(ClosingReason.DAY_IS_OVER, now_ns, session_now(self._next_session))

    def _on_packet(self, packet: ClientPacket, now_ns: int) -> ClientCommand | None:
        self._counters.packets += 1
        match packet:
            case UnsequencedData(payload) if self.phase is Phase.OPEN:
                return self._command(payload, now_ns)
            case LoginRequest() if self.phase is Phase.STRANGER:
                self._on_log_in_request(packet, now_ns)
            case LogoutRequest():
                self.close(ClosingReason.LOGGED_OUT, now_ns)
            case ClientHeartbeat() | Debug():
                pass
            case _:
                self.close(ClosingReason.UNEXPECTED_PACKET, now_ns)
        return None

    def _on_log_in_request(self, request: LoginRequest, now_ns: int) -> None:
        self.user = request.user.upper()
        self.requested_session = request.session.strip()
        self.requested_sequence = request.sequence
        self.phase = Phase.CHECKING
        self._phase_since_ns = now_ns
        self._log_in_request = request

    def _command(self, payload: bytes, now_ns: int) -> ClientCommand | None:
        """The command in an OUCH message; None when it was refused, which the client is told."""
        assert self._rate is not None
        message = to_command(payload, self.client)
        if not isinstance(message, Refusal) and not self._rate.take(message, now_ns):
            message = _too_fast(message)
        match message:
            case Refusal():
                self.refuse(message, now_ns)
            case AccountQuery():
                last = self._last_user_ref_num()
                self._answer(encode_account(last, self._wall_clock_ns()), now_ns)
            case _:
                return message
        return None

    def _answer(self, payload: bytes, now_ns: int) -> None:
        """What the gateway itself has to say; it has no number in the client's stream."""
        self._control += UnsequencedData(payload).encode()
        if len(self._control) > self._limits.output_bytes:
            self.close(ClosingReason.TOO_MANY_ANSWERS, now_ns)


def resume_refusal(stream: Stream, requested: int) -> ClosingReason | None:
    """Why a stream can't be sent from the requested number on, however it may grow; or None."""
    is_dropped = requested != 0 and requested < stream.first_sequence
    return ClosingReason.SEQUENCE_DROPPED if is_dropped else None


def _too_fast(message: ClientCommand | AccountQuery) -> Refusal:
    match message:
        case EnterOrder() | ReplaceOrder():
            user_ref_num, client_order_id = message.user_ref_num, message.client_order_id
        case CancelOrder() | MassCancel():
            user_ref_num, client_order_id = message.user_ref_num, NO_CLIENT_ORDER_ID
        case AccountQuery():
            user_ref_num, client_order_id = 0, NO_CLIENT_ORDER_ID
    return Refusal(user_ref_num, GatewayReject.RATE_EXCEEDED, client_order_id)
