"""OUCH messages: offsets of the specification, equality with the declarations, hostile bytes."""

from enum import IntEnum
from typing import Any, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.messages import Capacity, PostOnly, Side, TimeInForce
from gateway import ouch
from gateway.ouch import Appendage, Inbound, OuchMessage, Outbound, Tag
from gateway.ouch_codec import OuchError, decode_inbound, decode_outbound, encode
from gateway.rejects import GatewayReject

ENTER = ouch.EnterOrder(
    0x01020304,
    Side.SELL_SHORT,
    100,
    b"AAPL    ",
    1_850_000,
    TimeInForce.IMMEDIATE_OR_CANCEL,
    capacity=Capacity.PRINCIPAL,
    client_order_id=b"first-order   ",
)
ENTER_BYTES = encode(ENTER)
DECLARATIONS: dict[type[OuchMessage], Any] = ouch.INBOUND | ouch.OUTBOUND
UNKNOWN_TAG = 99


def appendages(message_type: type[OuchMessage]) -> st.SearchStrategy[Appendage]:
    tags = ouch.TAGS[message_type]
    post_only = st.none() | st.integers(0, 255) if Tag.POST_ONLY in tags else st.none()
    stop_price = st.none() | st.integers(0, 2**64 - 1) if Tag.STOP_PRICE in tags else st.none()
    return st.builds(Appendage, post_only, stop_price)


def values(message_type: type[OuchMessage]) -> st.SearchStrategy[OuchMessage]:
    """Any message of a type: each field with any value of its size, known code or not."""
    fields = [field for field in DECLARATIONS[message_type].subcons if field.name != "type"]
    parts = [
        appendages(message_type) if field.name == "appendage_length" else field_values(field)
        for field in fields
    ]
    return st.tuples(*parts).map(message_type._make)


def field_values(field: Any) -> st.SearchStrategy[Any]:
    size = field.sizeof()
    if get_type_hints(ouch.EnterOrder).get(field.name) is bytes or field.name == "firm":
        return st.binary(min_size=size, max_size=size)
    return st.integers(0, 256**size - 1)


inbound_messages: st.SearchStrategy[Any] = st.one_of(*map(values, ouch.INBOUND))
outbound_messages: st.SearchStrategy[Any] = st.one_of(*map(values, ouch.OUTBOUND))


@settings(deadline=None)
@given(inbound_messages)
def test_inbound_messages_come_back(message: Inbound) -> None:
    assert decode_inbound(encode(message)) == message


@settings(deadline=None)
@given(outbound_messages)
def test_outbound_messages_come_back(message: Outbound) -> None:
    assert decode_outbound(encode(message)) == message


@settings(deadline=None)
@given(inbound_messages | outbound_messages)
def test_the_codec_gives_the_bytes_of_the_declaration(message: OuchMessage) -> None:
    data = encode(message)
    declaration = DECLARATIONS[type(message)]
    fields: dict[str, Any] = message._asdict()
    appendage = fields.pop("appendage", None)
    if appendage is not None:
        elements = b"".join(declared_elements(appendage))
        fields["appendage_length"] = len(elements)
    else:
        elements = b""
    assert declaration.build(fields) + elements == data


def declared_elements(appendage: Appendage) -> list[bytes]:
    elements = []
    for tag, declaration in ouch.ELEMENT_VALUES.items():
        value = getattr(appendage, tag.field)
        if value is not None:
            length = 1 + declaration.sizeof()
            elements.append(
                ouch.ELEMENT.build({"length": length, "tag": int(tag)})
                + declaration.build({tag.field: value})
            )
    return elements


def offsets(declaration: Any) -> dict[str, tuple[int, int]]:
    table = {}
    at = 0
    for field in declaration.subcons:
        table[field.name] = (at, field.sizeof())
        at += field.sizeof()
    return table


@pytest.mark.parametrize(
    ("message_type", "letter", "size", "some"),
    [
        (
            ouch.EnterOrder,
            "O",
            47,
            {
                "user_ref_num": (1, 4),
                "side": (5, 1),
                "quantity": (6, 4),
                "symbol": (10, 8),
                "price": (18, 8),
                "time_in_force": (26, 1),
                "display": (27, 1),
                "capacity": (28, 1),
                "intermarket_sweep": (29, 1),
                "cross_type": (30, 1),
                "client_order_id": (31, 14),
                "appendage_length": (45, 2),
            },
        ),
        (
            ouch.ReplaceOrder,
            "U",
            40,
            {
                "original_user_ref_num": (1, 4),
                "user_ref_num": (5, 4),
                "quantity": (9, 4),
                "price": (13, 8),
                "time_in_force": (21, 1),
                "display": (22, 1),
                "intermarket_sweep": (23, 1),
                "client_order_id": (24, 14),
                "appendage_length": (38, 2),
            },
        ),
        (ouch.CancelOrder, "X", 9, {"user_ref_num": (1, 4), "quantity": (5, 4)}),
        (
            ouch.MassCancel,
            "C",
            19,
            {"user_ref_num": (1, 4), "firm": (5, 4), "symbol": (9, 8), "appendage_length": (17, 2)},
        ),
        (ouch.AccountQuery, "Q", 3, {"appendage_length": (1, 2)}),
        (
            ouch.Accepted,
            "A",
            64,
            {
                "time_ns": (1, 8),
                "user_ref_num": (9, 4),
                "side": (13, 1),
                "quantity": (14, 4),
                "symbol": (18, 8),
                "price": (26, 8),
                "time_in_force": (34, 1),
                "display": (35, 1),
                "order_number": (36, 8),
                "capacity": (44, 1),
                "intermarket_sweep": (45, 1),
                "cross_type": (46, 1),
                "state": (47, 1),
                "client_order_id": (48, 14),
                "appendage_length": (62, 2),
            },
        ),
        (
            ouch.Replaced,
            "U",
            68,
            {
                "original_user_ref_num": (9, 4),
                "user_ref_num": (13, 4),
                "side": (17, 1),
                "quantity": (18, 4),
                "symbol": (22, 8),
                "price": (30, 8),
                "time_in_force": (38, 1),
                "display": (39, 1),
                "order_number": (40, 8),
                "client_order_id": (52, 14),
                "appendage_length": (66, 2),
            },
        ),
        (
            ouch.Executed,
            "E",
            36,
            {
                "user_ref_num": (9, 4),
                "quantity": (13, 4),
                "price": (17, 8),
                "liquidity": (25, 1),
                "match_number": (26, 8),
                "appendage_length": (34, 2),
            },
        ),
        (ouch.Canceled, "C", 18, {"quantity": (13, 4), "reason": (17, 1)}),
        (ouch.Rejected, "J", 29, {"reason": (13, 2), "client_order_id": (15, 14)}),
        (
            ouch.PriorityUpdate,
            "T",
            30,
            {"price": (13, 8), "display": (21, 1), "order_number": (22, 8)},
        ),
        (
            ouch.MassCancelResponse,
            "X",
            27,
            {"firm": (13, 4), "symbol": (17, 8), "appendage_length": (25, 2)},
        ),
        (
            ouch.AccountQueryResponse,
            "Q",
            15,
            {"time_ns": (1, 8), "next_user_ref_num": (9, 4), "appendage_length": (13, 2)},
        ),
    ],
)
def test_fields_stand_where_the_specification_has_them(
    message_type: type[OuchMessage], letter: str, size: int, some: dict[str, tuple[int, int]]
) -> None:
    declaration = DECLARATIONS[message_type]
    table = offsets(declaration)
    assert declaration.type.subcon.value == ord(letter)
    assert declaration.sizeof() == size
    assert {name: table[name] for name in some} == some


def test_an_order_has_these_bytes() -> None:
    assert ENTER_BYTES == (
        b"O\x01\x02\x03\x04T\x00\x00\x00dAAPL    \x00\x00\x00\x00\x00\x1c\x3a\x903YPNN"
        b"first-order   \x00\x00"
    )


def test_an_appendage_counts_its_tag_in_its_length() -> None:
    message = ENTER._replace(appendage=Appendage(PostOnly.YES, 1_860_000))
    assert encode(message)[45:] == b"\x00\x0d\x02\x0cP\x09\x80\x00\x00\x00\x00\x00\x1c\x61\xa0"
    assert decode_inbound(encode(message)) == message


def with_appendage(elements: bytes) -> bytes:
    return ENTER_BYTES[:-2] + len(elements).to_bytes(2, "big") + elements


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", GatewayReject.UNKNOWN_MESSAGE_TYPE, id="empty"),
        pytest.param(b"A" + bytes(63), GatewayReject.UNKNOWN_MESSAGE_TYPE, id="outbound type"),
        pytest.param(b"\x00", GatewayReject.UNKNOWN_MESSAGE_TYPE, id="no type"),
        pytest.param(b"O", GatewayReject.INVALID_LENGTH, id="type alone"),
        pytest.param(ENTER_BYTES[:-1], GatewayReject.INVALID_LENGTH, id="truncated"),
        pytest.param(ENTER_BYTES + b"!", GatewayReject.INVALID_LENGTH, id="trailing byte"),
        pytest.param(ENTER_BYTES[:-2] + b"\xff\xff", GatewayReject.INVALID_LENGTH, id="applen"),
        pytest.param(b"X" + bytes(9), GatewayReject.INVALID_LENGTH, id="long cancel"),
        pytest.param(b"X" + bytes(7), GatewayReject.INVALID_LENGTH, id="short cancel"),
        pytest.param(with_appendage(b"\x02"), GatewayReject.INVALID_APPENDAGE, id="length alone"),
        pytest.param(with_appendage(b"\x00\x0c"), GatewayReject.INVALID_APPENDAGE, id="length 0"),
        pytest.param(with_appendage(b"\x03\x0cP"), GatewayReject.INVALID_APPENDAGE, id="too short"),
        pytest.param(with_appendage(b"\x01\x0c"), GatewayReject.INVALID_APPENDAGE, id="no value"),
        pytest.param(
            with_appendage(b"\x05\x80\x00\x00\x00\x01"),
            GatewayReject.INVALID_APPENDAGE,
            id="stop price of four bytes",
        ),
        pytest.param(with_appendage(b"\x02\x63P"), GatewayReject.UNKNOWN_TAG, id="unknown tag"),
        pytest.param(
            with_appendage(b"\x02\x0cP\x02\x0cN"), GatewayReject.DUPLICATE_TAG, id="tag twice"
        ),
    ],
)
def test_bad_bytes_are_refused_with_a_reason(data: bytes, reason: GatewayReject) -> None:
    with pytest.raises(OuchError) as refused:
        decode_inbound(data)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "message",
    [
        ouch.ReplaceOrder(1, 2, 100, 1, TimeInForce.DAY, appendage=Appendage(PostOnly.YES)),
        ouch.MassCancel(1, appendage=Appendage(PostOnly.YES)),
        ouch.AccountQuery(appendage=Appendage(stop_price=1)),
    ],
)
def test_an_appendage_of_another_message_is_refused(message: Inbound) -> None:
    with pytest.raises(OuchError) as refused:
        decode_inbound(encode(message))
    assert refused.value.reason == GatewayReject.UNKNOWN_TAG


def test_an_unknown_appendage_from_the_exchange_is_skipped() -> None:
    executed = ouch.Executed(1, 2, 3, 4, ouch.Liquidity.ADDED, 5)
    data = encode(executed)[:-2] + b"\x00\x04\x03\x63ab"
    assert decode_outbound(data) == executed


@settings(deadline=None)
@given(st.binary(max_size=120), st.sampled_from([*b"OUXCQAEJT"]))
def test_any_bytes_are_a_message_or_an_ouch_error(data: bytes, letter: int) -> None:
    for candidate in (data, bytes((letter,)) + data):
        for decode in (decode_inbound, decode_outbound):
            try:
                message = decode(candidate)
            except OuchError:
                continue
            assert decode(encode(message)) == message


def test_every_letter_names_one_message_in_each_direction() -> None:
    for letters, declarations in (
        (ouch.InboundType, ouch.INBOUND),
        (ouch.OutboundType, ouch.OUTBOUND),
    ):
        declared: list[int] = [
            declaration.type.subcon.value for declaration in declarations.values()
        ]
        assert sorted(declared) == sorted(known(letters))


def known(letters: type[IntEnum]) -> list[int]:
    return [int(letter) for letter in letters]
