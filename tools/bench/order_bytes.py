"""OUCH orders as bytes that were made before, and what is read of their answers: hardly anything.

The messages are those of `gateway.ouch` in the packets of `gateway.soup`. Encoding and decoding
each one as an object would cost more than the gateway's own work on it.
"""

import struct
from collections.abc import Sequence
from enum import StrEnum

from feed import schema
from feed.messages import (
    ALL_SYMBOLS,
    NO_CLIENT_ORDER_ID,
    CancelReason,
    Capacity,
    Side,
    TimeInForce,
)
from gateway import ouch, ouch_codec
from gateway.ouch import CrossType, Flag, InboundType, OrderState, OutboundType
from gateway.soup import (
    ClientHeartbeat,
    LoginRequest,
    PacketType,
    SequencedData,
    ServerHeartbeat,
    UnsequencedData,
)
from tools.bench.figures import BenchmarkError

PRICE = 1_000_000
TICK = 100
QUANTITY = 100
LOT_PRICES = 8  # of each side, among which resting orders are spread

CLIENT_HEARTBEAT = ClientHeartbeat().encode()
SERVER_HEARTBEAT = ServerHeartbeat().encode()
_NUMBER = struct.Struct(">I")
_HEADER_BYTES = len(CLIENT_HEARTBEAT)
_LENGTH_BYTES = _HEADER_BYTES - 1
_ORDER_NUMBER_AT = _HEADER_BYTES + schema.field_offset(
    ouch.INBOUND[ouch.EnterOrder], "user_ref_num"
)
_CANCEL_NUMBER_AT = _HEADER_BYTES + schema.field_offset(
    ouch.INBOUND[ouch.CancelOrder], "user_ref_num"
)
_ACCEPTED_NUMBER_AT = _HEADER_BYTES + schema.field_offset(
    ouch.OUTBOUND[ouch.Accepted], "user_ref_num"
)
_CANCELED_NUMBER_AT = _HEADER_BYTES + schema.field_offset(
    ouch.OUTBOUND[ouch.Canceled], "user_ref_num"
)


class OrderFlow(StrEnum):
    """What becomes of the orders."""

    RESTING = "resting"  # every order rests
    TRADING = "trading"  # in pairs: one buys, and the next one sells the same


class OrderMaker:
    """The bytes of one client's orders, by user_ref_num."""

    def __init__(self, symbol: bytes, flow: OrderFlow) -> None:
        self._templates = [_template(symbol, side, price) for side, price in _terms(flow)]

    def order(self, user_ref_num: int) -> bytes:
        """The order with this number, in its packet."""
        before, after = self._templates[user_ref_num % len(self._templates)]
        return before + _NUMBER.pack(user_ref_num) + after


class CancelMaker:
    """The bytes of cancels, by the user_ref_num of the order."""

    def __init__(self) -> None:
        message = ouch.CancelOrder(0, 0)
        packet = UnsequencedData(ouch_codec.encode(message)).encode()
        self._before, self._after = _around(packet, _CANCEL_NUMBER_AT)

    def cancel(self, user_ref_num: int) -> bytes:
        """The cancel of the order with this number, in its packet."""
        return self._before + _NUMBER.pack(user_ref_num) + self._after


def _terms(flow: OrderFlow) -> Sequence[tuple[Side, int]]:
    if flow is OrderFlow.TRADING:
        return [(Side.BUY, PRICE), (Side.SELL, PRICE)]
    terms = []
    for level in range(1, LOT_PRICES + 1):
        terms += [(Side.BUY, PRICE - level * TICK), (Side.SELL, PRICE + level * TICK)]
    return terms


def _template(symbol: bytes, side: Side, price: int) -> tuple[bytes, bytes]:
    """What stands before and after an order's user_ref_num."""
    message = ouch.EnterOrder(0, side, QUANTITY, symbol, price, TimeInForce.DAY)
    return _around(UnsequencedData(ouch_codec.encode(message)).encode(), _ORDER_NUMBER_AT)


def _around(packet: bytes, number_at: int) -> tuple[bytes, bytes]:
    return packet[:number_at], packet[number_at + _NUMBER.size :]


class AnswerReader:
    """Reads one client's stream: that its orders are accepted, and then canceled, each in turn."""

    def __init__(self) -> None:
        self.is_open = False  # whether the log-in is accepted
        self.accepted = 0  # the last user_ref_num
        self.canceled = 0  # the last user_ref_num
        self.executed = 0  # executions, of which each trade makes one on either side
        self.heartbeats = 0
        self._rest = b""

    def take(self, received: bytes) -> int:
        """How many more orders are accepted or canceled now.

        Raises BenchmarkError for a refusal, and for anything else that is not to come.
        """
        data = self._rest + received
        size = len(data)
        at = 0
        answered = 0
        while size - at >= _HEADER_BYTES:
            end = at + _LENGTH_BYTES + (data[at] << 8 | data[at + 1])
            if end > size:
                break
            kind = data[at + 2]
            if kind == PacketType.SEQUENCED_DATA:
                answered += self._take_message(data, at)
            elif kind == PacketType.SERVER_HEARTBEAT:
                self.heartbeats += 1
            elif kind == PacketType.LOGIN_ACCEPTED:
                self.is_open = True
            else:
                raise BenchmarkError(f"the gateway said {data[at + 2 : end]!r}")
            at = end
        self._rest = data[at:]
        return answered

    def _take_message(self, data: bytes, at: int) -> bool:
        letter = data[at + _HEADER_BYTES]
        if letter == OutboundType.ACCEPTED:
            (number,) = _NUMBER.unpack_from(data, at + _ACCEPTED_NUMBER_AT)
            if number != self.accepted + 1:
                raise BenchmarkError(f"order {number} accepted, not {self.accepted + 1}")
            self.accepted = number
            return True
        if letter == OutboundType.CANCELED:
            (number,) = _NUMBER.unpack_from(data, at + _CANCELED_NUMBER_AT)
            if number != self.canceled + 1:
                raise BenchmarkError(f"order {number} canceled, not {self.canceled + 1}")
            self.canceled = number
            return True
        if letter != OutboundType.EXECUTED:
            raise BenchmarkError(f"an order was answered with {chr(letter)!r}")
        self.executed += 1
        return False


def log_in_request(user: str, secret: str) -> bytes:
    """The log-in of a client that has not been there before."""
    return LoginRequest(user, secret, "", 1).encode()


class OrderReader:
    """Reads what a client sends, for who answers it at once: log-ins, orders and cancels."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, received: bytes) -> tuple[bool, list[int], list[int]]:
        """Whether it wants to log in, and the user_ref_nums of its orders and of its cancels."""
        data = self._rest + received
        at = 0
        logs_in = False
        entered: list[int] = []
        canceled: list[int] = []
        while len(data) - at >= _HEADER_BYTES:
            end = at + _LENGTH_BYTES + (data[at] << 8 | data[at + 1])
            if end > len(data):
                break
            if data[at + 2] == PacketType.LOGIN_REQUEST:
                logs_in = True
            elif data[at + 2] == PacketType.UNSEQUENCED_DATA:
                if data[at + _HEADER_BYTES] == InboundType.ENTER_ORDER:
                    entered += _NUMBER.unpack_from(data, at + _ORDER_NUMBER_AT)
                else:
                    canceled += _NUMBER.unpack_from(data, at + _CANCEL_NUMBER_AT)
            at = end
        self._rest = data[at:]
        return logs_in, entered, canceled


class AnswerMaker:
    """The bytes that answer an order or a cancel, whichever it was."""

    def __init__(self) -> None:
        accepted = ouch.Accepted(
            time_ns=0,
            user_ref_num=0,
            side=Side.BUY,
            quantity=QUANTITY,
            symbol=ALL_SYMBOLS,
            price=PRICE,
            time_in_force=TimeInForce.DAY,
            display=Flag.YES,
            order_number=0,
            capacity=Capacity.AGENCY,
            intermarket_sweep=Flag.NO,
            cross_type=CrossType.CONTINUOUS,
            state=OrderState.LIVE,
            client_order_id=NO_CLIENT_ORDER_ID,
        )
        canceled = ouch.Canceled(0, 0, QUANTITY, CancelReason.USER)
        self._accepted = _around(_sequenced(accepted), _ACCEPTED_NUMBER_AT)
        self._canceled = _around(_sequenced(canceled), _CANCELED_NUMBER_AT)

    def acceptance(self, user_ref_num: int) -> bytes:
        """The message that accepts the order with this number, in its packet."""
        before, after = self._accepted
        return before + _NUMBER.pack(user_ref_num) + after

    def cancellation(self, user_ref_num: int) -> bytes:
        """The message that cancels it."""
        before, after = self._canceled
        return before + _NUMBER.pack(user_ref_num) + after


def _sequenced(message: ouch.Outbound) -> bytes:
    return SequencedData(ouch_codec.encode(message)).encode()
