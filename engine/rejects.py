"""Why a command is refused: one reason for each check of the machine, with its text."""

from enum import IntEnum
from typing import Self


class Reason(IntEnum):
    """A number that stands in a reject, with a text that says what to do."""

    text: str

    def __new__(cls, value: int, text: str) -> Self:
        member = int.__new__(cls, value)
        member._value_ = value
        member.text = text
        return member


class RejectReason(Reason):
    """The reason in a REJECTED frame, and in the client's OUCH reject."""

    UNKNOWN_SYMBOL = 1, "no such symbol here; check the list of instruments"
    HALTED = 2, "the instrument is halted; only cancels are taken until it resumes"
    INVALID_SIDE = 3, "side must be B (buy), S (sell) or T (sell short)"
    INVALID_ORDER_TYPE = 4, "order type must be limit, market, stop or stop limit"
    INVALID_TIME_IN_FORCE = (
        5,
        "time in force must be 0 (day), 1 (good till cancel), 3 (immediate or cancel) or 4 (fill or"
        " kill)",
    )
    INVALID_POST_ONLY = 6, "post-only must be P (yes) or N (no)"
    INVALID_CAPACITY = 7, "capacity must be A (agency), P (principal), R (riskless) or O (other)"
    SHORT_SALE_FORBIDDEN = 8, "the instrument may not be sold short"
    INVALID_QUANTITY = 9, "quantity must be a multiple of the lot size, from 1 to 999,999"
    INVALID_PRICE = (
        10,
        "a limit price must be a multiple of the tick size, up to 199,999.99; others have none",
    )
    INVALID_STOP_PRICE = (
        11,
        "a stop price must be a multiple of the tick size; only stop orders have one",
    )
    POST_ONLY_COMBINATION = (
        12,
        "post-only goes only with a limit order for the day or till canceled",
    )
    POST_ONLY_WOULD_TRADE = (
        13,
        "the post-only order would have traded; choose a price that does not cross",
    )
    TOO_MANY_ORDERS = 14, "the shard holds as many live orders as it can; cancel some first"
    ORDER_NOT_LIVE = 15, "no live order has this user_ref_num; it has ended, or never was"
    QUANTITY_ALREADY_EXECUTED = 16, "the order has already executed the new quantity; ask for more"
    INVALID_REASON = 17, "a mass cancel's reason must be U (user) or L (link lost)"
    INVALID_TRADING_STATE = 18, "trading state must be H (halted) or T (trading)"
    INSTRUMENT_EXISTS = 19, "the symbol is already listed"
    INVALID_TICK_OR_LOT_SIZE = 20, "tick size and lot size must be at least 1"
    INVALID_SHORT_SALE = 21, "short sale must be Y (allowed) or N (forbidden)"
    INVALID_SELF_TRADE_PREVENTION = (
        22,
        "self-trade prevention must be N (cancel newest), O (oldest), B (both) or F (off)",
    )
    INVALID_SYMBOL = 23, "a blank symbol stands for all symbols; an instrument needs a name"
    INVALID_DAY = 24, "a day is a date as YYYYMMDD, and later than the one before"
    MOVED = 25, "the instrument has moved to another shard; send the order again"
    NOT_HALTED = 26, "an instrument moves only while it is halted; halt it first"
    INVALID_ORDER = 27, "no live order of the instrument can have these terms"
    INVALID_MARK = 28, "a mark names a shard, and a later place in its list than the one before"
