"""Each machine follows, completes and doubts the other's list as it does its own."""

from random import Random
from typing import cast

import pytest

from engine.machine import Divergence, Followed
from engine.markets import ReferenceMarket
from feed.codec import FRAME_HEADER_BYTES, Frame, encode_frame, encode_group
from feed.messages import (
    ALL_SYMBOLS,
    NO_CLIENT_ORDER_ID,
    CancelOrder,
    CancelReason,
    Command,
    MassCancel,
    ReplaceOrder,
    TimeInForce,
)
from feed.run import Run, joined, run_of_frames
from feed.schema import FRAME_HEADER, field_offset
from tests.engine.agreement import assert_agreement, day, follow, groups, shape
from tests.engine.batches import profile
from tests.engine.machines import MACHINES, Build
from tests.engine.test_machines_agree import OTHERS, WITH_EACH_OTHER
from tests.engine.trader import order
from tests.engine.writing import begun

pytestmark = pytest.mark.timeout(method="thread")  # as in test_machines_agree.py

TIME_AT = field_offset(FRAME_HEADER, "time_ns")


@pytest.mark.parametrize("build", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize("seed", range(700, 706))
def test_a_list_makes_the_same_machine_again_in_one_piece_or_in_many(
    build: Build, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(seed)
    monkeypatch.setattr("engine.market.MAX_LIVE_ORDERS", profile(Random(seed)).order_limit)
    pair = assert_agreement(MACHINES[OTHERS[0]], seed, count=800)
    run = pair.whole_list()
    parts = build()
    waiting = groups(run)
    while waiting:
        size = random.randint(1, 40)
        part, waiting = joined(waiting[:size]), waiting[size:]
        assert parts.follow(part) == (len(part), None)
        parts.check()
    whole = follow(build, run)
    assert whole.digest() == parts.digest() == pair.reference.digest()
    assert dict(whole.frame_counts) == dict(parts.frame_counts) == dict(pair.other.frame_counts)
    assert list(whole.book_entries()) == list(pair.reference.book_entries())


@pytest.mark.parametrize("build", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize("seed", range(710, 718))
def test_every_cut_of_a_group_is_completed_to_the_same_bytes(build: Build, seed: int) -> None:
    run = day(seed)
    long_groups = [group for group in groups(run) if len(group) > 2]
    for group in Random(seed).sample(long_groups, 4):
        before = run.part(run.first_sequence, group.first_sequence - 1)
        for last in range(group.first_sequence, group.last_sequence + 1):
            machine = follow(build, before)
            completed = machine.complete(group.part(group.first_sequence, last))
            assert isinstance(completed, Run)
            assert (completed.data, shape(completed)) == (group.data, shape(group))
            machine.check()
            goes_on = run.part(group.next_sequence, run.last_sequence)
            assert machine.follow(goes_on) == (len(goes_on), None)


def changed(random: Random, frame: Frame) -> bytes:
    """The frame with one bit of its time or its body changed, and a checksum that fits."""
    data = bytearray(frame.data)
    at = random.randrange(TIME_AT, len(data))
    data[at] ^= 1 << random.randrange(8)
    other = frame._replace(data=bytes(data))
    time_ns = int.from_bytes(data[TIME_AT:FRAME_HEADER_BYTES], "big")
    return encode_frame(other.message(), frame.sequence, time_ns, end=frame.is_end)


def judged(followed: Followed) -> tuple[int, int, str]:
    """How far a machine agrees, and why no further. What stopped it from carrying out a command
    is named after the colon, each machine in its own words."""
    count, divergence = followed
    assert divergence is not None
    reason = divergence.reason
    return count, divergence.sequence, reason.partition(": ")[0] if "can't" in reason else reason


@WITH_EACH_OTHER
@pytest.mark.parametrize("seed", range(720, 724))
def test_an_event_that_differs_is_named_alike_by_both(build: Build, seed: int) -> None:
    random = Random(seed)
    run = day(seed)
    for frame in random.sample([each for each in run if not each.is_command], 15):
        at = frame.sequence - run.first_sequence
        doubtful = run_of_frames(
            1, [*run.split()[:at], changed(random, frame), *run.split()[at + 1 :]]
        )
        wanted = judged(ReferenceMarket().follow(doubtful))
        assert wanted[1] == frame.sequence
        assert judged(build().follow(doubtful)) == wanted


@WITH_EACH_OTHER
@pytest.mark.parametrize("seed", range(730, 734))
def test_groups_of_another_length_are_named_alike_by_both(build: Build, seed: int) -> None:
    random = Random(seed)
    run = day(seed)
    for group in random.sample([each for each in groups(run) if len(each) > 1], 15):
        before = run.part(1, group.first_sequence - 1)
        *kept, last = [frame.message() for frame in group]
        time_ns = group[0].time_ns
        for messages in (kept, [*kept, last, last]):
            wrong = encode_group(messages, group.first_sequence, time_ns)
            doubtful = joined([before, run_of_frames(group.first_sequence, wrong)])
            wanted = judged(ReferenceMarket().follow(doubtful))
            assert wanted[0] == len(before)
            assert judged(build().follow(doubtful)) == wanted


@WITH_EACH_OTHER
@pytest.mark.parametrize("seed", range(740, 744))
def test_a_cut_off_group_that_differs_is_doubted_alike_by_both(build: Build, seed: int) -> None:
    random = Random(seed)
    run = day(seed)
    for group in random.sample([each for each in groups(run) if len(each) > 2], 8):
        before = run.part(1, group.first_sequence - 1)
        wrong = [*group.split()[:1], changed(random, group[1])]
        cut_off = run_of_frames(group.first_sequence, wrong)
        wanted = follow(ReferenceMarket, before).complete(cut_off)
        assert isinstance(wanted, Divergence)
        assert follow(build, before).complete(cut_off) == wanted


@WITH_EACH_OTHER
@pytest.mark.parametrize("seed", range(750, 756))
def test_a_list_with_another_command_is_followed_as_far_by_both(build: Build, seed: int) -> None:
    """A command that might have stood there: no machine has to agree on what none admits."""
    random = Random(seed)
    run = day(seed)
    commands = [frame for frame in run if frame.is_command]
    for frame in random.sample(commands, 25):
        before = run.part(1, frame.sequence - 1)
        doubted = run_of_frames(frame.sequence, [changed(random, frame)])
        market = follow(ReferenceMarket, before).rules
        client = market.clients.get(getattr(doubted[0].message(), "client", 0))
        command = cast(Command, doubted[0].message())
        if not market.admits(client.login if client else 0, command):
            continue
        after = run.part(frame.sequence + 1, run.last_sequence)
        doubtful = joined([before, doubted, after])
        reference, other = ReferenceMarket(), build()
        wanted, found = reference.follow(doubtful), other.follow(doubtful)
        if wanted.divergence is None:
            assert found == wanted
            assert other.digest() == reference.digest()
        else:
            assert judged(found) == judged(wanted)


@pytest.mark.parametrize("build", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize(
    "command",
    [
        order(1)._replace(client=99),
        CancelOrder(99, 1, 0),
        MassCancel(99, 1, ALL_SYMBOLS, CancelReason.USER),
        ReplaceOrder(99, 1, 2, 10, 100, 0, TimeInForce.DAY, NO_CLIENT_ORDER_ID),
    ],
    ids=lambda command: type(command).__name__,
)
def test_a_command_of_nobody_that_stands_in_the_list_is_a_divergence(
    build: Build, command: Command
) -> None:
    """No primary admits one; a list that has one is not ours, and nothing crashes."""
    beginning = run_of_frames(1, begun().frames)
    [alien] = encode_group([command], beginning.next_sequence, 1_000)
    machine = build()
    count, divergence = machine.follow(
        joined([beginning, run_of_frames(beginning.next_sequence, [alien])])
    )
    assert count == len(beginning)
    assert divergence is not None
    assert divergence.sequence == beginning.next_sequence
    said = f"this machine can't carry out {type(command).__name__}(client=99, "
    assert divergence.reason.startswith(said)
