"""What makes a replica step down, stop, or wait for its vote."""

from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from engine.market import Market
from engine.reference import Reference
from engine.replica import (
    RETURNING_PATIENCE_NS,
    State,
)
from feed.datagrams import decode_holder_word
from feed.gap import DEFAULT_REPAIR_POLICY
from feed.messages import Command, Event
from feed.vote import JOIN_REPEAT_NS
from tests.engine.cluster import LISTING, SUSPICION_NS
from tests.engine.shells import (
    ACK,
    ANSWER,
    ASK,
    FORGOT,
    JOIN,
    WELCOME,
    Shell,
    following,
    leading,
    replica,
)
from tests.engine.trader import order
from tests.engine.writing import (
    LOG_IN,
    Author,
    again,
    begun,
    datagram,
    heartbeat,
    packets,
    submitted,
)
from tools.simulation.world import MILLISECOND_NS

# Stepping down


def by_packet(made: Shell) -> None:
    made.hear([heartbeat(9, epoch=2)])


def by_word(made: Shell) -> None:
    made.be_told(ASK, "e2", epoch=2)


def by_zookeeper(made: Shell) -> None:
    made.replica.on_epochs(2, None, 0)
    made.turn()


@pytest.mark.parametrize("later_epoch", [by_packet, by_word, by_zookeeper])
def test_a_primary_steps_down_when_it_learns_of_a_later_epoch(
    later_epoch: Callable[[Shell], None],
) -> None:
    made = leading()
    made.replica.submit(submitted(LOG_IN))
    made.packets.clear()
    later_epoch(made)
    assert (made.replica.state, made.replica.epoch) == (State.BACKUP, 2)
    assert made.replica.primary is None
    for at_ms in range(1, 100):
        made.pass_time(at_ms * MILLISECOND_NS)
    assert made.packets == []  # not a word in an epoch that is over
    assert made.replica.suspected_epoch == 2


@pytest.mark.parametrize("later_epoch", [by_packet, by_word, by_zookeeper])
def test_a_candidate_gives_up_when_it_learns_of_a_later_epoch(
    later_epoch: Callable[[Shell], None],
) -> None:
    made = replica()
    made.grant(1)
    later_epoch(made)
    for name in ("r1", "r2"):
        made.be_told(ANSWER, name, epoch=1)
    assert (made.replica.state, made.replica.epoch, made.packets) == (State.BACKUP, 2, [])


def test_packets_of_its_own_or_an_older_epoch_or_damaged_ones_do_not_move_a_primary() -> None:
    made = leading(epoch=2)
    later = heartbeat(9, epoch=3)
    for data in (heartbeat(9, epoch=2), heartbeat(9, epoch=1), later[:-1], later[:8] + later, b""):
        made.hear([data])
    assert (made.replica.state, made.replica.epoch) == (State.PRIMARY, 2)


def test_what_it_wrote_and_lost_is_dropped_and_its_machine_built_anew() -> None:
    made = leading()
    made.replica.submit(submitted(LOG_IN))
    made.turn()
    mine = made.replica.sequence
    other = Author(made.replica.holder.list.cache.frames(1, 2))
    other.begin(2, "e3")
    other.write(LOG_IN, order(1))
    with capture_logs() as logs:
        made.hear(again(other.frames[:2], 1, epoch=2))
        made.hear(packets(other.frames, 3, epoch=2))
    assert mine == 3
    assert [entry["event"] for entry in logs] == ["stepping down", "a tail has lost"]
    assert made.replica.machine.digest() == other.market.digest()
    assert made.replica.sequence == len(other.frames)
    assert made.heard()[-1] == ("e3", ACK, len(other.frames))


def test_of_a_batch_it_takes_all_from_the_first_packet_of_a_later_epoch_on() -> None:
    made = leading()
    mine = made.replica.sequence
    other = Author()
    other.begin(2, "e3")
    other.write(LISTING, LOG_IN, order(1))
    batch = [
        heartbeat(mine + 1, epoch=1),
        heartbeat(len(other.frames) + 1, epoch=2),
        *again(other.frames, 1, epoch=2),
    ]
    made.hear(batch)
    assert made.replica.state is State.BACKUP
    assert made.replica.holder.list.cache.frames(1, 99) == other.frames
    assert made.replica.machine.digest() == other.market.digest()
    assert made.heard()[-1] == ("e3", ACK, len(other.frames))


# Divergence


class Wrong(Market):
    """Rules that forget the log-in."""

    def apply(self, sequence: int, time_ns: int, command: Command) -> list[Event]:
        return [] if command == LOG_IN else super().apply(sequence, time_ns, command)


def diverged() -> Shell:
    made = replica(build_machine=lambda: Reference(Wrong()))
    with capture_logs() as logs:
        made.hear(packets(begun().frames))
    assert [entry["log_level"] for entry in logs] == ["error"]
    return made


def test_one_that_differs_says_so_and_acknowledges_no_more() -> None:
    made = diverged()
    divergence = made.replica.divergence
    assert divergence is not None
    assert divergence.sequence == 4  # the first order, of a client that it does not know
    assert made.replica.state is State.DIVERGED
    for at_ms in range(100):
        made.hear([heartbeat(99, epoch=1)], at_ms * MILLISECOND_NS)
    assert made.heard() == []


def test_one_that_differs_can_not_be_elected_and_nobody_counts_on_it() -> None:
    made = diverged()
    assert not made.replica.is_electable(10**12)
    assert made.replica.gives_back(1)
    made.be_told(ASK, "e3", epoch=2)
    made.grant(2)
    assert (made.heard(), made.replica.state) == ([], State.DIVERGED)


# Lost memory


def test_one_that_forgot_tells_every_replica_until_the_primary_answers() -> None:
    made = replica(epoch_at_start=1, was_here=True)
    made.pass_time(0)
    made.pass_time(1)
    assert made.heard() == [("e2", JOIN, 0), ("e3", JOIN, 0)]
    made.pass_time(JOIN_REPEAT_NS)
    assert [kind for _, kind, _ in made.heard()] == [JOIN, JOIN]
    frames = begun().frames
    made.hear(packets(frames))
    assert (made.replica.state, made.heard()) == (State.RETURNING, [])
    welcome = datagram(WELCOME, "e2", epoch=1, last=len(frames))
    incarnation = made.replica.holder.identity.incarnation
    word = decode_holder_word(welcome)._replace(incarnation=incarnation)
    made.replica.holder.on_word(word, 0)
    made.turn()
    assert made.replica.state is State.BACKUP
    assert made.heard() == [("e2", ACK, len(frames))]


def test_one_that_forgot_may_lead_when_nobody_else_does_for_a_while() -> None:
    made = replica(epoch_at_start=1, was_here=True)
    patience_ns = SUSPICION_NS + RETURNING_PATIENCE_NS
    assert not made.replica.is_electable(patience_ns - 1)
    assert made.replica.is_electable(patience_ns)
    made.be_told(ASK, "e3", epoch=2, now_ns=patience_ns)
    assert made.heard() == [("e3", FORGOT, 0)]
    assert not made.replica.is_electable(patience_ns)


def test_a_primary_welcomes_its_own_holders_alone() -> None:
    made = leading()
    for name in ("r1", "mallory", "e1"):
        made.be_told(JOIN, name, epoch=0)
    assert made.heard() == [("r1", WELCOME, made.replica.sequence)]


def test_a_backup_welcomes_nobody() -> None:
    made = following(begun().frames)
    made.heard()
    made.be_told(JOIN, "r1", epoch=1)
    assert made.heard() == []


# Frames that nobody has


def test_one_that_lacks_frames_says_so_and_can_still_be_elected() -> None:
    frames = begun().frames
    made = following(frames[:5])
    made.heard()
    made.hear(packets(frames, 7))
    now_ns = 0
    while made.replica.state is not State.FAILED:
        assert made.replica.deadline_ns is not None
        now_ns = max(now_ns + 1, made.replica.deadline_ns)
        made.pass_time(now_ns)
    assert now_ns > DEFAULT_REPAIR_POLICY.give_up_silent_after_ns
    failure = made.replica.holder.failure
    assert failure is not None
    assert (failure.first_sequence, failure.last_sequence) == (6, 6)
    # They may be lost to all: then only a new epoch helps, and somebody has to open it.
    assert made.replica.is_electable(now_ns)
    made.grant(2, now_ns)
    for name in ("r1", "r2"):
        made.be_told(ANSWER, name, epoch=2, now_ns=now_ns)
    assert made.replica.holder.failure is None
    state: State = made.replica.state
    assert state == State.PRIMARY
    assert made.replica.sequence == 6
