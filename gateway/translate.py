"""Between OUCH and the list: a client's message to a command, and a group to its clients' messages.

    match to_command(payload, client):
        case Refusal() as refusal:     # the client has to know, but it is not in the list
            send(UnsequencedData(encode_refusal(refusal, time_ns)).encode())
        case ouch.AccountQuery():      # the largest number that it used: see `spent_user_ref_num`
            send(UnsequencedData(encode_account(last_user_ref_num, time_ns)).encode())
        case command:
            submit(command)

    for client, payload in client_messages(group.frames):   # the next number in the client's stream
        send(SequencedData(payload).encode())

`client_messages` is a pure function of a committed group: every gateway gives a client the same
messages with the same numbers.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from feed import messages
from feed.codec import Frame
from feed.messages import CancelReason, OrderType, PostOnly
from feed.symbols import names_several
from gateway import ouch
from gateway.ouch import MARKET_PRICE, NO_APPENDAGE, Appendage, CrossType, Flag, Liquidity
from gateway.ouch_codec import OuchError, decode_inbound, encode
from gateway.rejects import GatewayReject

SHORT_EXEMPT = ord("E")  # OUCH's fourth side
LARGEST_USER_REF_NUM = 2**32 - 1
NOBODY = 0  # the client in frames that belong to no client

ClientCommand: TypeAlias = (
    messages.EnterOrder | messages.ReplaceOrder | messages.CancelOrder | messages.MassCancel
)
_Numbered: TypeAlias = ouch.EnterOrder | ouch.ReplaceOrder | ouch.CancelOrder | ouch.MassCancel


class Refusal(NamedTuple):
    """What the gateway itself says no to; a field that could not be read is 0 or blank."""

    user_ref_num: int
    reason: GatewayReject
    client_order_id: bytes


class ClientMessage(NamedTuple):
    """One message of a client's numbered stream, in OUCH's bytes."""

    client: int
    payload: bytes


def to_command(payload: bytes, client: int) -> ClientCommand | ouch.AccountQuery | Refusal:
    """The command that a client's OUCH message asks for, or why there is none.

    Only form is judged: what needs the state of the market, and the codes that the machine knows,
    the machine judges. An account query comes back as it is, for the gateway to answer. Never
    raises.
    """
    try:
        message = decode_inbound(payload)
    except OuchError as error:
        return _unreadable(payload, error.reason)
    if isinstance(message, ouch.AccountQuery):
        return message
    reason = _first_fault(message)
    if reason is not None:
        return _refusal(message, reason)
    match message:
        case ouch.EnterOrder():
            return _enter_order(message, client)
        case ouch.ReplaceOrder():
            return _replace_order(message, client)
        case ouch.CancelOrder(user_ref_num, quantity):
            return messages.CancelOrder(client, user_ref_num, quantity)
        case ouch.MassCancel():
            return messages.MassCancel(
                client, message.user_ref_num, message.symbol, CancelReason.USER
            )


def encode_refusal(refusal: Refusal, time_ns: int) -> bytes:
    """The OUCH reject that tells a client of it; `time_ns` is the gateway's, since 1970."""
    user_ref_num, reason, client_order_id = refusal
    return encode(ouch.Rejected(time_ns, user_ref_num, reason, client_order_id))


def encode_account(last_user_ref_num: int, time_ns: int) -> bytes:
    """The answer to an account query, for a client that has used numbers up to the last.

    `time_ns` is the gateway's, since 1970. The next number is 0 when the client has used them all.
    """
    next_user_ref_num = (last_user_ref_num + 1) & LARGEST_USER_REF_NUM
    return encode(ouch.AccountQueryResponse(time_ns, next_user_ref_num))


def spent_user_ref_num(command: messages.Message) -> tuple[int, int] | None:
    """The client whose user_ref_num a sequenced command used up, and that number.

    It is used up even if the command was rejected. None for what uses none: cancels name the
    number of an order, and what the gateway asks for itself has none.
    """
    match command:
        case messages.EnterOrder() | messages.ReplaceOrder() | messages.MassCancel():
            if command.user_ref_num != 0:
                return command.client, command.user_ref_num
    return None


def client_messages(group: Sequence[Frame]) -> list[ClientMessage]:
    """What a whole committed group tells its clients, in the order of their streams."""
    return [message for _, message in messages_by_frame(group)]


def messages_by_frame(group: Sequence[Frame]) -> list[tuple[int, ClientMessage]]:
    """`client_messages`, each with the sequence number of the frame that it tells of."""
    first = group[0]
    command = first.message()
    events = [(frame.sequence, frame.message()) for frame in group[1:]]
    told: list[tuple[int, int, ouch.Outbound]] = []
    if not any(isinstance(event, messages.Rejected) for _, event in events):
        told += [(first.sequence, *answer) for answer in _acceptance(command, first)]
    for sequence, event in events:
        outcome = _outcome(event, command, sequence, first.time_ns)
        told += [(sequence, *answer) for answer in outcome]
    return [
        (sequence, ClientMessage(client, encode(message)))
        for sequence, client, message in told
        if client != NOBODY
    ]


def _first_fault(message: _Numbered) -> GatewayReject | None:
    if message.user_ref_num == 0:
        return GatewayReject.INVALID_USER_REF_NUM
    match message:
        case ouch.EnterOrder():
            if message.side == SHORT_EXEMPT:
                return GatewayReject.SHORT_EXEMPT_NOT_OFFERED
            if message.cross_type != CrossType.CONTINUOUS:
                return GatewayReject.CROSS_NOT_OFFERED
            return (
                _terms_fault(message)
                or _text_fault(message.symbol, message.client_order_id)
                or _symbol_fault(message.symbol)
            )
        case ouch.ReplaceOrder():
            if message.original_user_ref_num == 0:
                return GatewayReject.INVALID_USER_REF_NUM
            return _terms_fault(message) or _text_fault(message.client_order_id)
        case ouch.MassCancel():
            if message.firm != ouch.NO_FIRM:
                return GatewayReject.FIRM_NOT_OFFERED
            return _text_fault(message.symbol) or _symbol_fault(message.symbol)
        case ouch.CancelOrder():
            return None


def _terms_fault(message: ouch.EnterOrder | ouch.ReplaceOrder) -> GatewayReject | None:
    if message.price == 0:
        return GatewayReject.PRICE_ZERO
    if message.display != Flag.YES:
        return GatewayReject.INVALID_DISPLAY
    if message.intermarket_sweep != Flag.NO:
        return GatewayReject.SWEEP_NOT_OFFERED
    return None


def _text_fault(*fields: bytes) -> GatewayReject | None:
    return None if all(map(_is_text, fields)) else GatewayReject.INVALID_TEXT


def _symbol_fault(field: bytes) -> GatewayReject | None:
    return GatewayReject.TWO_SYMBOLS if names_several(field) else None


def _is_text(field: bytes) -> bool:
    return field.isascii() and field.decode().isprintable()


def _refusal(message: _Numbered, reason: GatewayReject) -> Refusal:
    client_order_id = messages.NO_CLIENT_ORDER_ID
    match message:
        case ouch.EnterOrder() | ouch.ReplaceOrder() if _is_text(message.client_order_id):
            client_order_id = message.client_order_id
    return Refusal(message.user_ref_num, reason, client_order_id)


def _unreadable(payload: bytes, reason: GatewayReject) -> Refusal:
    at = 5 if payload[:1] == b"U" else 1  # a replace order's own number comes second
    number = payload[at : at + 4] if payload[:1] in (b"O", b"U", b"X", b"C") else b""
    user_ref_num = int.from_bytes(number, "big") if len(number) == 4 else 0
    return Refusal(user_ref_num, reason, messages.NO_CLIENT_ORDER_ID)


def _enter_order(message: ouch.EnterOrder, client: int) -> messages.EnterOrder:
    post_only, stop_price = message.appendage
    has_limit = message.price != MARKET_PRICE
    if stop_price is None:
        order_type = OrderType.LIMIT if has_limit else OrderType.MARKET
    else:
        order_type = OrderType.STOP_LIMIT if has_limit else OrderType.STOP
    return messages.EnterOrder(
        client,
        message.user_ref_num,
        message.symbol,
        message.side,
        order_type,
        message.time_in_force,
        PostOnly.NO if post_only is None else post_only,
        message.quantity,
        message.price if has_limit else 0,
        stop_price or 0,
        message.capacity,
        message.client_order_id,
    )


def _replace_order(message: ouch.ReplaceOrder, client: int) -> messages.ReplaceOrder:
    return messages.ReplaceOrder(
        client,
        message.original_user_ref_num,
        message.user_ref_num,
        message.quantity,
        0 if message.price == MARKET_PRICE else message.price,
        message.appendage.stop_price or 0,
        message.time_in_force,
        message.client_order_id,
    )


def _acceptance(command: messages.Message, frame: Frame) -> list[tuple[int, ouch.Outbound]]:
    match command:
        case messages.EnterOrder():
            return [(command.client, _accepted(command, frame))]
        case messages.MassCancel(client, user_ref_num, symbol) if user_ref_num != 0:
            answer = ouch.MassCancelResponse(frame.time_ns, user_ref_num, ouch.NO_FIRM, symbol)
            return [(client, answer)]
    return []


def _outcome(
    event: messages.Message, command: messages.Message, sequence: int, time_ns: int
) -> list[tuple[int, ouch.Outbound]]:
    match event:
        case messages.Trade():
            return _executions(event, sequence, time_ns)
        case messages.Canceled():
            canceled = ouch.Canceled(time_ns, event.user_ref_num, event.quantity, event.reason)
            return [(event.client, canceled)]
        case messages.Replaced():
            assert isinstance(command, messages.ReplaceOrder), "REPLACED outside its group"
            return [(event.client, _replaced(event, command, time_ns))]
        case messages.Triggered():
            update = ouch.PriorityUpdate(
                time_ns, event.user_ref_num, _price(event.price), Flag.YES, event.order_number
            )
            return [(event.client, update)]
        case messages.Rejected(client, user_ref_num, reason):
            rejected = ouch.Rejected(time_ns, user_ref_num, reason, _client_order_id(command))
            return [(client, rejected)]
    return []


def _accepted(order: messages.EnterOrder, frame: Frame) -> ouch.Accepted:
    waits = order.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
    post_only = order.post_only if order.post_only == PostOnly.YES else None
    return ouch.Accepted(
        frame.time_ns,
        order.user_ref_num,
        order.side,
        order.quantity,
        order.symbol,
        _price(order.price),
        order.time_in_force,
        Flag.YES,
        frame.sequence,
        order.capacity,
        Flag.NO,
        CrossType.CONTINUOUS,
        ouch.OrderState.LIVE,
        order.client_order_id,
        Appendage(post_only, order.stop_price if waits else None),
    )


def _replaced(
    event: messages.Replaced, command: messages.ReplaceOrder, time_ns: int
) -> ouch.Replaced:
    return ouch.Replaced(
        time_ns,
        event.original_user_ref_num,
        event.user_ref_num,
        event.side,
        event.quantity,
        event.symbol,
        _price(event.price),
        command.time_in_force,
        Flag.YES,
        event.order_number,
        event.capacity,
        Flag.NO,
        CrossType.CONTINUOUS,
        ouch.OrderState.LIVE,
        command.client_order_id,
        Appendage(stop_price=event.stop_price) if event.stop_price else NO_APPENDAGE,
    )


def _executions(trade: messages.Trade, match: int, time_ns: int) -> list[tuple[int, ouch.Outbound]]:
    quantity, price = trade.quantity, trade.price
    maker = ouch.Executed(
        time_ns, trade.maker_user_ref_num, quantity, price, Liquidity.ADDED, match
    )
    taker = ouch.Executed(
        time_ns, trade.taker_user_ref_num, quantity, price, Liquidity.REMOVED, match
    )
    return [(trade.maker_client, maker), (trade.taker_client, taker)]


def _price(price: int) -> int:
    return price if price else MARKET_PRICE


def _client_order_id(command: messages.Message) -> bytes:
    match command:
        case messages.EnterOrder() | messages.ReplaceOrder():
            return command.client_order_id
    return messages.NO_CLIENT_ORDER_ID
