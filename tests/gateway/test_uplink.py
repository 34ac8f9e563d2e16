import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.codec import WireError
from feed.datagrams import Decision, Submission, encode_decision, take_submissions
from feed.messages import CancelOrder, EnterOrder
from gateway.limits import SECOND_NS
from gateway.settings import UplinkLimits
from gateway.uplink import Uplink
from tests.gateway.groups import ALICE, BOB, log_in, order

LOGIN = 77


def uplink(pending: int = 100, per_client: int = 50) -> Uplink:
    return Uplink(UplinkLimits(pending=pending, pending_per_client=per_client))


def sent(uplink: Uplink) -> list[Submission]:
    return take_submissions(bytearray(uplink.take_output()))


def decide(uplink: Uplink, submission: int, sequence: int, now_ns: int = 0) -> None:
    uplink.on_data(encode_decision(Decision(submission, sequence)), now_ns)
    uplink.check()


def submit_orders(uplink: Uplink, client: int, *numbers: int) -> list[Submission]:
    orders = [order(client, number) for number in numbers]
    for command in orders:
        uplink.submit(LOGIN, command, 0)
    uplink.check()
    return [Submission(LOGIN, command) for command in orders]


def test_what_is_submitted_goes_out_once_and_stays_until_it_is_decided_and_delivered() -> None:
    up = uplink()
    up.on_connected(0)
    orders = submit_orders(up, ALICE, 1, 2, 3)
    assert sent(up) == orders
    assert sent(up) == []
    decide(up, 2, 10)
    up.on_delivered(9)
    assert up.pending_count == 3
    up.on_delivered(10)
    assert up.pending_count == 1
    assert not up.is_idle
    decide(up, 3, 10)
    assert up.is_idle
    up.on_delivered(10)
    assert up.pending_count == 0
    up.check()


def test_without_a_connection_submissions_wait_for_one() -> None:
    up = uplink()
    orders = submit_orders(up, ALICE, 1, 2)
    assert sent(up) == []
    up.on_connected(0)
    assert sent(up) == orders
    assert (up.submissions, up.resent) == (2, 0)


def test_after_a_lost_connection_all_that_may_be_lost_is_sent_again_in_its_order() -> None:
    up = uplink()
    up.on_connected(0)
    orders = submit_orders(up, ALICE, 1, 2, 3, 4)
    sent(up)
    decide(up, 1, 10)
    up.on_delivered(10)  # the first is committed, the second decided, the others neither
    decide(up, 2, 11)
    assert up.on_lost() == []
    up.check()
    up.on_delivered(50)  # whatever this is, it need not hold what the lost primary decided
    orders += submit_orders(up, BOB, 1)
    up.on_connected(0)
    up.check()
    assert sent(up) == orders[1:]
    assert up.resent == 4
    decide(up, 4, 60)
    up.on_delivered(60)
    assert up.pending_count == 0


def test_a_log_in_is_not_sent_again() -> None:
    up = uplink()
    up.on_connected(0)
    up.submit(5, log_in(ALICE, 5), 0)
    orders = submit_orders(up, BOB, 1)
    sent(up)
    assert up.on_lost() == [5]
    up.on_connected(0)
    assert sent(up) == orders
    up.check()


def test_a_log_in_can_be_taken_back_only_before_it_is_sent() -> None:
    up = uplink()
    up.submit(5, log_in(ALICE, 5), 0)
    up.submit(6, log_in(BOB, 6), 0)
    assert up.withdraw(5)
    up.check()
    up.on_connected(0)
    assert sent(up) == [Submission(6, log_in(BOB, 6))]
    assert not up.withdraw(6)
    assert up.pending_count == 1


def test_log_ins_that_are_decided_are_told_of_once() -> None:
    up = uplink()
    up.on_connected(0)
    up.submit(5, log_in(ALICE, 5), 0)
    submit_orders(up, BOB, 1)
    up.submit(6, log_in(BOB, 6), 0)
    decide(up, 2, 10)
    decide(up, 3, 11)
    assert [up.on_delivered(sequence) for sequence in (9, 10, 11, 12)] == [[], [5], [6], []]


def test_decisions_may_come_in_pieces() -> None:
    up = uplink()
    up.on_connected(0)
    submit_orders(up, ALICE, 1, 2)
    data = encode_decision(Decision(1, 10)) + encode_decision(Decision(2, 11))
    for i in range(len(data)):
        up.on_data(data[i : i + 1], 0)
        up.check()
    up.on_delivered(11)
    assert up.pending_count == 0
    assert up.decisions == 2


@pytest.mark.parametrize(
    ("decisions", "why"),
    [
        ([(3, 10)], "3 submissions decided, of 2 with 0"),
        ([(2, 10), (1, 11)], "1 submissions decided, of 2 with 2"),
        ([(1, 10), (2, 9)], "a decision at 9 after one at 10"),
    ],
)
def test_impossible_decisions_are_an_error(decisions: list[tuple[int, int]], why: str) -> None:
    up = uplink()
    up.on_connected(0)
    submit_orders(up, ALICE, 1, 2)
    data = b"".join(encode_decision(Decision(*decision)) for decision in decisions)
    with pytest.raises(WireError, match=why):
        up.on_data(data, 0)


def test_a_new_epoch_voids_what_the_old_primary_decided() -> None:
    up = uplink()
    up.on_epoch(1)
    up.on_connected(0)
    orders = submit_orders(up, ALICE, 1, 2)
    sent(up)
    decide(up, 1, 10)
    up.on_epoch(1)
    assert not up.is_outdated
    up.on_epoch(2)
    assert up.is_outdated
    decide(up, 2, 11)  # the old primary's last word
    up.on_delivered(20)
    assert up.pending_count == 2
    up.on_lost()
    up.on_connected(0)
    assert not up.is_outdated
    assert sent(up) == orders


def test_the_first_epoch_that_is_heard_of_is_the_connection_s_own() -> None:
    up = uplink()
    up.on_connected(0)
    up.on_epoch(4)
    assert not up.is_outdated


def test_one_client_that_fills_its_share_leaves_room_for_the_others() -> None:
    up = uplink(pending=10, per_client=4)
    assert (up.room(ALICE), up.room(BOB)) == (4, 4)
    submit_orders(up, ALICE, 1, 2, 3, 4)
    assert (up.room(ALICE), up.room(BOB)) == (0, 4)
    assert (up.has_room_again(ALICE), up.has_room_again(BOB)) == (False, True)


def test_who_had_to_wait_is_read_again_when_half_is_free() -> None:
    up = uplink(pending=4, per_client=4)
    up.on_connected(0)
    submit_orders(up, ALICE, 1, 2, 3, 4)
    assert up.room(BOB) == 0
    decide(up, 1, 10)
    up.on_delivered(10)
    assert (up.room(ALICE), up.has_room_again(ALICE)) == (1, False)
    decide(up, 2, 11)
    up.on_delivered(11)
    assert up.has_room_again(ALICE)
    assert up.has_room_again(BOB)


def test_a_primary_that_decides_nothing_is_overdue() -> None:
    limit_ns = 10 * SECOND_NS
    up = Uplink(UplinkLimits(decision_timeout_ns=limit_ns))
    up.on_connected(0)
    assert not up.is_overdue(100 * limit_ns)  # it has been asked nothing
    up.submit(LOGIN, order(ALICE, 1), 5)
    up.submit(LOGIN, order(ALICE, 2), 7)
    assert [up.is_overdue(limit_ns + 4), up.is_overdue(limit_ns + 5)] == [False, True]
    decide(up, 1, 10, limit_ns)
    assert [up.is_overdue(2 * limit_ns - 1), up.is_overdue(2 * limit_ns)] == [False, True]
    decide(up, 2, 11, limit_ns)
    assert not up.is_overdue(100 * limit_ns)


class ModelPrimary:
    """Writes a list of orders, of which it drops repeats."""

    def __init__(self, epoch: int, committed: list[EnterOrder]) -> None:
        self.epoch = epoch
        self.list = committed
        self.committed_sequence = len(committed)
        self._received = bytearray()
        self._submissions = 0

    def receive(self, data: bytes) -> bytes:
        self._received += data
        for _, command in take_submissions(self._received):
            assert isinstance(command, EnterOrder)
            self._submissions += 1
            if command.user_ref_num > max((old.user_ref_num for old in self.list), default=0):
                self.list.append(command)
        return encode_decision(Decision(self._submissions, len(self.list)))

    def disconnect(self) -> None:
        self._received.clear()
        self._submissions = 0

    @property
    def committed(self) -> list[EnterOrder]:
        return self.list[: self.committed_sequence]


class ModelShard:
    """A gateway's uplink, the primary that the feed comes from, and the one it is connected to.

    They differ when a primary was replaced and has not noticed: it goes on deciding, for nothing.
    """

    def __init__(self) -> None:
        self.uplink = uplink(pending=1000, per_client=1000)
        self.leader = self.connected = ModelPrimary(1, [])
        self.submitted = 0
        self._to_primary = bytearray()
        self._to_gateway = bytearray()

    def step(self, act: str, amount: int) -> None:
        up = self.uplink
        match act:
            case "submit":
                self.submitted += 1
                up.submit(LOGIN, order(ALICE, self.submitted), 0)
            case "connect" if not up.is_connected:
                self.connected = self.leader
                up.on_connected(0)
            case "deliver":  # some of the bytes on the way to the primary arrive
                self._to_primary += up.take_output()
                self._to_gateway += self.connected.receive(bytes(self._to_primary[:amount]))
                del self._to_primary[:amount]
            case "answer" if up.is_connected:
                up.on_data(bytes(self._to_gateway[:amount]), 0)
                del self._to_gateway[:amount]
            case "commit":
                leader = self.leader
                committed = leader.committed_sequence + amount
                leader.committed_sequence = min(committed, len(leader.list))
            case "feed":
                up.on_epoch(self.leader.epoch)
                if up.is_outdated:
                    self.step("lose", 0)
                up.on_delivered(self.leader.committed_sequence)
            case "lose" if up.is_connected:
                self._to_primary.clear()
                self._to_gateway.clear()
                up.on_lost()
                self.connected.disconnect()
            case "take over":
                self.leader = ModelPrimary(self.leader.epoch + 1, list(self.leader.committed))
        up.check()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ("submit", "connect", "deliver", "answer", "commit", "feed", "lose", "take over")
        ),
        st.integers(0, 60),
    ),
    max_size=120,
)


@given(STEPS)
def test_each_command_takes_effect_once_whatever_connections_and_epochs_are_lost(
    steps: list[tuple[str, int]],
) -> None:
    shard = ModelShard()
    for act, amount in (("feed", 0), *steps):
        shard.step(act, amount)
        entered = set(range(1, shard.submitted + 1))
        committed = {command.user_ref_num for command in shard.leader.committed}
        assert entered - committed <= pending_numbers(shard.uplink)
    for act in ("feed", "lose", "connect", "deliver", "answer", "commit", "feed"):
        shard.step(act, 1_000_000)
    numbers = [command.user_ref_num for command in shard.leader.list]
    assert numbers == list(range(1, shard.submitted + 1))
    assert shard.uplink.pending_count == 0


def pending_numbers(up: Uplink) -> set[int]:
    """The user_ref_nums that would be sent over a new connection."""
    buffer = bytearray(b"".join(pending.data for pending in up._pending))
    return {
        submission.command.user_ref_num
        for submission in take_submissions(buffer)
        if isinstance(submission.command, EnterOrder)
    }


@given(st.binary(max_size=200))
def test_foreign_bytes_from_the_engine_are_an_error_or_decide_what_was_sent(data: bytes) -> None:
    up = uplink()
    up.on_connected(0)
    submit_orders(up, ALICE, 1, 2)
    up.submit(LOGIN, CancelOrder(ALICE, 1, 0), 0)
    try:
        up.on_data(data, 0)
    except WireError:
        up.on_lost()
    up.check()
    assert up.pending_count == 3


def test_a_decision_is_two_numbers_of_eight_bytes() -> None:
    assert encode_decision(Decision(1, 2)) == struct.pack(">QQ", 1, 2)
