"""A client's message to a command or a refusal, and committed groups to their clients' messages."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rejects import RejectReason
from feed import messages
from feed.codec import Frame, decode_frame, encode_group
from feed.messages import (
    CancelReason,
    Capacity,
    Message,
    OrderType,
    PostOnly,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from gateway import ouch
from gateway.ouch import MARKET_PRICE, Appendage, Flag, Liquidity
from gateway.ouch_codec import decode_outbound, encode
from gateway.rejects import GatewayReject, reject_reason, reject_text
from gateway.translate import (
    LARGEST_USER_REF_NUM,
    Refusal,
    client_messages,
    encode_account,
    encode_refusal,
    spent_user_ref_num,
    to_command,
)

ALICE = 7
BOB = 8
TIME_NS = 1_700_000_000_000_000_000
AAPL = b"AAPL    "
NAME = b"my-order      "
ENTER = ouch.EnterOrder(
    5,
    Side.BUY,
    100,
    AAPL,
    1_850_000,
    TimeInForce.DAY,
    capacity=Capacity.PRINCIPAL,
    client_order_id=NAME,
)
REPLACE = ouch.ReplaceOrder(5, 6, 80, 1_840_000, TimeInForce.DAY, client_order_id=NAME)


def entered(**fields: int | bytes) -> messages.EnterOrder:
    order = messages.EnterOrder(
        ALICE,
        5,
        AAPL,
        Side.BUY,
        OrderType.LIMIT,
        TimeInForce.DAY,
        PostOnly.NO,
        100,
        1_850_000,
        0,
        Capacity.PRINCIPAL,
        NAME,
    )
    return order._replace(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("price", "appendage", "expected"),
    [
        (1_850_000, Appendage(), entered()),
        (MARKET_PRICE, Appendage(), entered(order_type=OrderType.MARKET, price=0)),
        (1_850_000, Appendage(PostOnly.YES), entered(post_only=PostOnly.YES)),
        (1_850_000, Appendage(PostOnly.NO), entered()),
        (
            MARKET_PRICE,
            Appendage(stop_price=1_860_000),
            entered(order_type=OrderType.STOP, price=0, stop_price=1_860_000),
        ),
        (
            1_850_000,
            Appendage(stop_price=1_860_000),
            entered(order_type=OrderType.STOP_LIMIT, stop_price=1_860_000),
        ),
        # The machine's to refuse: a stop order without a stop price, a code that nobody knows.
        (1_850_000, Appendage(stop_price=0), entered(order_type=OrderType.STOP_LIMIT)),
        (1_850_000, Appendage(post_only=1), entered(post_only=1)),
    ],
)
def test_an_orders_type_follows_from_its_prices(
    price: int, appendage: Appendage, expected: messages.EnterOrder
) -> None:
    message = ENTER._replace(price=price, appendage=appendage)
    assert to_command(encode(message), ALICE) == expected


def test_codes_that_the_machine_judges_are_carried_to_it() -> None:
    message = ENTER._replace(side=ord("X"), time_in_force=ord("5"), capacity=0)
    assert to_command(encode(message), ALICE) == entered(
        side=ord("X"), time_in_force=ord("5"), capacity=0
    )


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (REPLACE, messages.ReplaceOrder(ALICE, 5, 6, 80, 1_840_000, 0, TimeInForce.DAY, NAME)),
        (
            REPLACE._replace(price=MARKET_PRICE, appendage=Appendage(stop_price=9)),
            messages.ReplaceOrder(ALICE, 5, 6, 80, 0, 9, TimeInForce.DAY, NAME),
        ),
        (ouch.CancelOrder(5, 20), messages.CancelOrder(ALICE, 5, 20)),
        (
            ouch.MassCancel(9, symbol=AAPL),
            messages.MassCancel(ALICE, 9, AAPL, CancelReason.USER),
        ),
        (
            ouch.MassCancel(9),
            messages.MassCancel(ALICE, 9, messages.ALL_SYMBOLS, CancelReason.USER),
        ),
        (ouch.AccountQuery(), ouch.AccountQuery()),
    ],
)
def test_other_messages_become_their_commands(message: ouch.Inbound, expected: object) -> None:
    assert to_command(encode(message), ALICE) == expected


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (ENTER._replace(user_ref_num=0), GatewayReject.INVALID_USER_REF_NUM),
        (ENTER._replace(side=ord("E")), GatewayReject.SHORT_EXEMPT_NOT_OFFERED),
        (ENTER._replace(display=Flag.NO), GatewayReject.INVALID_DISPLAY),
        (ENTER._replace(intermarket_sweep=Flag.YES), GatewayReject.SWEEP_NOT_OFFERED),
        (ENTER._replace(cross_type=ord("O")), GatewayReject.CROSS_NOT_OFFERED),
        (ENTER._replace(price=0), GatewayReject.PRICE_ZERO),
        (ENTER._replace(symbol=b"AAPL\xff   "), GatewayReject.INVALID_TEXT),
        (ENTER._replace(symbol=b"AAPL\x00   "), GatewayReject.INVALID_TEXT),
        (ENTER._replace(symbol=b"AAPL/\x00  "), GatewayReject.INVALID_TEXT),
        (ENTER._replace(symbol=b"AAPL/MS "), GatewayReject.TWO_SYMBOLS),
        (REPLACE._replace(user_ref_num=0), GatewayReject.INVALID_USER_REF_NUM),
        (REPLACE._replace(original_user_ref_num=0), GatewayReject.INVALID_USER_REF_NUM),
        (REPLACE._replace(display=Flag.NO), GatewayReject.INVALID_DISPLAY),
        (REPLACE._replace(intermarket_sweep=Flag.YES), GatewayReject.SWEEP_NOT_OFFERED),
        (REPLACE._replace(price=0), GatewayReject.PRICE_ZERO),
    ],
)
def test_what_the_gateway_does_not_offer_is_refused_by_name(
    message: ouch.EnterOrder | ouch.ReplaceOrder, reason: GatewayReject
) -> None:
    assert to_command(encode(message), ALICE) == Refusal(message.user_ref_num, reason, NAME)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (ouch.CancelOrder(0, 0), GatewayReject.INVALID_USER_REF_NUM),
        (ouch.MassCancel(0), GatewayReject.INVALID_USER_REF_NUM),
        (ouch.MassCancel(4, firm=b"FIRM"), GatewayReject.FIRM_NOT_OFFERED),
        (ouch.MassCancel(4, symbol=b"\x80       "), GatewayReject.INVALID_TEXT),
        (ouch.MassCancel(4, symbol=b"AAPL MS "), GatewayReject.TWO_SYMBOLS),
    ],
)
def test_cancels_are_refused_by_name_too(
    message: ouch.CancelOrder | ouch.MassCancel, reason: GatewayReject
) -> None:
    refusal = Refusal(message.user_ref_num, reason, messages.NO_CLIENT_ORDER_ID)
    assert to_command(encode(message), ALICE) == refusal


def test_a_client_order_id_that_is_not_text_is_not_sent_back() -> None:
    message = ENTER._replace(client_order_id=b"\xffmy-order     ")
    refusal = Refusal(5, GatewayReject.INVALID_TEXT, messages.NO_CLIENT_ORDER_ID)
    assert to_command(encode(message), ALICE) == refusal


@pytest.mark.parametrize(
    ("payload", "user_ref_num", "reason"),
    [
        (b"", 0, GatewayReject.UNKNOWN_MESSAGE_TYPE),
        (b"?\x00\x00\x00\x05", 0, GatewayReject.UNKNOWN_MESSAGE_TYPE),
        (b"O\x00\x00\x05", 0, GatewayReject.INVALID_LENGTH),
        (b"O\x00\x00\x00\x05B", 5, GatewayReject.INVALID_LENGTH),
        (b"U\x00\x00\x00\x05\x00\x00\x00\x06", 6, GatewayReject.INVALID_LENGTH),
        (b"X\x00\x00\x00\x05", 5, GatewayReject.INVALID_LENGTH),
        (b"C\x00\x00\x00\x05", 5, GatewayReject.INVALID_LENGTH),
        (b"Q", 0, GatewayReject.INVALID_LENGTH),
        (encode(ENTER)[:-2] + b"\xff\xff", 5, GatewayReject.INVALID_LENGTH),
        (encode(ENTER)[:-1] + b"\x03\x02\x63\x00", 5, GatewayReject.UNKNOWN_TAG),
    ],
)
def test_what_can_not_be_read_is_refused_with_what_could_be(
    payload: bytes, user_ref_num: int, reason: GatewayReject
) -> None:
    refusal = Refusal(user_ref_num, reason, messages.NO_CLIENT_ORDER_ID)
    assert to_command(payload, ALICE) == refusal


@settings(deadline=None)
@given(st.binary(max_size=80), st.sampled_from([b"", b"O", b"U", b"X", b"C", b"Q"]))
def test_no_bytes_of_a_client_raise(data: bytes, letter: bytes) -> None:
    answer = to_command(letter + data, ALICE)
    if isinstance(answer, Refusal):
        reject = decode_outbound(encode_refusal(answer, TIME_NS))
        assert reject == ouch.Rejected(
            TIME_NS, answer.user_ref_num, answer.reason, answer.client_order_id
        )
    elif not isinstance(answer, ouch.AccountQuery):
        assert answer.client == ALICE
        assert answer.user_ref_num != 0


def test_the_answer_to_a_query_is_the_number_above_the_last() -> None:
    answers = [decode_outbound(encode_account(last, TIME_NS)) for last in (0, 41)]
    assert answers == [
        ouch.AccountQueryResponse(TIME_NS, 1),
        ouch.AccountQueryResponse(TIME_NS, 42),
    ]


def test_there_is_no_number_above_the_largest() -> None:
    answer = decode_outbound(encode_account(LARGEST_USER_REF_NUM, TIME_NS))
    assert answer == ouch.AccountQueryResponse(TIME_NS, 0)


@pytest.mark.parametrize(
    ("command", "spent"),
    [
        (entered(), (ALICE, 5)),
        (messages.ReplaceOrder(BOB, 5, 6, 1, 1, 0, TimeInForce.DAY, NAME), (BOB, 6)),
        (messages.MassCancel(BOB, 9, AAPL, CancelReason.USER), (BOB, 9)),
        (messages.MassCancel(BOB, 0, AAPL, CancelReason.LINK_LOST), None),
        (messages.CancelOrder(BOB, 5, 0), None),
        (messages.LogIn(BOB, 1, SelfTradePrevention.OFF), None),
    ],
)
def test_commands_with_a_number_of_their_own_spend_it(
    command: Message, spent: tuple[int, int] | None
) -> None:
    assert spent_user_ref_num(command) == spent


def group_of(*group: Message) -> list[Frame]:
    return [decode_frame(data) for data in encode_group(group, 1000, TIME_NS)]


def told(*group: Message) -> list[tuple[int, ouch.Outbound]]:
    return [(client, decode_outbound(data)) for client, data in client_messages(group_of(*group))]


def accepted(**fields: object) -> ouch.Accepted:
    message = ouch.Accepted(
        TIME_NS,
        5,
        Side.BUY,
        100,
        AAPL,
        1_850_000,
        TimeInForce.DAY,
        Flag.YES,
        1000,
        Capacity.PRINCIPAL,
        Flag.NO,
        ouch.CrossType.CONTINUOUS,
        ouch.OrderState.LIVE,
        NAME,
    )
    return message._replace(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (entered(), accepted()),
        (
            entered(post_only=PostOnly.YES),
            accepted(appendage=Appendage(PostOnly.YES)),
        ),
        (
            entered(order_type=OrderType.STOP, price=0, stop_price=9),
            accepted(price=MARKET_PRICE, appendage=Appendage(stop_price=9)),
        ),
        (
            entered(order_type=OrderType.STOP_LIMIT, stop_price=9),
            accepted(appendage=Appendage(stop_price=9)),
        ),
    ],
)
def test_an_order_that_rests_is_accepted(
    order: messages.EnterOrder, message: ouch.Accepted
) -> None:
    assert told(order) == [(ALICE, message)]


def trade(maker: int, maker_client: int, maker_user_ref_num: int, quantity: int) -> messages.Trade:
    return messages.Trade(
        AAPL,
        1_849_900,
        quantity,
        Side.BUY,
        maker,
        maker_client,
        maker_user_ref_num,
        1000,
        ALICE,
        5,
    )


def test_a_trade_is_told_to_the_maker_and_then_to_the_taker() -> None:
    group = (
        entered(order_type=OrderType.MARKET, price=0, time_in_force=TimeInForce.DAY),
        trade(900, BOB, 3, 60),
        trade(901, ALICE, 2, 30),
        messages.Canceled(ALICE, 5, 1000, 10, CancelReason.IMMEDIATE),
    )
    added, removed = Liquidity.ADDED, Liquidity.REMOVED
    assert told(*group) == [
        (ALICE, accepted(price=MARKET_PRICE)),
        (BOB, ouch.Executed(TIME_NS, 3, 60, 1_849_900, added, 1001)),
        (ALICE, ouch.Executed(TIME_NS, 5, 60, 1_849_900, removed, 1001)),
        (ALICE, ouch.Executed(TIME_NS, 2, 30, 1_849_900, added, 1002)),
        (ALICE, ouch.Executed(TIME_NS, 5, 30, 1_849_900, removed, 1002)),
        (ALICE, ouch.Canceled(TIME_NS, 5, 10, CancelReason.IMMEDIATE)),
    ]


def replaced(**fields: object) -> ouch.Replaced:
    message = ouch.Replaced(
        TIME_NS,
        5,
        6,
        Side.BUY,
        70,
        AAPL,
        1_840_000,
        TimeInForce.DAY,
        Flag.YES,
        900,
        Capacity.PRINCIPAL,
        Flag.NO,
        ouch.CrossType.CONTINUOUS,
        ouch.OrderState.LIVE,
        NAME,
    )
    return message._replace(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("price", "stop_price", "message"),
    [
        (1_840_000, 0, replaced()),
        (1_840_000, 9, replaced(appendage=Appendage(stop_price=9))),
        (0, 9, replaced(price=MARKET_PRICE, appendage=Appendage(stop_price=9))),
    ],
)
def test_a_replaced_order_has_its_new_terms(
    price: int, stop_price: int, message: ouch.Replaced
) -> None:
    command = messages.ReplaceOrder(ALICE, 5, 6, 80, price, stop_price, TimeInForce.DAY, NAME)
    event = messages.Replaced(
        ALICE, 5, 6, 900, AAPL, Side.BUY, 70, price, stop_price, Capacity.PRINCIPAL, 1
    )
    assert told(command, event) == [(ALICE, message)]


def test_an_order_that_wakes_is_told_to_its_client_within_the_others_group() -> None:
    canceled = messages.Canceled(BOB, 4, 800, 50, CancelReason.IMMEDIATE)
    for price, told_price in ((0, MARKET_PRICE), (1_850_000, 1_850_000)):
        triggered = messages.Triggered(BOB, 4, 800, AAPL, Side.SELL, 50, price)
        assert told(entered(), triggered, canceled) == [
            (ALICE, accepted()),
            (BOB, ouch.PriorityUpdate(TIME_NS, 4, told_price, Flag.YES, 800)),
            (BOB, ouch.Canceled(TIME_NS, 4, 50, CancelReason.IMMEDIATE)),
        ]


@pytest.mark.parametrize(
    ("command", "client_order_id"),
    [
        (entered(), NAME),
        (messages.ReplaceOrder(ALICE, 4, 5, 1, 1, 0, TimeInForce.DAY, NAME), NAME),
        (messages.CancelOrder(ALICE, 5, 0), messages.NO_CLIENT_ORDER_ID),
        (messages.MassCancel(ALICE, 5, AAPL, CancelReason.USER), messages.NO_CLIENT_ORDER_ID),
    ],
)
def test_a_refused_command_is_rejected_and_nothing_else(
    command: Message, client_order_id: bytes
) -> None:
    event = messages.Rejected(ALICE, 5, RejectReason.HALTED)
    rejected = ouch.Rejected(TIME_NS, 5, RejectReason.HALTED, client_order_id)
    assert told(command, event) == [(ALICE, rejected)]


def test_a_mass_cancel_is_answered_before_its_cancels() -> None:
    group = (
        messages.MassCancel(ALICE, 9, AAPL, CancelReason.USER),
        messages.Canceled(ALICE, 5, 900, 100, CancelReason.USER),
        messages.Canceled(ALICE, 6, 901, 50, CancelReason.USER),
    )
    assert told(*group) == [
        (ALICE, ouch.MassCancelResponse(TIME_NS, 9, ouch.NO_FIRM, AAPL)),
        (ALICE, ouch.Canceled(TIME_NS, 5, 100, CancelReason.USER)),
        (ALICE, ouch.Canceled(TIME_NS, 6, 50, CancelReason.USER)),
    ]


def test_a_mass_cancel_by_the_gateway_tells_of_the_cancels_alone() -> None:
    group = (
        messages.MassCancel(ALICE, 0, messages.ALL_SYMBOLS, CancelReason.LINK_LOST),
        messages.Canceled(ALICE, 5, 900, 100, CancelReason.LINK_LOST),
    )
    assert told(*group) == [(ALICE, ouch.Canceled(TIME_NS, 5, 100, CancelReason.LINK_LOST))]


@pytest.mark.parametrize(
    "group",
    [
        (messages.Epoch(1, messages.holder_field("e1")),),
        (messages.DefineInstrument(AAPL, 100, 1, messages.ShortSale.ALLOWED),),
        (messages.LogIn(ALICE, 1, SelfTradePrevention.OFF),),
        (messages.SetTradingState(AAPL, messages.TradingState.HALTED),),
        (
            messages.SetTradingState(AAPL, 0),
            messages.Rejected(0, 0, RejectReason.INVALID_TRADING_STATE),
        ),
    ],
)
def test_what_belongs_to_no_client_is_told_to_nobody(group: Sequence[Message]) -> None:
    assert told(*group) == []


def test_the_reasons_of_machine_and_gateway_do_not_collide() -> None:
    reasons = [*RejectReason, *GatewayReject]
    codes = [int(reason) for reason in reasons]
    assert len(set(codes)) == len(codes)
    assert all(code >= 1000 for code in map(int, GatewayReject))
    assert [reject_reason(code) for code in codes] == reasons
    assert [reject_text(code) for code in codes] == [reason.text for reason in reasons]


def test_a_reason_of_a_later_version_has_a_text_too() -> None:
    assert reject_reason(999) == 999
    assert "999" in reject_text(999)
