"""Rule 5: whom a candidate asks, whose list it adopts, and when it has all of it."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.takeover import ASK_REPEAT_NS, FETCH_PATIENCE_NS, Stage, Takeover
from feed.codec import RETRANSMISSION, PacketHeader, encode_packet
from feed.holder import FETCH_FRAMES, Holder
from feed.messages import Epoch
from feed.schema import HolderKind
from tests.engine.writing import (
    FIVE,
    Author,
    again,
    begun,
    heartbeat,
    holder,
    packets,
    said,
    word,
)
from tools.simulation.shard import SHARD

LIST = begun(9).frames
EPOCH = 2


def candidate(
    frames: Sequence[bytes] = (),
    *,
    committed: int = 0,
    holders: Sequence[str] = FIVE,
    was_here: bool = False,
) -> tuple[Holder, Takeover]:
    """A replica that holds these frames of epoch 1, and was granted the next one."""
    made = holder()
    made.on_start(1 if was_here else 0, was_here=was_here, now_ns=0)
    for data in packets(frames, committed=committed):
        made.on_datagram(data, 0)
    made.promise(EPOCH, 0)
    takeover = Takeover(made, holders, 0)
    takeover.on_time(0)
    return made, takeover


def answer(
    takeover: Takeover,
    name: str,
    *,
    last_epoch: int = 0,
    last: int = 0,
    committed: int = 0,
    epoch: int = EPOCH,
    kind: HolderKind = HolderKind.ANSWER,
    now_ns: int = 0,
) -> list[tuple[str, HolderKind, int]]:
    """A holder answers; what the candidate says then."""
    said_by = word(kind, name, epoch=epoch, last_epoch=last_epoch, last=last, committed=committed)
    return said(takeover.on_answer(said_by, now_ns))


def send(
    takeover: Takeover, name: str, datagrams: Sequence[bytes], now_ns: int = 0
) -> list[tuple[str, HolderKind, int]]:
    """A holder sends frames; what the candidate says then."""
    return [each for data in datagrams for each in said(takeover.on_packet(data, name, now_ns))]


def held(by: Holder) -> list[bytes]:
    return by.list.cache.frames(1, by.last_sequence)


def test_all_other_holders_are_asked_at_once_and_again_until_it_leads() -> None:
    made = holder()
    made.on_start(0, was_here=False, now_ns=0)
    made.promise(EPOCH, 0)
    takeover = Takeover(made, FIVE, 0)
    everybody = [(name, HolderKind.ASK, 0) for name in FIVE if name != "e1"]
    assert said(takeover.on_time(0)) == everybody
    assert said(takeover.on_time(1)) == []
    assert takeover.deadline_ns == ASK_REPEAT_NS
    assert said(takeover.on_time(ASK_REPEAT_NS)) == everybody


def test_the_only_holder_needs_no_answer() -> None:
    made, takeover = candidate(LIST, holders=("e1",))
    assert takeover.stage is Stage.ADOPTED
    assert held(made) == LIST


def test_a_majority_must_answer_its_own_word_among_them() -> None:
    _, takeover = candidate(LIST)
    assert (takeover.answered, takeover.missing_answers) == (["e1"], 2)
    answer(takeover, "r1")
    answer(takeover, "r1")  # the same once more
    assert (takeover.answered, takeover.missing_answers) == (["e1", "r1"], 1)
    answer(takeover, "e3")
    assert takeover.missing_answers == 0
    assert takeover.stage is Stage.ADOPTED


def test_who_forgot_is_named_and_does_not_count_until_it_remembers() -> None:
    _, takeover = candidate(LIST)
    for name in ("e2", "e3", "r1", "r2"):
        answer(takeover, name, kind=HolderKind.FORGOT)
    assert takeover.forgetful == {"e2", "e3", "r1", "r2"}
    assert (takeover.stage, takeover.missing_answers) == (Stage.ASKING, 2)
    answer(takeover, "e2")
    assert takeover.forgetful == {"e3", "r1", "r2"}
    answer(takeover, "r2")
    assert takeover.stage is Stage.ADOPTED


def test_a_candidate_that_forgot_needs_a_majority_of_the_others() -> None:
    _, takeover = candidate(was_here=True)
    assert takeover.answered == []
    answer(takeover, "r1")
    answer(takeover, "r2")
    assert takeover.missing_answers == 1
    answer(takeover, "e3")
    assert takeover.stage is Stage.ADOPTED


@pytest.mark.parametrize(
    ("name", "epoch"), [("r1", EPOCH - 1), ("r1", EPOCH + 1), ("mallory", EPOCH), ("e1", EPOCH)]
)
def test_answers_of_other_epochs_and_strangers_do_not_count(name: str, epoch: int) -> None:
    _, takeover = candidate(LIST)
    answer(takeover, "r2")
    answer(takeover, name, epoch=epoch, last_epoch=1, last=99)
    assert takeover.stage is Stage.ASKING
    assert takeover.answered == ["e1", "r2"]


places = st.tuples(st.integers(0, 3), st.integers(0, len(LIST)))


@given(st.lists(places, min_size=2, max_size=2), st.integers(1, len(LIST)))
def test_the_longest_list_is_the_one_of_the_latest_epoch_and_then_of_the_most_frames(
    answers: list[tuple[int, int]], own_last: int
) -> None:
    _, takeover = candidate(LIST[:own_last])
    takeover_words = [
        answer(takeover, name, last_epoch=last_epoch, last=last)
        for name, (last_epoch, last) in zip(("r1", "r2"), answers, strict=True)
    ]
    own = (1, own_last)
    if max(answers) <= own:
        assert takeover.stage is Stage.ADOPTED
    else:
        source = ("r1", "r2")[answers.index(max(answers))]
        assert takeover.stage is Stage.FETCHING
        assert takeover_words == [[], [(source, HolderKind.FETCH, 1)]]


def test_what_is_missing_is_fetched_and_the_list_adopted_as_it_is() -> None:
    made, takeover = candidate(LIST[:5], committed=4)
    answer(takeover, "r1", last_epoch=1, last=7)
    asked = answer(takeover, "r2", last_epoch=1, last=len(LIST), committed=8)
    assert asked == [("r2", HolderKind.FETCH, 5)]  # after what is known to be committed
    assert send(takeover, "r2", again(LIST, 5, epoch=EPOCH)) == []
    assert takeover.stage is Stage.ADOPTED
    assert held(made) == LIST
    assert made.committed_sequence == 8


def test_what_is_held_and_contradicts_the_longest_list_is_dropped() -> None:
    longest = Author(LIST[:5])
    longest.begin(2, "e3")
    longest.trade(3, 8)
    made = holder()
    made.on_start(0, was_here=False, now_ns=0)
    for data in packets(LIST, committed=4):
        made.on_datagram(data, 0)
    made.promise(3, 0)
    takeover = Takeover(made, FIVE, 0)
    takeover.on_time(0)
    for name in ("r1", "r2"):
        answer(takeover, name, last_epoch=2, last=len(longest.frames), epoch=3)
    send(takeover, "r1", again(longest.frames, 5, epoch=3))
    assert takeover.stage is Stage.ADOPTED
    assert held(made) == longest.frames
    assert (made.last_epoch, made.list.take_dropped()) == (2, 6)


def test_doubtful_frames_are_fetched_again_though_so_much_is_known_to_be_committed() -> None:
    longest = Author(LIST[:5])
    longest.begin(2, "e3")
    longest.trade(3, 12)
    last = len(longest.frames)
    made = holder()
    made.on_start(0, was_here=False, now_ns=0)
    for data in packets(LIST[:12], committed=4):
        made.on_datagram(data, 0)
    # The next primary has committed far more; none of its frames have arrived.
    made.on_datagram(heartbeat(last + 1, epoch=2, committed=last), 0)
    made.promise(3, 0)
    assert made.committed_sequence == last > made.last_sequence == 12
    takeover = Takeover(made, FIVE, 0)
    takeover.on_time(0)
    answer(takeover, "r1", last_epoch=2, last=last, epoch=3)
    asked = answer(takeover, "r2", last_epoch=2, last=last, epoch=3)
    assert asked == [("r1", HolderKind.FETCH, 5)]
    send(takeover, "r1", again(longest.frames, 5, epoch=3))
    assert held(made) == longest.frames


def test_nothing_is_guessed_when_who_answered_lacks_what_is_committed() -> None:
    made, takeover = candidate(LIST[:5], committed=4)
    answer(takeover, "r1", last_epoch=1, last=6)
    answer(takeover, "r2", last_epoch=1, last=5, committed=8)  # whom a primary told so
    assert takeover.missing_answers == 0
    assert (takeover.stage, takeover.lacking) == (Stage.ASKING, 8)
    assert [kind for _, kind, _ in said(takeover.on_time(ASK_REPEAT_NS))] == [HolderKind.ASK] * 4
    assert (takeover.stage, takeover.lacking) == (Stage.ASKING, 8)
    assert answer(takeover, "e3", last_epoch=1, last=9) == [("e3", HolderKind.FETCH, 5)]
    assert takeover.lacking is None
    send(takeover, "e3", again(LIST[:9], 5, epoch=EPOCH))
    assert takeover.stage is Stage.ADOPTED
    assert held(made) == LIST[:9]


@pytest.mark.parametrize("seed", range(5))
def test_frames_that_come_in_any_order_and_twice_are_adopted_in_theirs(seed: int) -> None:
    long = Author(LIST)
    long.trade(10, 100)
    made, takeover = candidate(LIST)
    answer(takeover, "r1", last_epoch=1, last=len(long.frames))
    answer(takeover, "r2")
    datagrams = again(long.frames, 1, epoch=EPOCH) * 2
    Random(seed).shuffle(datagrams)
    send(takeover, "r1", datagrams)
    assert takeover.stage is Stage.ADOPTED
    assert held(made) == long.frames


def test_what_got_lost_is_asked_for_again_from_where_it_breaks_off() -> None:
    long = Author(LIST)
    long.trade(10, 60)
    made, takeover = candidate(LIST)
    answer(takeover, "r1", last_epoch=1, last=len(long.frames))
    answer(takeover, "r2")
    first, _lost, *rest = again(long.frames, 1, epoch=EPOCH)
    send(takeover, "r1", [first, *rest])
    broken_off = made.last_sequence + 1
    assert broken_off <= len(long.frames)
    words = said(takeover.on_time(ASK_REPEAT_NS))
    assert words[-1] == ("r1", HolderKind.FETCH, broken_off)
    send(takeover, "r1", again(long.frames, broken_off, epoch=EPOCH))
    assert takeover.stage is Stage.ADOPTED
    assert held(made) == long.frames


def test_a_long_list_is_fetched_a_part_at_a_time() -> None:
    author = Author()
    author.write(*(Epoch(1, b"e2".ljust(16)) for _ in range(2 * FETCH_FRAMES + 10)))
    made, takeover = candidate(author.frames[:1])
    answer(takeover, "r1", last_epoch=1, last=len(author.frames))
    asked = [each for each in answer(takeover, "r2") if each[1] is HolderKind.FETCH]
    while takeover.stage is Stage.FETCHING:
        first = asked[-1][2]
        part = author.frames[: first + FETCH_FRAMES - 1]
        asked += send(takeover, "r1", again(part, first, epoch=EPOCH))
    assert [first for *_, first in asked] == [1, FETCH_FRAMES + 1, 2 * FETCH_FRAMES + 1]
    assert held(made) == author.frames


def test_one_that_does_not_send_what_it_said_it_has_counts_no_more() -> None:
    made, takeover = candidate(LIST[:5])
    answer(takeover, "r1", last_epoch=1, last=len(LIST))
    answer(takeover, "r2", last_epoch=1, last=7)
    assert takeover.stage is Stage.FETCHING
    now_ns = 0
    while takeover.stage is Stage.FETCHING:
        now_ns = takeover.deadline_ns
        takeover.on_time(now_ns)
    assert now_ns == FETCH_PATIENCE_NS
    assert (takeover.stage, takeover.answered) == (Stage.ASKING, ["e1", "r2"])
    asked = answer(takeover, "e3", last_epoch=1, last=6, now_ns=now_ns)
    assert asked == [("r2", HolderKind.FETCH, 1)]
    send(takeover, "r2", again(LIST[:7], 1, epoch=EPOCH))
    assert takeover.stage is Stage.ADOPTED
    assert held(made) == LIST[:7]


def test_only_frames_that_its_source_said_it_has_are_adopted() -> None:
    made, takeover = candidate(LIST[:5])
    answer(takeover, "r1", last_epoch=1, last=7)
    answer(takeover, "r2", last_epoch=1, last=6)
    for name, datagrams in (
        ("r2", again(LIST, 1, epoch=EPOCH)),  # another holder
        ("r1", again(LIST, 1, epoch=EPOCH - 1)),
        ("r1", again(LIST, 1, epoch=EPOCH + 1)),
        ("r1", packets(LIST, 1, epoch=EPOCH)),  # no retransmissions
        ("r1", [b"", b"LS", bytes(60)]),
        ("r1", [data[:-1] for data in again(LIST, 1, epoch=EPOCH)]),
    ):
        assert send(takeover, name, datagrams) == []
        assert takeover.stage is Stage.FETCHING
        assert held(made) == LIST[:5]
    send(takeover, "r1", again(LIST, 1, epoch=EPOCH))
    assert takeover.stage is Stage.ADOPTED
    assert held(made) == LIST[:7]


def test_packets_of_another_shard_are_none_of_its_business() -> None:
    made, takeover = candidate(LIST[:5])
    answer(takeover, "r1", last_epoch=1, last=7)
    answer(takeover, "r2")
    foreign = PacketHeader(RETRANSMISSION, SHARD + 1, EPOCH, 1, 0)
    send(takeover, "r1", [encode_packet(foreign, LIST[:7])])
    assert takeover.stage is Stage.FETCHING
    assert held(made) == LIST[:5]


def test_with_the_longest_list_a_candidate_that_forgot_remembers_all() -> None:
    made, takeover = candidate(was_here=True)
    for name in ("e3", "r1"):
        answer(takeover, name, last_epoch=1, last=5)
    answer(takeover, "r2", last_epoch=1, last=len(LIST))
    assert made.vote == "returning"
    send(takeover, "r2", again(LIST, 1, epoch=EPOCH))
    assert takeover.stage is Stage.ADOPTED
    assert held(made) == LIST
    assert str(made.vote) == "counts"
