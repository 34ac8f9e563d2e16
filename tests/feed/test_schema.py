"""The declarations in feed.schema: complete, flat, and the same as the Python messages."""

import construct as cs
import pytest

from feed.codec import COMMAND_TYPES, FRAME_TYPES, LONGEST_FRAME_BYTES, MESSAGE_TYPES
from feed.messages import Command, Event, Snapshot, SnapshotEnd, State
from feed.run import SNAPSHOT_TYPES, STATE_TYPES, type_bit
from feed.schema import (
    BODIES,
    DECISION,
    FRAME_HEADER,
    HOLDER,
    PACKET_HEADER,
    REPAIR,
    REPLAY,
    SUBMISSION_HEADER,
    FrameType,
    field_names,
    struct_format,
)
from feed.settings import FeedSettings


def test_every_frame_type_has_one_body_and_one_message_type() -> None:
    assert list(BODIES) == list(FrameType)
    assert list(MESSAGE_TYPES) == list(FrameType)
    assert len(set(MESSAGE_TYPES.values())) == len(FrameType)
    assert {kind: FRAME_TYPES[kind] for kind in MESSAGE_TYPES.values()} == FRAME_TYPES


def test_commands_events_and_what_stands_in_snapshots_are_all_the_messages() -> None:
    commands = {MESSAGE_TYPES[frame_type] for frame_type in COMMAND_TYPES}
    states, of_snapshots = (
        {MESSAGE_TYPES[each] for each in FrameType if type_bit(each) & types}
        for types in (STATE_TYPES, SNAPSHOT_TYPES)
    )
    events = set(MESSAGE_TYPES.values()) - commands - of_snapshots
    assert commands == set(Command.__args__)
    assert states == set(State.__args__)
    assert of_snapshots == {Snapshot, *states, SnapshotEnd} - set(Event.__args__)
    assert events == set(Event.__args__)


@pytest.mark.parametrize("frame_type", FrameType, ids=lambda frame_type: frame_type.name)
def test_a_body_names_the_fields_of_its_message_in_their_order(frame_type: FrameType) -> None:
    assert field_names(BODIES[frame_type]) == MESSAGE_TYPES[frame_type]._fields


def test_sizes_and_formats_are_the_ones_that_receivers_rely_on() -> None:
    formats = {
        name: (struct_format(declaration), declaration.sizeof())
        for name, declaration in {
            "packet": PACKET_HEADER,
            "frame": FRAME_HEADER,
            "repair": REPAIR,
            "holder": HOLDER,
            "replay": REPLAY,
            "submission": SUBMISSION_HEADER,
            "decision": DECISION,
        }.items()
    }
    assert formats == {
        "packet": ("2sBBHHLLQQ", 32),
        "frame": ("HBBLQQ", 24),
        "repair": ("2sBBHLLQQ", 30),
        "holder": ("2sBBHLL16sQLQQ", 58),
        "replay": ("2sBBHLLQ", 22),
        "submission": ("HBQ", 11),
        "decision": ("LQQ", 20),
    }


def test_the_longest_frame_fits_the_smallest_packet_that_may_be_configured() -> None:
    limit = FeedSettings.model_fields["payload_limit_bytes"].metadata[0].ge
    assert limit == 256
    assert PACKET_HEADER.sizeof() + LONGEST_FRAME_BYTES <= limit


def test_a_field_of_changing_size_has_no_struct_format() -> None:
    with pytest.raises(TypeError, match="fixed size"):
        struct_format(cs.Struct("text" / cs.GreedyBytes))
