"""Holders' lists side by side: where they agree, what is a lost tail, and what must not be."""

from random import Random

import pytest

from feed.codec import decode_frame, encode_frame
from feed.messages import EnterOrder, Epoch, holder_field
from feed.run import Run, joined
from tests.tools.audited_lists import altered, busy_history, find, runs
from tools.audit.findings import Findings, Kind
from tools.audit.holders import Copy, Merger


@pytest.fixture(scope="module")
def frames() -> list[bytes]:
    return busy_history()


def copy(
    holder: str, frames: list[bytes], *, first: int = 1, size: int = 40, epoch: int = 2
) -> Copy:
    return Copy(holder, runs(frames, first, size), epoch, first + len(frames) - 1)


def merged(*copies: Copy, committed: int = 0) -> tuple[list[bytes], Merger, Findings]:
    """The list that these copies make, and what was found."""
    findings = Findings()
    merger = Merger(copies, 0, committed, findings)
    found: list[Run] = list(merger.runs())
    return joined(found).split(), merger, findings


@pytest.mark.parametrize("seed", range(5))
def test_equal_copies_make_their_list_however_they_are_cut(frames: list[bytes], seed: int) -> None:
    random = Random(seed)
    copies = [copy(f"e{n}", frames, size=random.randint(1, 90)) for n in range(3)]
    found, merger, findings = merged(*copies)
    assert found == frames
    assert (findings.counts, findings.notes) == ({}, [])
    assert findings.checked["frames compared"] == 2 * len(frames)
    assert [each.frames for each in merger.comparisons] == [len(frames)] * 3


def test_copies_that_begin_and_end_elsewhere_are_put_together(frames: list[bytes]) -> None:
    found, merger, findings = merged(
        copy("e1", frames[:200], size=7),
        copy("e2", frames[99:300], first=100),
        copy("r1", frames[149:], first=150, size=11),
    )
    assert found == frames
    assert findings.is_clean
    assert [(each.first_sequence, each.last_sequence) for each in merger.comparisons] == [
        (1, 200),
        (100, 300),
        (150, len(frames)),
    ]


def test_one_frame_that_differs_is_outvoted_and_told_with_all_sides(frames: list[bytes]) -> None:
    frame = find(frames, EnterOrder)
    other = altered(frames, frame, quantity=77)
    found, _, findings = merged(
        copy("e2", frames, size=33), copy("e3", frames, size=9), copy("e1", other), committed=99
    )
    assert found == frames
    (difference,) = findings.differences
    assert (difference.kind, difference.sequence) == (Kind.HOLDERS, frame.sequence)
    assert difference.found.endswith("(e1)")
    assert "quantity=77" in difference.found
    assert difference.expected.endswith("(e2, e3)") or difference.expected.endswith("(e3, e2)")


def test_a_tail_of_an_older_epoch_is_lost_and_no_difference(frames: list[bytes]) -> None:
    at = find(frames, Epoch, lambda each: each.epoch == 2).sequence
    tail = [
        encode_frame(find(frames, EnterOrder).message(), at + n, 2**62, end=True) for n in range(3)
    ]
    found, merger, findings = merged(
        copy("e1", [*frames[: at - 1], *tail], epoch=1, size=500),
        copy("e2", frames),
        committed=at - 1,
    )
    assert found == frames
    assert findings.is_clean
    assert "a lost tail" in findings.notes[0]
    first, second = merger.comparisons
    assert first.lost_tail == (at, at + 2, 1)
    assert (first.last_sequence, second.lost_tail) == (at - 1, None)


def test_the_same_tail_is_a_difference_when_it_was_committed(frames: list[bytes]) -> None:
    at = find(frames, Epoch, lambda each: each.epoch == 2).sequence
    tail = encode_frame(find(frames, EnterOrder).message(), at, 2**62, end=True)
    _, _, findings = merged(
        copy("e1", [*frames[: at - 1], tail], epoch=1), copy("e2", frames), committed=at
    )
    (difference,) = findings.differences
    assert (difference.kind, difference.sequence) == (Kind.HOLDERS, at)
    assert "overruled by epoch 2" in difference.text


def test_two_epochs_that_begin_at_one_place_are_told_apart(frames: list[bytes]) -> None:
    end = decode_frame(frames[-1])
    assert end.is_end
    begin = [
        encode_frame(Epoch(epoch, holder_field(name)), end.sequence + 1, 2**62, end=True)
        for epoch, name in ((3, "e1"), (4, "e2"))
    ]
    found, merger, findings = merged(
        copy("e1", [*frames, begin[0]], epoch=3), copy("e2", [*frames, begin[1]], epoch=4)
    )
    assert found == [*frames, begin[1]]
    assert findings.is_clean
    assert merger.comparisons[0].lost_tail == (end.sequence + 1, end.sequence + 1, 3)


def test_a_hole_that_others_fill_is_told_and_filled(frames: list[bytes]) -> None:
    holey = Copy("e1", [*runs(frames[:50]), *runs(frames[80:], 81)], 2, len(frames))
    found, _, findings = merged(holey, copy("e2", frames))
    assert found == frames
    (difference,) = findings.differences
    assert (difference.kind, difference.sequence) == (Kind.MISSING, 51)
    assert difference.text == "e1 lacks the frames up to 80"
