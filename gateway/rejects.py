"""Why the gateway itself refuses a message, before it could come to the machine.

The machine's reasons are `engine.rejects.RejectReason`, below 1000; these begin at 1000. A refusal
of the gateway is not in the list: it has no number in the client's stream, and the user_ref_num
of what was refused is not spent, until a higher one is.
"""

from engine.rejects import Reason, RejectReason


class GatewayReject(Reason):
    """The reason in an OUCH reject that the gateway itself sends."""

    UNKNOWN_MESSAGE_TYPE = 1000, "message type must be O, U, X, C (mass cancel) or Q"
    INVALID_LENGTH = 1001, "the message is longer or shorter than its type and appendage say"
    INVALID_APPENDAGE = 1002, "an appendage is a list of {length 1, tag 1, value}; see its tags"
    UNKNOWN_TAG = 1003, "no appendage with this tag belongs to this type of message"
    DUPLICATE_TAG = 1004, "each appendage may stand once in a message"
    INVALID_USER_REF_NUM = 1005, "user_ref_num starts at 1 and grows with each command"
    INVALID_TEXT = 1006, "symbol, client order id and firm must be printable ASCII"
    SHORT_EXEMPT_NOT_OFFERED = 1007, "side E (sell short exempt) is not offered; use B, S or T"
    INVALID_DISPLAY = 1008, "display must be Y: every order is shown"
    SWEEP_NOT_OFFERED = 1009, "intermarket sweep eligibility must be N"
    CROSS_NOT_OFFERED = 1010, "cross type must be N: there is continuous trading only"
    FIRM_NOT_OFFERED = 1011, "firm must be blank: a client cancels its own orders only"
    PRICE_ZERO = 1012, "price 0 is no limit; a market order's price is 0x7FFFFFFF"
    RATE_EXCEEDED = 1013, "more messages than the client's rate; slow down, and use a new number"
    # Never sent: what the client library makes of NUMBER_PASSED for what it has sent again.
    CONNECTION_LOST = 1014, "refused by the gateway; its reason was lost with the connection"
    NUMBER_PASSED = (
        1015,
        "a later user_ref_num was used in this shard; unless an earlier event tells of this one, it"
        " never took effect: send the command again under a new number",
    )
    TWO_SYMBOLS = (
        1016,
        "an order is for one symbol: orders over several are not offered, since shards never wait"
        " for one another; send an order for each",
    )


_REASONS: dict[int, RejectReason | GatewayReject] = {
    int(reason): reason for reason in (*RejectReason, *GatewayReject)
}


def reject_reason(code: int) -> RejectReason | GatewayReject | int:
    """The reason with this code, whoever refused; the code itself when it is not known here."""
    return _REASONS.get(code, code)


def reject_text(code: int) -> str:
    """The text of the reason with this code."""
    reason = _REASONS.get(code)
    return reason.text if reason else f"reason {code}, which this version does not know"
