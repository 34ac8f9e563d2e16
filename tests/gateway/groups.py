"""Committed groups as a feed would deliver them, made from commands and their events."""

from array import array
from collections.abc import Sequence

from feed.codec import decode_frame, encode_group
from feed.messages import (
    Capacity,
    EnterOrder,
    LogIn,
    Message,
    OrderType,
    PostOnly,
    SelfTradePrevention,
    Side,
    TimeInForce,
    Trade,
)
from feed.subscriber import Group
from gateway.soup import SequencedData
from gateway.streams import Stream

ALICE, BOB = 1, 2
SYMBOL = b"AAPL    "


def group(messages: Sequence[Message], first_sequence: int, time_ns: int = 1) -> Group:
    """The group of a command and its events."""
    frames = encode_group(messages, first_sequence, time_ns)
    return Group(tuple(decode_frame(frame) for frame in frames))


def frames_of(group: Group) -> bytes:
    """The frames of a group, back to back."""
    return b"".join(frame.data for frame in group.frames)


def add(stream: Stream, payload: bytes) -> None:
    """The message with the next number comes into a client's stream."""
    packet = SequencedData(payload).encode()
    stream.extend(packet, array("I", [len(packet)]))


def order(client: int, user_ref_num: int, side: Side = Side.BUY, quantity: int = 100) -> EnterOrder:
    """A limit order for the day at 1.00."""
    return EnterOrder(
        client,
        user_ref_num,
        SYMBOL,
        side,
        OrderType.LIMIT,
        TimeInForce.DAY,
        PostOnly.NO,
        quantity,
        10_000,
        0,
        Capacity.AGENCY,
        b" " * 14,
    )


def trade(maker: tuple[int, int, int], taker: tuple[int, int, int]) -> Trade:
    """A trade of 100 at 1.00 between two orders: number, client and user_ref_num of each."""
    return Trade(SYMBOL, 10_000, 100, Side.SELL, *maker, *taker)


def log_in(client: int, login: int) -> LogIn:
    """A log-in as a gateway submits it."""
    return LogIn(client, login, SelfTradePrevention.CANCEL_NEWEST)
