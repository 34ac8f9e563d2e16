"""Every rule of the list that the witness holds a shard to, broken once on purpose."""

import pytest

from feed.codec import decode_frame
from feed.datagrams import HolderWord
from feed.holder import Holder
from feed.schema import HolderKind
from tests.engine.writing import FIVE, again, begun, heartbeat, holder, packets, word
from tests.engine.writing import Author as ListAuthor
from tools.simulation.witness import Witness

LIST = begun(6, primary="e2").frames
FRAMES = [decode_frame(data) for data in LIST]
LAST = len(LIST)


def other_list() -> list[bytes]:
    """A list that differs from the other one in its last group."""
    author: ListAuthor = begun(5, primary="e2")
    author.trade(7, 1)
    return author.frames


def holding(frames: list[bytes], name: str = "e1") -> Holder:
    made = holder(name)
    for packet in packets(frames):
        made.on_datagram(packet, 0)
    return made


def ack(name: str, last: int, *, epoch: int = 1) -> HolderWord:
    return word(HolderKind.ACK, name, epoch=epoch, last=last)


class Told:
    """A witness that has seen e2 write its list in epoch 1, and anything else by the methods."""

    def __init__(self) -> None:
        self.witness = Witness(len(FIVE))
        for number, name in enumerate(FIVE, 1):
            self.witness.on_start(name, 1, number)
        self.witness.on_lead("e2", 1, 1, [])
        self.send(packets(LIST))

    def send(self, sent: list[bytes], name: str = "e2", life: int = 1) -> None:
        for packet in sent:
            self.witness.on_multicast(name, life, packet)

    def acknowledge(self, *names: str, last: int = LAST) -> None:
        for name in names:
            self.witness.on_word(name, 1, 1, ack(name, last), holding(LIST, name))

    def commit(self, last: int = LAST) -> None:
        self.witness.on_own("e2", 1, 1, last)
        self.acknowledge("e1", "r1", last=last)
        self.send([heartbeat(LAST + 1, epoch=1, committed=last)])
        self.witness.on_committed(FRAMES[:last])


def test_what_is_right_is_let_pass_and_told_to_listeners_once() -> None:
    told = Told()
    heard: list[int] = []
    told.witness.listeners.append(lambda frame: heard.append(frame.sequence))
    told.commit()
    told.witness.on_committed(FRAMES)  # another subscriber
    assert heard == list(range(1, LAST + 1))
    assert told.witness.committed == LIST
    assert (told.witness.epochs, told.witness.leaders) == ([1], {1: "e2"})
    told.witness.on_lead("e3", 1, 2, LIST)
    assert told.witness.leaders == {1: "e2", 2: "e3"}


def test_two_primaries_in_one_epoch() -> None:
    with pytest.raises(AssertionError, match="e3 and e2 lead in epoch 1"):
        Told().witness.on_lead("e3", 1, 1, [])


def test_primary_that_lacks_what_is_committed() -> None:
    told = Told()
    told.commit()
    with pytest.raises(AssertionError, match="without committed frames"):
        told.witness.on_lead("e3", 1, 2, LIST[:-1])


@pytest.mark.parametrize(("name", "life"), [("e1", 1), ("e2", 2)])
def test_packet_of_somebody_else_than_the_primary(name: str, life: int) -> None:
    with pytest.raises(AssertionError, match=f"{name} writes in epoch 1"):
        Told().send([heartbeat(LAST + 1, epoch=1)], name, life)


def test_frame_that_was_sent_otherwise_before() -> None:
    with pytest.raises(AssertionError, match="two frames"):
        Told().send(packets(other_list()))


def test_commit_without_a_majority() -> None:
    told = Told()
    told.witness.on_own("e2", 1, 1, LAST)
    told.acknowledge("e1")  # two of five, with the primary
    with pytest.raises(AssertionError, match="without a majority"):
        told.send([heartbeat(LAST + 1, epoch=1, committed=LAST)])


def test_acknowledgement_of_a_life_that_was_forgotten_does_not_count() -> None:
    told = Told()
    told.witness.on_own("e2", 1, 1, LAST)
    told.acknowledge("e1", "r1")
    told.witness.on_start("r1", 2, 77)
    welcome = word(HolderKind.WELCOME, "e2", epoch=1, last=LAST, incarnation=77)
    told.witness.on_word("e2", 1, 1, welcome, holding(LIST))
    with pytest.raises(AssertionError, match="without a majority"):
        told.send([heartbeat(LAST + 1, epoch=1, committed=LAST)])


def test_commit_of_an_older_epochs_frames_alone() -> None:
    told = Told()
    told.witness.on_lead("e3", 1, 2, LIST)
    with pytest.raises(AssertionError, match="commits an older one's frames"):
        told.send([heartbeat(LAST + 1, epoch=2, committed=LAST)], "e3")


def test_frame_that_nobody_has_said_is_committed() -> None:
    told = Told()
    told.commit(LAST - 1)
    with pytest.raises(AssertionError, match="nobody has said"):
        told.witness.on_committed(FRAMES)


def test_commit_with_a_hole() -> None:
    told = Told()
    told.commit(3)
    with pytest.raises(AssertionError, match="out of turn"):
        told.witness.on_committed(FRAMES[4:])


def test_committed_frame_that_changes() -> None:
    told = Told()
    told.commit()
    changed = [decode_frame(data) for data in other_list()]
    with pytest.raises(AssertionError, match="changed after its commit"):
        told.witness.on_committed(changed)


def test_acknowledgement_of_what_is_not_held_or_not_in_the_list() -> None:
    told = Told()
    with pytest.raises(AssertionError, match="has not what it acknowledges"):
        told.witness.on_word("e1", 1, 1, ack("e1", LAST), holding(LIST[: LAST - 1]))
    with pytest.raises(AssertionError, match="has otherwise"):
        told.witness.on_word("r1", 1, 1, ack("r1", len(other_list())), holding(other_list()))


def test_answer_for_an_older_epoch_than_before() -> None:
    told = Told()
    answer = word(HolderKind.ANSWER, "e1", epoch=2, last=LAST)
    told.witness.on_word("e1", 1, 1, answer, holding(LIST))
    with pytest.raises(AssertionError, match="answered for epoch 2, now for 1"):
        told.acknowledge("e1")


def test_vote_of_a_holder_that_forgot_and_has_not_caught_up() -> None:
    told = Told()
    told.commit()
    for name in ("r1", "r2"):
        told.witness.on_start(name, 2, 77)
    silent = holding(LIST[:3])  # had said nothing before
    told.witness.on_word("r2", 2, 2, ack("r2", 3), silent)
    with pytest.raises(AssertionError, match="r1 forgot"):
        told.witness.on_word("r1", 2, 2, ack("r1", 3), holding(LIST[:3]))


def test_commit_that_counts_frames_of_the_primary_which_are_not_stored() -> None:
    told = Told()
    told.witness.on_own("e2", 1, 1, LAST - 1)
    told.acknowledge("e1", "r1")
    with pytest.raises(AssertionError, match="without a majority"):
        told.send([heartbeat(LAST + 1, epoch=1, committed=LAST)])
    told.witness.on_own("e2", 1, 1, LAST)
    told.send([heartbeat(LAST + 1, epoch=1, committed=LAST)])


def test_return_with_a_memory_that_lacks_what_was_acknowledged() -> None:
    told = Told()
    told.acknowledge("e1")
    told.witness.on_recovered("e1", 1, 1, holding(LIST))
    told.witness.on_recovered("e1", 2, 1, holding(LIST[:3]))  # known to have forgotten
    with pytest.raises(AssertionError, match=f"e1 acknowledged {LAST} of epoch 1, and comes back"):
        told.witness.on_recovered("e1", 1, 1, holding(LIST[:3]))


def test_return_without_a_promise_that_outlives_every_frame() -> None:
    told = Told()
    answer = word(HolderKind.ANSWER, "e1", epoch=2, last=LAST)
    told.witness.on_word("e1", 1, 1, answer, holding(LIST))
    told.witness.on_recovered("e1", 2, 2, holding(LIST))  # with another disk
    with pytest.raises(AssertionError, match="e1 answered for epoch 2, and comes back in 1"):
        told.witness.on_recovered("e1", 2, 1, holding(LIST))


def test_retransmission_of_what_may_have_lost() -> None:
    told = Told()
    told.witness.on_answer("r1", *again(LIST, 1, epoch=1))
    with pytest.raises(AssertionError, match="of a list that may have lost"):
        told.witness.on_answer("r1", *again(other_list(), 1, epoch=1))
    with pytest.raises(AssertionError, match="of a list that may have lost"):
        told.witness.on_answer("r1", *again(LIST, 1, epoch=2))  # nothing is committed yet
