"""What the audit of a list finds: each difference is planted, and must be found and named."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.markets import ReferenceMarket
from feed.codec import FRAME_HEADER_BYTES, Frame, decode_body, decode_frame, encode_frame
from feed.datagrams import Submission
from feed.messages import (
    Canceled,
    CancelReason,
    EnterOrder,
    Epoch,
    LogIn,
    NewDay,
    Replaced,
    Side,
    Trade,
    Triggered,
    holder_field,
)
from feed.schema import FrameType
from tests.engine.strategies import PROPERTY, submission_lists
from tests.tools.audited_lists import (
    Author,
    altered,
    audit_of,
    busy_history,
    find,
    history,
    moved,
    put,
    renumbered,
    runs,
    told,
    whole,
)
from tools.audit.bookkeeping import Bookkeeping
from tools.audit.findings import TOLD_OF_A_KIND, Findings, Kind
from tools.audit.structure import Structure

SEED = 1


@pytest.fixture(scope="module")
def frames() -> list[bytes]:
    return busy_history()


def kinds(frames: list[bytes]) -> set[Kind]:
    return set(audit_of(runs(frames)).findings.counts)


def within_a_group(frames: list[bytes]) -> Frame:
    """The first trade that does not end its group."""
    every = (decode_frame(data) for data in frames)
    return next(each for each in every if each.type is FrameType.TRADE and not each.is_end)


def books_of(frames: list[bytes]) -> Findings:
    """What an auditor's own books alone have to say: no machine is near."""
    findings = Findings()
    structure, books = Structure(findings), Bookkeeping(findings)
    for run in runs(frames):
        for group in structure.take(run):
            books.take(group)
    books.close(None)
    return findings


@pytest.mark.parametrize("seed", range(40, 52))
def test_a_clean_list_passes_with_everything_checked(seed: int) -> None:
    clean = history(seed, is_calm=seed % 2 == 0)
    audit = audit_of(runs(clean, size=seed))
    findings = audit.findings
    assert (findings.differences, findings.notes) == ([], [])
    checked = findings.checked
    assert checked["frames"] == audit.frames == len(clean)
    assert checked["groups"] == checked["computed groups"]
    assert checked["epochs"] == 2
    machine = ReferenceMarket()
    assert machine.follow(whole(clean)).divergence is None
    assert audit.state_digest == machine.digest()
    assert audit.live_orders == machine.live_orders
    assert audit.computed_to == len(clean)


@given(submission_lists(), st.integers(1, 60))
@settings(PROPERTY, max_examples=25)
def test_any_list_that_a_primary_writes_is_clean(submissions: list[Submission], size: int) -> None:
    author = Author()
    for submission in submissions:
        if not isinstance(submission.command, Epoch):
            author.submit(submission)
    assert told(audit_of(runs(author.frames, size=size))) == []


@given(st.randoms(use_true_random=False))
@settings(PROPERTY, max_examples=40)
def test_any_event_with_another_byte_and_a_right_checksum_is_found(random: Random) -> None:
    clean = busy_history()
    events = [n for n, data in enumerate(clean) if not decode_frame(data).is_command]
    at = random.choice(events)
    frame = decode_frame(clean[at])
    data = bytearray(frame.data)
    data[random.randrange(FRAME_HEADER_BYTES, len(data))] ^= random.randrange(1, 256)
    other = decode_body(frame.type, bytes(data), FRAME_HEADER_BYTES)
    found = told(audit_of(runs(put(clean, frame, other))))
    assert (Kind.COMPUTED, frame.sequence) in [(each.kind, each.sequence) for each in found]


def test_enough_is_checked_to_mean_something() -> None:
    checked = audit_of(runs(history(SEED, 1500, is_calm=False))).findings.checked
    for what in ("trades", "cancels", "replaces", "stops", "numbered commands", "days", "books"):
        assert checked[what] > 1, what


def test_sums_are_those_of_the_trades(frames: list[bytes]) -> None:
    totals = audit_of(runs(frames)).totals
    trades = [each for data in frames if isinstance(each := decode_frame(data).message(), Trade)]
    assert trades
    assert sum(each.trades for each in totals.symbols.values()) == len(trades)
    assert sum(each.turnover for each in totals.symbols.values()) == sum(
        trade.price * trade.quantity for trade in trades
    )
    assert sum(each.bought for each in totals.clients.values()) == sum(
        trade.quantity for trade in trades
    )
    assert sum(each.cash for each in totals.clients.values()) == 0


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"price": 1}, "is not the maker's"),
        ({"price": 2**40}, "does not allow the price"),
        ({"quantity": 2**31}, "open"),
        ({"quantity": 0}, "open"),
        ({"maker_number": 2}, "does not live"),
        ({"taker_number": 1}, "does not live"),
        ({"maker_client": 77}, "is said to be client 77's"),
        ({"taker_user_ref_num": 1_000}, "is said to be"),
        ({"symbol": b"MSFT    "}, "is in another instrument"),
    ],
)
def test_a_changed_trade_is_found_without_any_machine(
    frames: list[bytes], fields: dict[str, int], text: str
) -> None:
    frame = find(frames, Trade, lambda trade: trade.symbol == b"AAPL    ")
    changed = altered(frames, frame, **fields)
    findings = books_of(changed)
    assert any(
        each.kind is Kind.TRADE and each.sequence == frame.sequence and text in each.text
        for each in findings.differences
    ), findings.differences
    computed = [each for each in told(audit_of(runs(changed))) if each.kind is Kind.COMPUTED]
    assert [each.sequence for each in computed] == [frame.sequence]
    assert computed[0].found != computed[0].expected


def test_the_other_side_of_a_trade_makes_positions_that_do_not_sum_to_zero(
    frames: list[bytes],
) -> None:
    frame = find(frames, Trade)
    trade = frame.message()
    assert isinstance(trade, Trade)
    side = Side.BUY if trade.taker_side != Side.BUY else Side.SELL
    findings = books_of(altered(frames, frame, taker_side=side))
    assert findings.counts == {Kind.TRADE: 1}
    assert findings.differences[0].text == "the taker is on the other side"


def test_a_forged_trade_is_found_by_both(frames: list[bytes]) -> None:
    at = within_a_group(frames).sequence
    forged = renumbered([*frames[:at], frames[at - 1], *frames[at:]])
    audit = audit_of(runs(forged))
    first = next(each for each in told(audit) if each.kind is Kind.COMPUTED)
    assert first.sequence <= at + 1
    assert Kind.TRADE in books_of(forged).counts
    assert Kind.SUM in books_of(forged).counts


def test_a_missing_frame_is_told_and_what_can_not_be_proven_after_it(frames: list[bytes]) -> None:
    at = find(frames, EnterOrder).sequence
    audit = audit_of(runs(frames[: at - 1]) + runs(frames[at:], first=at + 1))
    missing, unproven = told(audit)
    assert (missing.kind, missing.sequence) == (Kind.MISSING, at)
    assert unproven.kind is Kind.UNPROVEN
    assert unproven.sequence > at
    assert audit.computed_to == at - 1
    assert (audit.state_digest, audit.list_digest) == (None, None)


def test_swapped_groups_are_found_with_right_numbers(frames: list[bytes]) -> None:
    at = find(frames, EnterOrder, lambda each: each.client == 1 and each.user_ref_num > 3).sequence
    ends = [n for n, data in enumerate(frames, 1) if decode_frame(data).is_end]
    first = max(end for end in ends if end < at)
    middle = min(end for end in ends if end >= at)
    last = min(end for end in ends if end > middle)
    swapped = renumbered(
        [*frames[:first], *frames[middle:last], *frames[first:middle], *frames[last:]]
    )
    swapped = [
        moved(data, n, decode_frame(frames[n - 1]).time_ns) for n, data in enumerate(swapped, 1)
    ]
    assert swapped != frames
    assert kinds(swapped) & {Kind.COMPUTED, Kind.TWICE, Kind.TRADE, Kind.ORDER}


def test_a_command_that_stands_twice_is_found(frames: list[bytes]) -> None:
    frame = find(frames, EnterOrder, lambda each: each.symbol == b"AAPL    ")
    data = encode_frame(frame.message(), len(frames) + 1, 2**63, end=True)
    audit = audit_of(runs([*frames, data]))
    found = {each.kind: each for each in told(audit)}
    assert {Kind.TWICE, Kind.ADMISSION} <= set(found)
    assert found[Kind.TWICE].sequence == found[Kind.ADMISSION].sequence == len(frames) + 1
    assert "has used user_ref_num" in found[Kind.TWICE].text
    assert Kind.TWICE in books_of([*frames, data]).counts


def test_time_that_runs_backwards_is_found_where_it_does(frames: list[bytes]) -> None:
    at = find(frames, LogIn).sequence
    early = [
        moved(data, n, decode_frame(data).time_ns - 10**9) if n == at else data
        for n, data in enumerate(frames, 1)
    ]
    (difference,) = told(audit_of(runs(early)))
    assert (difference.kind, difference.sequence) == (Kind.TIME, at)


@pytest.mark.parametrize("epoch", [0, 1])
def test_an_epoch_that_does_not_grow_is_found(frames: list[bytes], epoch: int) -> None:
    frame = find(frames, Epoch, lambda each: each.epoch == 2)
    (difference,) = told(audit_of(runs(altered(frames, frame, epoch=epoch))))
    assert (difference.kind, difference.sequence) == (Kind.EPOCH, frame.sequence)
    assert "e1" in difference.text


def test_a_day_that_does_not_grow_is_found() -> None:
    author = Author()
    author.write(Epoch(1, holder_field("e1")), NewDay(20240226), NewDay(20240227))
    found = told(audit_of(runs(altered(author.frames, find(author.frames, NewDay), day=20240228))))
    assert [(each.kind, each.sequence) for each in found] == [(Kind.DAY, 3), (Kind.COMPUTED, 3)]


def test_a_refused_day_is_no_day() -> None:
    author = Author()
    author.write(Epoch(1, holder_field("e1")), NewDay(20240227), NewDay(20240226), NewDay(20241399))
    audit = audit_of(runs(author.frames))
    assert told(audit) == []
    assert [day.day for day in audit.structure.days] == [20240227]


def test_a_command_of_nobody_who_is_logged_in_is_found(frames: list[bytes]) -> None:
    frame = find(frames, EnterOrder)
    found = [
        each
        for each in told(audit_of(runs(altered(frames, frame, client=99))))
        if each.kind is Kind.ADMISSION
    ]
    assert found[0].sequence == frame.sequence  # and what was done to that order later


def test_groups_without_an_end_or_a_command_are_found(frames: list[bytes]) -> None:
    frame = find(frames, LogIn)
    endless = [
        encode_frame(frame.message(), frame.sequence, frame.time_ns, end=False)
        if n == frame.sequence
        else data
        for n, data in enumerate(frames, 1)
    ]
    found = told(audit_of(runs(endless)))
    assert (found[0].kind, found[0].sequence) == (Kind.GROUP, frame.sequence + 1)
    trade = find(frames, Trade)
    ended = [
        encode_frame(frame.message(), frame.sequence, frame.time_ns, end=True)
        if (frame := decode_frame(data)).sequence == trade.sequence - 1
        else data
        for data in frames
    ]
    found = [each for each in told(audit_of(runs(ended))) if each.kind is Kind.GROUP]
    assert found[0].sequence == trade.sequence
    assert "no command before it" in found[0].text


def test_a_list_that_ends_within_a_group_is_no_difference_but_told(frames: list[bytes]) -> None:
    trade = within_a_group(frames)
    audit = audit_of(runs(frames[: trade.sequence]))
    assert told(audit) == []
    assert "within the group" in audit.findings.notes[0]
    changed = altered(frames[: trade.sequence], trade, quantity=999)
    (found,) = told(audit_of(runs(changed)))
    assert (found.kind, found.sequence) == (Kind.COMPUTED, trade.sequence)


def test_more_differences_than_are_told_are_counted(frames: list[bytes]) -> None:
    back = [moved(data, n, 2**40 - n) for n, data in enumerate(frames, 1)]
    audit = audit_of(runs(back))
    assert audit.findings.counts[Kind.TIME] == len(frames) - 1
    assert len([e for e in told(audit) if e.kind is Kind.TIME]) == TOLD_OF_A_KIND


@pytest.mark.parametrize("kind", [Canceled, Replaced, Triggered])
def test_any_other_event_that_was_changed_is_found(kind: type) -> None:
    long = history(SEED, 900)
    frame = find(long, kind)
    event = frame.message()
    if kind is Canceled:
        assert isinstance(event, Canceled)
        other: object = event._replace(quantity=event.quantity + 1_000_000)
    else:
        other = event._replace(client=77)  # type: ignore[call-arg]
    findings = books_of(put(long, frame, other))  # type: ignore[arg-type]
    assert any(
        each.kind is Kind.ORDER and each.sequence == frame.sequence for each in findings.differences
    )


def test_what_self_trade_prevention_and_reasons_are_for_stays_readable() -> None:
    frame = find(history(SEED, 900), Canceled, lambda e: e.reason == CancelReason.SELF_TRADE)
    changed = altered(history(SEED, 900), frame, reason=CancelReason.EXPIRED)
    findings = books_of(changed)
    assert findings.differences[0].sequence == frame.sequence
    assert "reason=EXPIRED" in findings.differences[0].found
