"""Any rules as a machine: batches of commands carried out, lists followed, groups completed."""

from collections.abc import Sequence

import pytest

from engine.machine import Divergence
from engine.market import Market
from engine.markets import ReferenceMarket
from engine.reference import Reference
from feed.codec import decode_frame, encode_frame, encode_group
from feed.messages import CancelOrder, Command, Event, Side, Trade
from feed.run import Run, empty_run, joined, run_of_frames
from feed.schema import FrameType
from tests.engine.cluster import LISTING
from tests.engine.trader import CLIENT, order
from tests.engine.writing import LOG_IN, Author, submitted

TIME_NS = 1_000


def part(frames: Sequence[bytes], first: int, last: int) -> Run:
    """The frames `first` to `last` of a list."""
    return run_of_frames(first, frames[first - 1 : last])


def author() -> Author:
    """1 listing · 2 log-in · 3, 4 sell · 5 buy, 6 and 7 its trades · 8 buy, which rests."""
    made = Author()
    sells = [order(number, Side.SELL, 5) for number in (1, 2)]
    made.write(LISTING, LOG_IN, *sells, order(3, Side.BUY, 10), order(4, Side.BUY, 10))
    return made


LIST = author().frames
WHOLE = part(LIST, 1, 8)


def followed(last: int, machine: Reference | None = None) -> Reference:
    made = machine or ReferenceMarket()
    assert made.follow(part(LIST, 1, last)) == (last, None)
    return made


def other(sequence: int) -> bytes:
    """A trade of the list with another quantity."""
    frame = decode_frame(LIST[sequence - 1])
    message = frame.message()
    assert isinstance(message, Trade)
    wrong = message._replace(quantity=message.quantity + 1)
    return encode_frame(wrong, sequence, frame.time_ns, end=frame.is_end)


def test_submissions_of_a_batch_become_groups_that_follow_one_another() -> None:
    machine = ReferenceMarket()
    batch = [submitted(LISTING, 0), submitted(LOG_IN)]
    batch += [submitted(order(number, Side.SELL, 5)) for number in (1, 2)]
    run, not_admitted = machine.submit(b"".join(batch), 1, TIME_NS)
    assert (run, not_admitted) == (part(LIST, 1, 4), 0)
    batch = [submitted(order(3, Side.BUY, 10)), submitted(order(4, Side.BUY, 10))]
    assert machine.submit(b"".join(batch), 5, TIME_NS) == (part(LIST, 5, 8), 0)
    assert machine.digest() == author().market.digest()


def test_what_is_not_admitted_is_counted_and_leaves_no_trace() -> None:
    machine = followed(2)
    sell = submitted(order(1, Side.SELL, 5))
    batch = [sell, sell, submitted(order(2, Side.SELL, 5), login=6), sell]
    assert machine.submit(b"".join(batch), 3, TIME_NS) == (part(LIST, 3, 3), 3)
    assert machine.submit(sell + sell, 4, TIME_NS) == (empty_run(4), 2)
    assert machine.submit(b"", 4, TIME_NS) == (empty_run(4), 0)
    assert machine.digest() == followed(3).digest()


def test_what_a_command_admits_may_be_the_one_before_it_in_the_same_batch() -> None:
    machine = followed(2)
    batch = submitted(order(1, Side.SELL, 5)) + submitted(CancelOrder(CLIENT, 1, 0)) * 2
    run, not_admitted = machine.submit(batch, 3, TIME_NS)
    assert ([frame.sequence for frame in run if frame.is_command], not_admitted) == ([3, 4], 1)


def test_a_command_that_needs_no_admission_is_carried_out_as_it_is() -> None:
    machine = followed(4)
    assert machine.carry_out(order(3, Side.BUY, 10), 5, TIME_NS) == part(LIST, 5, 7)


def test_frames_are_counted_by_type_however_they_came_about() -> None:
    machine = followed(4)
    machine.submit(submitted(order(3, Side.BUY, 10)), 5, TIME_NS)
    machine.complete(part(LIST, 8, 8))
    assert machine.frame_counts == {
        FrameType.DEFINE_INSTRUMENT: 1,
        FrameType.LOG_IN: 1,
        FrameType.ENTER_ORDER: 4,
        FrameType.TRADE: 2,
    }


@pytest.mark.parametrize("cut", range(9))
def test_a_list_is_followed_in_as_many_pieces_as_there_are(cut: int) -> None:
    machine = ReferenceMarket()
    first, rest = part(LIST, 1, cut), part(LIST, cut + 1, 8)
    if cut in (5, 6):  # within a group: whole ones alone are to be followed
        first, rest = part(LIST, 1, 4), part(LIST, 5, 8)
    assert machine.follow(first) == (len(first), None)
    assert machine.follow(rest) == (len(rest), None)
    assert machine.digest() == author().market.digest()


@pytest.mark.parametrize("sequence", [6, 7])
def test_it_stops_at_the_first_group_that_differs_and_names_the_frame(sequence: int) -> None:
    wrong = [*LIST[: sequence - 1], other(sequence), *LIST[sequence:]]
    followed_frames, divergence = ReferenceMarket().follow(part(wrong, 1, 8))
    assert followed_frames == 4
    theirs, ours = (decode_frame(frames[sequence - 1]).message() for frames in (wrong, LIST))
    assert divergence == (sequence, f"the list has {theirs}, this machine {ours}")


@pytest.mark.parametrize(("count", "sequence"), [(1, 6), (3, 7)])
def test_a_group_of_another_length_is_found(count: int, sequence: int) -> None:
    trade = decode_frame(LIST[5]).message()
    group = encode_group([order(3, Side.BUY, 10), *[trade] * count], 5, TIME_NS)
    run = joined([part(LIST, 1, 4), run_of_frames(5, group)])
    followed_frames, divergence = ReferenceMarket().follow(run)
    assert followed_frames == 4
    assert divergence is not None
    assert divergence.sequence == sequence  # the first frame that differs


class Silent(Market):
    """Rules by which nothing ever causes an event."""

    def apply(self, sequence: int, time_ns: int, command: Command) -> list[Event]:
        super().apply(sequence, time_ns, command)
        return []


class Broken(Market):
    """Rules that know no fifth command."""

    def apply(self, sequence: int, time_ns: int, command: Command) -> list[Event]:
        if sequence == 5:
            raise KeyError("five")
        return super().apply(sequence, time_ns, command)


def test_rules_that_raise_differ_from_the_list_there() -> None:
    command = decode_frame(LIST[4]).message()
    wanted = (4, (5, f"this machine can't carry out {command}: KeyError('five')"))
    assert Reference(Broken()).follow(WHOLE) == wanted
    assert followed(4, Reference(Broken())).complete(part(LIST, 5, 6)) == wanted[1]


@pytest.mark.parametrize("cut", [5, 6, 7])
def test_the_group_that_a_list_breaks_off_in_is_completed(cut: int) -> None:
    machine = followed(4)
    assert machine.complete(part(LIST, 5, cut)) == part(LIST, 5, 7)
    assert machine.follow(part(LIST, 8, 8)) == (1, None)


def test_a_group_that_is_not_this_machines_is_not_completed() -> None:
    wrong = run_of_frames(5, [LIST[4], other(6)])
    divergence = followed(4).complete(wrong)
    assert isinstance(divergence, Divergence)
    assert divergence.sequence == 6
    # Where the list goes on with the group and this machine does not, they differ in the END mark.
    divergence = followed(4, Reference(Silent())).complete(part(LIST, 5, 6))
    assert isinstance(divergence, Divergence)
    assert divergence.sequence == 5
