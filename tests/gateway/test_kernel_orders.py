"""Orders in one call: both twins take the same, and never what the slow path would refuse."""

import os
from collections.abc import Sequence
from itertools import product
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.datagrams import Submission, decode_submissions
from feed.messages import SYMBOL_BYTES
from gateway import kernel, ouch
from gateway._orders_py import Taken
from gateway.limits import Rate
from gateway.ouch import MARKET_PRICE, Appendage
from gateway.ouch_codec import encode
from gateway.soup import (
    PAYLOAD_LIMIT_BYTES,
    ClientHeartbeat,
    Debug,
    LogoutRequest,
    UnsequencedData,
)
from gateway.translate import to_command
from tests.gateway.groups import ALICE, SYMBOL
from tests.gateway.twins import BOTH, EVERY_ORDER_TWIN, ORDER_TWINS

LOGIN = 0xFEDCBA9876543210

ENTER = ouch.EnterOrder(1, ord("B"), 100, SYMBOL, 10_000, ord("0"))
REPLACE = ouch.ReplaceOrder(1, 2, 100, 10_000, ord("0"))
CANCEL = ouch.CancelOrder(2, 0)
MASS_CANCEL = ouch.MassCancel(3, symbol=SYMBOL)
ONE_SYMBOL = (b"BRK.B   ", b"BF-A    ", b"A       ", b"  AAPL  ", b"ABCDEFGH", b"        ")
TWO_SYMBOLS = (
    *(b"AAPL%cMS" % separator + b" " for separator in b" /,+&;|:"),
    b"A      B",
    b"ABCDEFG/",
    b"/       ",
)
GOOD: tuple[ouch.Inbound, ...] = (
    ENTER,
    *(ENTER._replace(symbol=field) for field in ONE_SYMBOL),
    *(MASS_CANCEL._replace(symbol=field) for field in ONE_SYMBOL),
    ENTER._replace(price=MARKET_PRICE),
    ENTER._replace(side=ord("?"), quantity=2**32 - 1, time_in_force=0, capacity=255),
    ENTER._replace(appendage=Appendage(post_only=ord("P"))),
    ENTER._replace(appendage=Appendage(stop_price=9_000)),
    ENTER._replace(appendage=Appendage(stop_price=0), price=MARKET_PRICE),
    ENTER._replace(
        appendage=Appendage(ord("?"), 2**64 - 1), client_order_id=b"an order's name"[:14]
    ),
    REPLACE,
    REPLACE._replace(price=MARKET_PRICE, appendage=Appendage(stop_price=2**64 - 1)),
    CANCEL,
    CANCEL._replace(user_ref_num=2**32 - 1, quantity=2**32 - 1),
    MASS_CANCEL,
    MASS_CANCEL._replace(symbol=b" " * 8),
)
BAD: tuple[ouch.Inbound, ...] = (
    ENTER._replace(user_ref_num=0),
    ENTER._replace(side=ord("E")),
    ENTER._replace(cross_type=ord("O")),
    ENTER._replace(price=0),
    ENTER._replace(display=ord("N")),
    ENTER._replace(intermarket_sweep=ord("Y")),
    ENTER._replace(symbol=b"AAPL\x7f   "),
    ENTER._replace(symbol=b"AAPL\x1f   "),
    *(ENTER._replace(symbol=field) for field in TWO_SYMBOLS),
    *(MASS_CANCEL._replace(symbol=field) for field in TWO_SYMBOLS),
    ENTER._replace(client_order_id=b"\xffbcdefghijklmn"),
    ENTER._replace(client_order_id=b"abcdefghijklm\x00"),
    REPLACE._replace(user_ref_num=0),
    REPLACE._replace(original_user_ref_num=0),
    REPLACE._replace(price=0),
    REPLACE._replace(display=ord("A")),
    REPLACE._replace(intermarket_sweep=ord("Y")),
    REPLACE._replace(client_order_id=b"\x80bcdefghijklmn"),
    CANCEL._replace(user_ref_num=0),
    MASS_CANCEL._replace(user_ref_num=0),
    MASS_CANCEL._replace(firm=b"FIRM"),
    MASS_CANCEL._replace(symbol=b"AAPL\n   "),
    ouch.AccountQuery(),
)


def packet(message: ouch.Inbound) -> bytes:
    return UnsequencedData(encode(message)).encode()


def lengthened(message: ouch.Inbound, *elements: bytes) -> bytes:
    """A message with these bytes for its appendage."""
    data, appendage = encode(message)[:-2], b"".join(elements)
    return data + len(appendage).to_bytes(2, "big") + appendage


POST_ONLY, STOP_PRICE = b"\x02\x0cP", b"\x09\x80" + bytes(8)
BAD_PAYLOADS = (
    b"",
    b"?",
    b"O",
    encode(ENTER)[:-1],
    encode(ENTER) + b" ",
    encode(CANCEL)[:-1],
    encode(CANCEL) + b" ",
    encode(MASS_CANCEL)[:-1],
    encode(MASS_CANCEL) + b" ",
    lengthened(MASS_CANCEL, POST_ONLY),
    lengthened(REPLACE, POST_ONLY),
    lengthened(ENTER, POST_ONLY, POST_ONLY),
    lengthened(ENTER, STOP_PRICE, POST_ONLY, STOP_PRICE),
    lengthened(REPLACE, STOP_PRICE, STOP_PRICE),
    lengthened(ENTER, b"\x02\x0dP"),
    lengthened(ENTER, b"\x03\x0cPP"),
    lengthened(ENTER, b"\x01\x0c"),
    lengthened(ENTER, b"\x08\x80" + bytes(7)),
    lengthened(ENTER, b"\x02\x0c"),
    lengthened(ENTER, b"\x00"),
    lengthened(ENTER, b"\x00\x0c"),
    lengthened(ENTER, POST_ONLY, b"\x02"),
    lengthened(ENTER, b"\xff\x0cP"),
    lengthened(ENTER, POST_ONLY)[:-1],
)


def take(
    twin: ModuleType, data: bytes, begin: int = 0, room: int = 1000, rate: Rate | None = None
) -> Taken:
    taken = twin.take_orders(data, begin, room, ALICE, LOGIN, rate or Rate(1000, 1000), 5)
    assert isinstance(taken, Taken)
    return taken


def expected(messages: Sequence[ouch.Inbound]) -> list[Submission]:
    """What the slow path would submit."""
    submissions = []
    for message in messages:
        command = to_command(encode(message), ALICE)
        submissions.append(Submission(LOGIN, command))  # type: ignore[arg-type]
    return submissions


def test_the_compiled_kernel_is_in_use_where_it_was_built() -> None:
    is_wanted = os.environ.get("LOCKSTEP_KERNEL") != "0"
    ending = "_c" if is_wanted and len(ORDER_TWINS) == 2 else "_py"
    assert (f"gateway._orders{ending}", f"gateway._streams{ending}") == kernel.IN_USE


@EVERY_ORDER_TWIN
def test_orders_in_a_row_become_submissions_back_to_back(twin: ModuleType) -> None:
    data = b"".join(map(packet, GOOD))
    taken = take(twin, data)
    assert (taken.end, taken.command_count) == (len(data), len(GOOD))
    assert decode_submissions(taken.submissions) == expected(GOOD)


@EVERY_ORDER_TWIN
@pytest.mark.parametrize("message", BAD, ids=repr)
def test_it_stops_before_what_is_refused_or_answered(
    twin: ModuleType, message: ouch.Inbound
) -> None:
    data = packet(CANCEL) + packet(message) + packet(CANCEL)
    assert take(twin, data)[:2] == (len(packet(CANCEL)), 1)
    rest = len(data) - len(packet(CANCEL))
    assert take(twin, data, rest)[:2] == (len(data), 1)


@BOTH
def test_wherever_a_symbols_blanks_are_both_twins_agree_on_whether_it_is_one() -> None:
    for characters in product(b"A /\x7f", repeat=SYMBOL_BYTES - 2):
        data = packet(ENTER._replace(symbol=bytes((*characters, 0x20, characters[0]))))
        plain, compiled = (take(twin, data) for twin in ORDER_TWINS)
        assert plain == compiled, characters


@EVERY_ORDER_TWIN
@pytest.mark.parametrize("payload", BAD_PAYLOADS, ids=bytes.hex)
def test_it_stops_before_what_is_no_message(twin: ModuleType, payload: bytes) -> None:
    data = packet(CANCEL) + UnsequencedData(payload).encode() + packet(CANCEL)
    assert take(twin, data)[:2] == (len(packet(CANCEL)), 1)


@EVERY_ORDER_TWIN
@pytest.mark.parametrize(
    "other",
    [
        ClientHeartbeat().encode(),
        Debug("hello").encode(),
        LogoutRequest().encode(),
        b"\x00\x00U",
        (PAYLOAD_LIMIT_BYTES + 2).to_bytes(2, "big") + b"U" + bytes(PAYLOAD_LIMIT_BYTES + 1),
        b"\x00\x01S",
        b"",
        b"\x00",
        b"\x00\x0aU",
        packet(ENTER)[:-1],
    ],
    ids=bytes.hex,
)
def test_it_stops_before_another_packet_and_one_that_is_not_whole(
    twin: ModuleType, other: bytes
) -> None:
    data = packet(ENTER) + other
    assert take(twin, data)[:2] == (len(packet(ENTER)), 1)


@EVERY_ORDER_TWIN
def test_it_takes_no_more_than_there_is_room_for(twin: ModuleType) -> None:
    size = len(packet(CANCEL))
    assert [take(twin, 3 * packet(CANCEL), room=room)[:2] for room in (-1, 0, 1, 2, 3, 4)] == [
        (0, 0),
        (0, 0),
        (size, 1),
        (2 * size, 2),
        (3 * size, 3),
        (3 * size, 3),
    ]


@EVERY_ORDER_TWIN
def test_orders_and_cancels_use_up_tokens_of_their_own(twin: ModuleType) -> None:
    rate = Rate(10, 2)
    messages: list[ouch.Inbound] = [ENTER, CANCEL, REPLACE, MASS_CANCEL, CANCEL]
    data = b"".join(map(packet, messages))
    taken = take(twin, data, rate=rate)
    assert taken.command_count == 4
    assert (rate.orders.has_token(5), rate.cancels.has_token(5)) == (False, False)
    assert take(twin, data, taken.end, rate=rate).command_count == 0
    assert take(twin, data, rate=rate).command_count == 0


PIECES = st.one_of(
    st.sampled_from([packet(message) for message in GOOD]),
    st.sampled_from([packet(message) for message in (*BAD, *GOOD)]),
    st.sampled_from([UnsequencedData(payload).encode() for payload in BAD_PAYLOADS]),
    st.binary(max_size=20),
    st.binary(max_size=60).map(lambda payload: UnsequencedData(b"O" + payload).encode()),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """What a client might send, with a few bytes changed or the end cut off."""
    data = bytearray().join(draw(st.lists(PIECES, max_size=12)))
    for _ in range(draw(st.integers(0, 3))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@BOTH
@given(
    data=damaged(),
    begin=st.sampled_from((0, 0, 0, 0, 12, 13, 50, 53)),
    room=st.integers(-1, 15),
    client=st.integers(0, 2**32 - 1),
    login=st.integers(0, 2**64 - 1),
    burst=st.integers(1, 10),
    now_ns=st.integers(0, 2**62),
)
def test_both_twins_take_the_same_of_any_bytes(
    data: bytes, begin: int, room: int, client: int, login: int, burst: int, now_ns: int
) -> None:
    begin = min(begin, len(data))
    rates, taken = [], []
    for twin in ORDER_TWINS:
        rate = Rate(1000, burst)
        taken.append(twin.take_orders(data, begin, room, client, login, rate, now_ns))
        rates.append((rate.orders.full_at_ns, rate.cancels.full_at_ns))
    assert taken[0] == taken[1]
    assert rates[0] == rates[1]
    assert taken[0].command_count <= max(0, room)
