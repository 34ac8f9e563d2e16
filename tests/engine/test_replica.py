"""A replica's roles: a backup that follows and acknowledges, a candidate, a primary."""

import pytest
from structlog.testing import capture_logs

from engine.backup import FRAMES_PER_TURN
from engine.markets import ReferenceMarket
from engine.primary import LeadSettings
from engine.replica import (
    TOO_FEW_AFTER_NS,
    Replica,
    ReplicaRules,
    State,
)
from feed.codec import decode_packet
from feed.datagrams import Repair, encode_repair
from feed.messages import Epoch, SetTradingState, holder_field
from feed.schema import RepairKind
from feed.vote import Vote
from tests.engine.cluster import SUSPICION_NS
from tests.engine.shells import ACK, ANSWER, ASK, FORGOT, REPLICAS, following, leading, replica
from tests.engine.trader import SYMBOL
from tests.engine.writing import (
    FIVE,
    LOG_IN,
    Author,
    begun,
    datagram,
    heartbeat,
    holder,
    packets,
    submitted,
)
from tools.simulation.world import MILLISECOND_NS

# Backups


def test_what_it_is_before_zookeeper_has_said_anything() -> None:
    rules = ReplicaRules(FIVE, REPLICAS, LeadSettings())
    made = Replica(holder(), rules, ReferenceMarket, lambda: 0)
    assert (made.state, made.is_electable(10**12)) == (State.STARTING, False)
    assert made.suspected_epoch is None


def test_backup_acknowledges_to_the_primary_of_the_list_what_its_machine_has_compared() -> None:
    author = begun()
    made = following(author.frames)
    assert made.heard() == [("e2", ACK, len(author.frames))]
    assert made.replica.state is State.BACKUP
    assert made.replica.sequence == len(author.frames)
    assert made.replica.machine.digest() == author.market.digest()
    assert (made.replica.leader, made.replica.is_electable(0)) == ("e2", True)


def test_a_part_of_a_group_is_neither_carried_out_nor_acknowledged() -> None:
    frames = begun().frames
    made = following(frames[:7])  # the second frame of three
    assert made.heard() == [("e2", ACK, 5)]
    assert made.replica.sequence == 5


def test_acknowledgements_are_said_again_until_they_are_heard() -> None:
    frames = begun().frames
    made = following(frames)
    made.heard()
    last = len(frames)
    for at_ms in range(1, 16):
        made.hear([heartbeat(last + 1, epoch=1)], at_ms * MILLISECOND_NS)
    assert made.heard() == [("e2", ACK, last)] * 3
    made.hear([heartbeat(last + 1, epoch=1, committed=last)], 21 * MILLISECOND_NS)
    made.hear([heartbeat(last + 1, epoch=1, committed=last)], 27 * MILLISECOND_NS)
    assert made.heard() == []


def test_a_long_list_is_carried_out_in_turns_and_only_that_much_is_acknowledged() -> None:
    author = Author()
    epoch = Epoch(1, holder_field("e2"))
    author.write(epoch)
    author.write(*(SetTradingState(SYMBOL, 0) for _ in range(6 * FRAMES_PER_TURN)))
    made = replica()
    made.replica.on_datagrams(packets(author.frames), 0)
    acknowledged = []
    while made.replica.sequence < len(author.frames):
        made.turn()
        acknowledged.append(("e2", ACK, made.replica.sequence))
        if made.replica.sequence < len(author.frames):
            assert made.replica.deadline_ns == 0
    assert len(acknowledged) > 6
    assert made.heard() == acknowledged


def test_silence_makes_it_suspect_its_primary_and_a_word_of_it_takes_that_back() -> None:
    frames = begun().frames
    made = following(frames)
    suspected = []
    for at_ns in (SUSPICION_NS - 1, SUSPICION_NS):
        made.pass_time(at_ns)
        suspected.append(made.replica.suspected_epoch)
    made.hear([heartbeat(len(frames) + 1, epoch=1)], SUSPICION_NS + 1)
    suspected.append(made.replica.suspected_epoch)
    assert suspected == [None, 1, None]


def test_nobody_is_suspected_before_there_ever_was_a_primary() -> None:
    made = replica()
    made.pass_time(10**12)
    assert made.replica.suspected_epoch is None


def test_a_candidate_and_a_primary_suspect_nobody() -> None:
    made = replica(epoch_at_start=1)
    made.grant(2)
    made.pass_time(10 * SUSPICION_NS)
    assert (made.replica.state, made.replica.suspected_epoch) == (State.CANDIDATE, None)
    lead = leading()
    lead.pass_time(10 * SUSPICION_NS)
    assert lead.replica.suspected_epoch is None


# Taking over


def test_who_is_granted_an_epoch_asks_and_opens_it_when_a_majority_has_answered() -> None:
    frames = begun().frames
    made = following(frames, committed=4)
    made.heard()
    made.grant(2)
    asked = [(name, ASK, len(frames)) for name in FIVE if name != "e1"]
    assert (made.replica.state, made.heard(), made.packets) == (State.CANDIDATE, asked, [])
    made.be_told(ANSWER, "r1", epoch=2)
    assert made.replica.state is State.CANDIDATE
    made.be_told(ANSWER, "e3", epoch=2)
    assert (made.replica.state, made.replica.takeovers) == (State.PRIMARY, 1)
    adopted, opened = map(decode_packet, made.packets[:2])
    assert [frame.data for frame in adopted.frames] == frames[4:]
    assert [frame.message() for frame in opened.frames] == [Epoch(2, holder_field("e1"))]
    assert opened.header.first_sequence == len(frames) + 1
    assert made.replica.leader == "e1"


def test_a_group_that_is_cut_off_is_completed_before_the_epoch_frame() -> None:
    frames = begun().frames
    made = following(frames[:7], committed=4)
    made.grant(2)
    for name in ("r1", "r2"):
        made.be_told(ANSWER, name, epoch=2)
    sent = [frame for data in made.packets for frame in decode_packet(data).frames]
    assert [frame.data for frame in sent[:-1]] == frames[4:8]
    assert sent[-1].sequence == 9
    assert sent[-1].message() == Epoch(2, holder_field("e1"))


@pytest.mark.parametrize("granted", [None, 1, 3])
def test_only_the_newest_epoch_makes_it_a_candidate(granted: int | None) -> None:
    made = following(begun().frames)
    made.replica.on_epochs(2, granted, 0)
    assert (made.replica.state, made.replica.epoch) == (State.BACKUP, 2)


def test_an_epoch_that_it_promised_to_another_is_not_taken_over() -> None:
    made = following(begun().frames)
    made.be_told(ASK, "e3", epoch=2)
    assert made.heard()[-1][:2] == ("e3", ANSWER)
    made.grant(2)  # by a ZooKeeper that has forgotten its earlier grant
    assert made.replica.state is State.BACKUP


def test_a_candidate_does_not_promise_its_epoch_to_another() -> None:
    made = following(begun().frames)
    made.grant(2)
    made.heard()
    made.be_told(ASK, "e3", epoch=2)
    assert made.heard() == []
    assert made.replica.state is State.CANDIDATE


def test_epoch_that_it_led_in_is_not_led_again() -> None:
    made = leading()
    made.be_told(ASK, "e2", epoch=2)
    made.replica.on_epochs(1, 1, 0)
    made.replica.on_epochs(2, 1, 0)
    assert made.replica.state is State.BACKUP
    assert made.replica.gives_back(1)


def test_too_few_answers_are_complained_of_each_second() -> None:
    made = following(begun().frames)
    made.grant(2)
    made.be_told(FORGOT, "r2", epoch=2)
    made.be_told(ANSWER, "r1", epoch=2)
    with capture_logs() as logs:
        for at_ns in range(0, 3 * TOO_FEW_AFTER_NS, 10 * MILLISECOND_NS):
            made.pass_time(at_ns)
    assert [entry["log_level"] for entry in logs] == ["error"] * 2
    said_last = logs[-1]
    assert said_last["event"].startswith("too few holders that remember")
    assert (said_last["answered"], said_last["forgetful"], said_last["missing"]) == (
        ["e1", "r1"],
        ["r2"],
        1,
    )


def test_what_is_committed_and_nobody_has_is_complained_of() -> None:
    made = following(begun().frames[:5], committed=4)
    made.hear([heartbeat(10, epoch=1, committed=9)])
    made.grant(2)
    for name in ("r1", "r2"):
        made.be_told(ANSWER, name, epoch=2, last=5)
    with capture_logs() as logs:
        made.pass_time(TOO_FEW_AFTER_NS)
    (entry,) = logs
    assert entry["event"].startswith("nobody who answered has what is committed")
    assert entry["committed_sequence"] == 9
    assert made.replica.state is State.CANDIDATE


# What comes in


@pytest.mark.parametrize(
    ("data", "sender"),
    [
        (datagram(ASK, "e2", epoch=9)[:-1], "e2"),
        (datagram(ASK, "e2", epoch=9), "e3"),  # in another's name
        (b"LH", "e2"),
        (b"LH" + bytes(56), "e2"),
    ],
)
def test_what_is_no_word_of_its_sender_is_refused(data: bytes, sender: str) -> None:
    made = following(begun().frames)
    made.heard()
    made.replica.on_word(data, sender, 0)
    made.turn()
    assert (made.replica.holder.words_refused, made.replica.epoch, made.heard()) == (1, 1, [])


def test_a_nak_is_answered_in_every_role_with_the_same_bytes() -> None:
    author = begun()
    nak = encode_repair(Repair(RepairKind.NAK, 1, 1, 2, 5))
    (answer,) = following(author.frames).replica.on_nak(nak, "somebody", 10**9)
    assert [frame.data for frame in decode_packet(answer).frames] == author.frames[1:5]
    lead = leading()
    lead.replica.submit(submitted(LOG_IN))
    lead.turn()
    nak = encode_repair(Repair(RepairKind.NAK, 1, 1, 1, 3))
    (answer,) = lead.replica.on_nak(nak, "somebody", 10**9)
    sent = [frame for data in lead.packets for frame in decode_packet(data).frames]
    assert list(decode_packet(answer).frames) == sent


def test_vote_is_what_zookeeper_makes_of_it() -> None:
    votes = {
        (epoch, was_here): replica(epoch_at_start=epoch, was_here=was_here).replica.holder.vote
        for epoch in (0, 3)
        for was_here in (False, True)
    }
    assert votes == {
        (0, False): Vote.COUNTS,
        (0, True): Vote.COUNTS,
        (3, False): Vote.COUNTS,
        (3, True): Vote.RETURNING,
    }
