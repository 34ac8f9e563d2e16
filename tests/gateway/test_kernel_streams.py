"""What groups tell their clients: both twins say it byte for byte as `messages_by_frame` does."""

from array import array
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import accumulate
from types import ModuleType
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.markets import ReferenceMarket
from feed import schema
from feed.codec import (
    COMMAND_TYPES,
    FRAME_TYPES,
    MESSAGE_TYPES,
    WireError,
    decode_frame,
    encode_group,
)
from feed.datagrams import Submission, encode_submission
from feed.messages import CancelReason, Event, Message, OrderType, PostOnly, Rejected
from feed.schema import FrameType
from gateway._streams_py import Told
from gateway.soup import SequencedData
from gateway.translate import messages_by_frame, spent_user_ref_num
from tests.engine.strategies import PROPERTY, seeded_submissions, submission_lists
from tests.gateway.groups import ALICE, BOB, order, trade
from tests.gateway.twins import BOTH, EVERY_STREAM_TWIN, STREAM_TWINS

TIME_NS = 1_700_000_000_000_000_000


def list_of(groups: Iterable[Sequence[Message]]) -> list[list[bytes]]:
    """The frames of each group, in a list that begins with sequence number 1."""
    made: list[list[bytes]] = []
    sequence = 1
    for group in groups:
        made.append(encode_group(group, sequence, TIME_NS + sequence))
        sequence += len(group)
    return made


def joined(groups: Iterable[Iterable[bytes]]) -> bytes:
    return b"".join(frame for group in groups for frame in group)


def as_specified(groups: Iterable[Iterable[bytes]]) -> list[Told]:
    """What these groups tell, one message after the other."""
    packets: dict[int, list[tuple[int, bytes]]] = {}
    spent_by: dict[int, list[int]] = {}
    for data in groups:
        frames = [decode_frame(frame) for frame in data]
        spent = spent_user_ref_num(frames[0].message())
        if spent is not None:
            packets.setdefault(spent[0], [])
            spent_by.setdefault(spent[0], []).append(spent[1])
        for sequence, (client, payload) in messages_by_frame(frames):
            packet = SequencedData(payload).encode()
            packets.setdefault(client, []).append((sequence, packet))
    return [
        Told(
            client,
            b"".join(packet for _, packet in parts),
            array("I", accumulate(len(packet) for _, packet in parts)),
            array("Q", [sequence for sequence, _ in parts]),
            array("I", spent_by.get(client, [])),
        )
        for client, parts in packets.items()
    ]


@st.composite
def messages(draw: st.DrawFn, types: Sequence[FrameType]) -> Message:
    """A message of one of these types with anything in its fields; what matters comes up often."""
    frame_type = draw(st.sampled_from(types))
    fields: list[int | bytes] = []
    for field in schema.BODIES[frame_type].subcons:
        size = field.sizeof()
        if field.name in ("symbol", "client_order_id", "primary"):
            fields.append(draw(st.binary(min_size=size, max_size=size)))
        else:
            known = {
                "order_type": [int(each) for each in OrderType],
                "post_only": [int(each) for each in PostOnly],
                "reason": [int(CancelReason.USER)],
            }.get(field.name, [0, 1, 2, 3])
            fields.append(draw(st.one_of(st.sampled_from(known), st.integers(0, 256**size - 1))))
    return MESSAGE_TYPES[frame_type]._make(fields)


COMMANDS = sorted(COMMAND_TYPES)
EVENTS = sorted(FRAME_TYPES[event] for event in get_args(Event))
# What only a machine that is one of several makes.
MOVES = {
    FrameType.SHARD_MARK,
    FrameType.MOVE_OUT,
    FrameType.ADOPT_INSTRUMENT,
    FrameType.ADOPT_ORDER,
    FrameType.INSTRUMENT_STATE,
    FrameType.ORDER_STATE,
}


@st.composite
def groups(draw: st.DrawFn) -> list[Message]:
    """A command and events, whether or not such events follow from it."""
    command = draw(messages(COMMANDS))
    allowed = EVENTS
    if MESSAGE_TYPES[FrameType.REPLACE_ORDER] is not type(command):
        allowed = [event for event in EVENTS if event is not FrameType.REPLACED]
    return [command, *draw(st.lists(messages(allowed), max_size=4))]


@EVERY_STREAM_TWIN
@given(groups=st.lists(groups(), max_size=12))
def test_all_that_can_stand_in_a_list_is_told_as_one_message_after_the_other(
    twin: ModuleType, groups: list[list[Message]]
) -> None:
    made = list_of(groups)
    assert twin.tell(joined(made)) == as_specified(made)


def market_list(submissions: Iterable[Submission]) -> list[list[bytes]]:
    """The groups of a list that a machine made."""
    market = ReferenceMarket()
    made: list[list[bytes]] = []
    sequence = 1
    for submission in submissions:
        run = market.submit(encode_submission(submission), sequence, TIME_NS).run
        if run:
            made.append(run.split())
            sequence = run.next_sequence
    return made


@EVERY_STREAM_TWIN
@PROPERTY
@given(submissions=submission_lists(), cut=st.integers(0, 100))
def test_what_a_machine_made_is_told_the_same_however_its_groups_come(
    twin: ModuleType, submissions: list[Submission], cut: int
) -> None:
    made = market_list(submissions)
    for part in (made, made[:cut], made[cut:]):
        assert twin.tell(joined(part)) == as_specified(part)


@EVERY_STREAM_TWIN
def test_a_long_day_of_many_orders_is_told_the_same(twin: ModuleType) -> None:
    made = market_list(seeded_submissions(7, 3000))
    assert len(made) > 1000
    types = {decode_frame(frame).type for group in made for frame in group}
    assert types >= {*COMMANDS, *EVENTS} - MOVES - {FrameType.EPOCH}
    assert twin.tell(joined(made)) == as_specified(made)


@EVERY_STREAM_TWIN
def test_many_clients_are_told_in_the_order_in_which_things_come_to_them(twin: ModuleType) -> None:
    clients = [number * 7919 % 100_003 + 1 for number in range(5000)]
    made = list_of([order(client, 1)] for client in clients)
    told = twin.tell(joined(made))
    assert [each.client for each in told] == clients
    assert told == as_specified(made)


@EVERY_STREAM_TWIN
def test_a_number_is_spent_though_nothing_is_told(twin: ModuleType) -> None:
    made = list_of([[order(BOB, 4), Rejected(0, 4, 1)], [order(BOB, 5), Rejected(0, 5, 1)]])
    nothing = array("I"), array("Q")
    assert twin.tell(joined(made)) == [Told(BOB, b"", *nothing, array("I", [4, 5]))]


@EVERY_STREAM_TWIN
def test_each_message_has_the_number_of_the_frame_that_it_tells_of(twin: ModuleType) -> None:
    crossing: list[Message] = [
        order(ALICE, 1),
        trade((1, BOB, 1), (2, ALICE, 1)),
        trade((1, BOB, 2), (2, BOB, 3)),
    ]
    made = list_of([[order(BOB, 1)], crossing])
    told = {each.client: each for each in twin.tell(joined(made))}
    assert told[BOB].sequences == array("Q", [1, 3, 4, 4])
    assert told[ALICE].sequences == array("Q", [2, 3])


@EVERY_STREAM_TWIN
@given(group=st.data())
def test_marks_and_what_moves_with_an_instrument_are_told_to_nobody(
    twin: ModuleType, group: st.DataObject
) -> None:
    command = group.draw(messages(sorted(MOVES & COMMAND_TYPES)))
    events = group.draw(st.lists(messages(sorted(MOVES - COMMAND_TYPES)), max_size=4))
    assert twin.tell(joined(list_of([[command, *events]]))) == []


@EVERY_STREAM_TWIN
def test_nothing_tells_nothing(twin: ModuleType) -> None:
    assert twin.tell(b"") == []


@EVERY_STREAM_TWIN
def test_a_replacement_outside_its_group_is_a_broken_list(twin: ModuleType) -> None:
    replaced = MESSAGE_TYPES[FrameType.REPLACED]._make(
        (ALICE, 1, 2, 3, b"AAPL    ", 66, 100, 10_000, 0, 65, 1)
    )
    made = list_of([[order(ALICE, 1), replaced]])
    with pytest.raises(AssertionError, match="REPLACED outside its group"):
        twin.tell(joined(made))


@BOTH
@given(
    data=st.lists(groups(), max_size=4).map(list_of).map(joined),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 2000),
)
def test_the_compiled_twin_reads_nothing_beyond_bytes_that_are_no_groups(
    data: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    damaged = bytearray(data[:cut])
    for place, value in changes:
        if place < len(damaged):
            damaged[place] = value
    with suppress(WireError, AssertionError):
        STREAM_TWINS[1].tell(bytes(damaged))


@BOTH
@pytest.mark.parametrize("cut", [1, 23, 24, 40, 79, 100, -1])
def test_the_compiled_twin_takes_whole_groups_only(cut: int) -> None:
    made = list_of([[order(ALICE, 1), trade((1, BOB, 1), (2, ALICE, 1))]])
    with pytest.raises(WireError):
        STREAM_TWINS[1].tell(joined(made)[:cut])
