"""The backup's machine: it follows the list, compares each frame, and completes what is cut off."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.backup import FRAMES_PER_TURN, Backup
from engine.machine import Divergence, Machine
from engine.market import Market
from engine.markets import ReferenceMarket
from engine.reference import Reference, Rules
from feed.cache import MINIMUM_BYTES
from feed.codec import decode_frame, encode_frame
from feed.held_list import HeldList
from feed.messages import Command, Event, SetTradingState, Side, Trade
from feed.run import run_of_frames
from feed.schema import FrameType
from tests.engine.machines import MACHINES
from tests.engine.trader import SYMBOL, order
from tests.engine.writing import Author, begun, held_list

# 1 EPOCH · 2 listing · 3 log-in · 4, 5 buy · 6 sell, 7 and 8 its trades · 9, 10 buy · 11 sell, 12
# and 13 its trades
LIST = begun().frames
SELL = 6


def backup(
    frames: Sequence[bytes], build_machine: Callable[[], Machine] = ReferenceMarket
) -> Backup:
    return Backup(build_machine, held_list(frames))


def by_rules(rules: type[Rules]) -> Callable[[], Machine]:
    """Machines that go by other rules."""
    return lambda: Reference(rules())


def apply_all(to: Backup, last_sequence: int) -> None:
    while to.apply(last_sequence):
        pass


def other(data: bytes) -> bytes:
    """The frame with another quantity in its trade, and a checksum that fits."""
    frame = decode_frame(data)
    message = frame.message()
    assert isinstance(message, Trade)
    changed = message._replace(quantity=message.quantity + 1)
    return encode_frame(changed, frame.sequence, frame.time_ns, end=frame.is_end)


@pytest.mark.parametrize("machine", MACHINES)
def test_machine_carries_out_what_the_list_has(machine: str) -> None:
    author = begun(60)
    made = backup(author.frames, MACHINES[machine])
    apply_all(made, len(author.frames))
    assert made.divergence is None
    assert made.applied_sequence == len(author.frames)
    assert made.machine.digest() == author.market.digest()
    types = Counter(decode_frame(data).type for data in author.frames)
    assert made.machine.frame_counts == types
    assert types[FrameType.TRADE] > 20


def test_only_whole_groups_are_carried_out_as_far_as_it_is_told() -> None:
    made = backup(LIST)
    for last, applied in ((5, 5), (7, 5), (8, 8), (8, 8), (10, 10)):
        apply_all(made, last)
        assert made.applied_sequence == applied


def test_one_turn_carries_out_a_bounded_number_of_frames_and_says_that_more_wait() -> None:
    author = begun(6 * FRAMES_PER_TURN)
    made = backup(author.frames)
    applied = [0]
    while made.apply(len(author.frames)):
        applied.append(made.applied_sequence)
    assert len(applied) == len(author.frames) // FRAMES_PER_TURN + 1
    for step in (later - earlier for earlier, later in pairwise(applied)):
        assert FRAMES_PER_TURN - 3 < step < FRAMES_PER_TURN + 3  # no group is longer than three
    assert made.applied_sequence == len(author.frames)


@pytest.mark.parametrize("machine", MACHINES)
def test_a_group_of_many_turns_is_carried_out_when_all_of_it_has_been_read(machine: str) -> None:
    resting = 2 * FRAMES_PER_TURN + 10
    author = begun(0)
    author.write(*(order(number, Side.SELL, 1) for number in range(1, resting + 1)))
    start = len(author.frames)
    author.write(order(resting + 1, Side.BUY, resting))
    made = backup(author.frames, MACHINES[machine])
    applied = []
    while made.apply(len(author.frames)):
        applied.append(made.applied_sequence)
    assert applied.count(start) > 1
    assert made.applied_sequence == len(author.frames) == start + 1 + resting
    assert made.divergence is None
    assert made.machine.digest() == author.market.digest()


@pytest.mark.parametrize("sequence", [7, 8])
def test_the_first_frame_that_differs_is_named_with_what_both_say(sequence: int) -> None:
    wrong = list(LIST)
    for at in range(sequence, 9):
        wrong[at - 1] = other(LIST[at - 1])
    made = backup(wrong)
    assert not made.apply(len(wrong))
    assert made.applied_sequence == 5
    theirs, ours = (decode_frame(frames[sequence - 1]).message() for frames in (wrong, LIST))
    assert made.divergence == Divergence(sequence, f"the list has {theirs}, this machine {ours}")


def test_after_a_divergence_nothing_is_carried_out_any_more() -> None:
    wrong = [*LIST[:7], other(LIST[7]), *LIST[8:]]
    made = backup(wrong)
    made.apply(8)
    divergence, digest = made.divergence, made.machine.digest()
    assert divergence is not None
    assert not made.apply(len(wrong))
    assert (made.divergence, made.applied_sequence, made.machine.digest()) == (
        divergence,
        5,
        digest,
    )


class Longer(Market):
    """Rules by which a machine says more than the list has."""

    def apply(self, sequence: int, time_ns: int, command: Command) -> list[Event]:
        events = super().apply(sequence, time_ns, command)
        return [*events, *events[-1:]]


class Shorter(Market):
    """Rules by which a machine says less than the list has."""

    def apply(self, sequence: int, time_ns: int, command: Command) -> list[Event]:
        return super().apply(sequence, time_ns, command)[:1]


@pytest.mark.parametrize("rules", [Longer, Shorter])
def test_a_group_of_another_length_is_a_divergence(rules: type[Market]) -> None:
    made = backup(LIST, by_rules(rules))
    assert not made.apply(len(LIST))
    assert made.divergence is not None
    # The END mark stands in another frame, and that is where they differ first.
    assert made.divergence.sequence == (8 if rules is Longer else 7)
    assert made.applied_sequence == 5


def test_a_machine_that_raises_is_a_divergence_and_nothing_crashes() -> None:
    class Broken(Market):
        def apply(self, sequence: int, time_ns: int, command: Command) -> list[Event]:
            if sequence == SELL:
                raise ZeroDivisionError("out of order")
            return super().apply(sequence, time_ns, command)

    made = backup(LIST, by_rules(Broken))
    assert not made.apply(len(LIST))
    assert made.divergence is not None
    assert made.divergence.sequence == SELL
    assert "ZeroDivisionError('out of order')" in made.divergence.reason


def test_a_list_that_is_not_held_from_its_beginning_cannot_be_followed() -> None:
    author = Author()
    author.write(*(SetTradingState(SYMBOL, 0) for _ in range(8000)))
    held = HeldList(MINIMUM_BYTES)
    for first in range(1, 8001, 100):
        held.store(run_of_frames(first, author.frames[first - 1 : first + 99]))
    assert held.first_sequence > 1
    made = Backup(ReferenceMarket, held)
    assert not made.lacks_state
    assert not made.apply(8000)
    assert (made.lacks_state, made.applied_sequence, made.divergence) == (True, 0, None)


def test_a_machine_that_went_further_than_the_new_list_is_built_anew() -> None:
    author = Author(LIST[:8])
    author.begin(2, "e3")
    author.trade(4, 9)
    held = held_list(LIST)
    made = Backup(ReferenceMarket, held)
    apply_all(made, len(LIST))
    held.store(run_of_frames(9, author.frames[8:]))
    made.drop(9)
    assert (made.applied_sequence, made.machine.frame_counts) == (0, {})
    apply_all(made, len(author.frames))
    assert made.divergence is None
    assert made.machine.digest() == author.market.digest()


def test_what_is_dropped_beyond_the_machine_leaves_it_alone() -> None:
    made = backup(LIST)
    apply_all(made, 8)
    machine = made.machine
    apply_all(made, 12)  # in the middle of a group
    for sequence in (14, 13, 12, 11):
        made.drop(sequence)
        assert made.machine is machine
        assert made.applied_sequence == 10
    apply_all(made, len(LIST))
    assert made.applied_sequence == len(LIST)


def test_a_group_that_was_read_in_part_and_dropped_is_read_anew_in_the_new_list() -> None:
    author = Author(LIST[:10])
    author.begin(2, "e3")
    author.trade(6, 9)
    held = held_list(LIST)
    made = Backup(ReferenceMarket, held)
    apply_all(made, 12)
    assert made.applied_sequence == 10
    held.store(run_of_frames(11, author.frames[10:]))
    made.drop(11)
    apply_all(made, len(author.frames))
    assert made.divergence is None
    assert made.applied_sequence == len(author.frames)
    assert made.machine.digest() == author.market.digest()


@pytest.mark.parametrize("machine", MACHINES)
@given(orders=st.integers(1, 30), data=st.data())
def test_a_group_that_is_cut_off_anywhere_is_completed_byte_for_byte(
    machine: str, orders: int, data: st.DataObject
) -> None:
    author = begun(orders)
    whole = author.frames
    cut = data.draw(st.integers(1, len(whole)))
    frames = [decode_frame(each) for each in whole]
    start = next(frame.sequence for frame in reversed(frames[:cut]) if frame.is_command)
    end = next(frame.sequence for frame in frames[cut - 1 :] if frame.is_end)
    made = backup(whole[:cut], MACHINES[machine])
    apply_all(made, cut)
    assert made.applied_sequence == (cut if cut == end else start - 1)
    rest = made.complete()
    assert (rest.first_sequence, rest.split()) == (cut + 1, whole[cut:end])
    assert made.applied_sequence == end
    assert made.divergence is None
    replayed = Author(whole[:end])
    assert made.machine.digest() == replayed.market.digest()


def test_a_cut_off_group_that_differs_is_not_completed() -> None:
    made = backup([*LIST[:6], other(LIST[6])])
    apply_all(made, 7)
    assert not made.complete()
    assert made.divergence is not None
    assert made.divergence.sequence == 7


def test_a_machine_that_led_follows_on_from_where_it_was() -> None:
    author = begun()
    held = held_list(author.frames)
    machine = Reference(author.market)
    made = Backup(lambda: machine, held)
    made.led(len(author.frames))
    assert made.applied_sequence == len(author.frames)
    follower = Author(author.frames)
    held.store(run_of_frames(len(author.frames) + 1, follower.write(order(7))))
    assert not made.apply(len(follower.frames))
    assert made.divergence is None
    assert made.machine.digest() == follower.market.digest()
