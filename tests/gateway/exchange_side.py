"""The exchange's side of a client's session, for tests: the bytes that a gateway would send."""

from feed.messages import NO_CLIENT_ORDER_ID, CancelReason, Capacity, Side, TimeInForce
from gateway import ouch
from gateway.ouch_codec import decode_inbound, encode
from gateway.soup import (
    ClientPacket,
    Debug,
    LoginAccepted,
    LoginRejected,
    LoginRejectReason,
    SequencedData,
    UnsequencedData,
    client_packets,
)

TIME_NS = 1_700_000_000_000_000_000
AAPL = b"AAPL    "
MSFT = b"MSFT    "


def accept(sequence: int = 1, session: str = "DEMO") -> bytes:
    return LoginAccepted(session, sequence).encode()


def reject(reason: LoginRejectReason, text: str = "") -> bytes:
    debug = Debug(text).encode() if text else b""
    return debug + LoginRejected(reason).encode()


def account(next_user_ref_num: int) -> bytes:
    return unnumbered(ouch.AccountQueryResponse(TIME_NS, next_user_ref_num))


def numbered(*messages: ouch.Outbound) -> bytes:
    return b"".join(SequencedData(encode(message)).encode() for message in messages)


def unnumbered(message: ouch.Outbound) -> bytes:
    return UnsequencedData(encode(message)).encode()


def accepted(user_ref_num: int, quantity: int = 100, symbol: bytes = AAPL) -> ouch.Accepted:
    return ouch.Accepted(
        TIME_NS,
        user_ref_num,
        Side.BUY,
        quantity,
        symbol,
        1_850_000,
        TimeInForce.DAY,
        ouch.Flag.YES,
        1000 + user_ref_num,
        Capacity.AGENCY,
        ouch.Flag.NO,
        ouch.CrossType.CONTINUOUS,
        ouch.OrderState.LIVE,
        NO_CLIENT_ORDER_ID,
    )


def replaced(original: int, user_ref_num: int, quantity: int = 100) -> ouch.Replaced:
    _, _, *terms = accepted(user_ref_num, quantity)
    return ouch.Replaced._make((TIME_NS, original, user_ref_num, *terms))


def executed(user_ref_num: int, quantity: int) -> ouch.Executed:
    return ouch.Executed(TIME_NS, user_ref_num, quantity, 1_850_000, ouch.Liquidity.ADDED, 7)


def canceled(user_ref_num: int, quantity: int) -> ouch.Canceled:
    return ouch.Canceled(TIME_NS, user_ref_num, quantity, CancelReason.USER)


def mass_canceled(user_ref_num: int) -> ouch.MassCancelResponse:
    return ouch.MassCancelResponse(TIME_NS, user_ref_num, ouch.NO_FIRM, AAPL)


def rejected(user_ref_num: int, reason: int) -> ouch.Rejected:
    return ouch.Rejected(TIME_NS, user_ref_num, reason, NO_CLIENT_ORDER_ID)


def packets_in(data: bytes) -> list[ClientPacket]:
    """What a client sent."""
    return list(client_packets().take(data))


def messages_in(data: bytes) -> list[ouch.Inbound]:
    """The OUCH messages in what a client sent, which has to be nothing else."""
    messages = []
    for packet in packets_in(data):
        assert isinstance(packet, UnsequencedData), packet
        messages.append(decode_inbound(packet.payload))
    return messages
