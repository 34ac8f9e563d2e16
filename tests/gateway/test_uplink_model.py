"""The uplink against a model of a shard whose primaries are replaced: all is done, and once."""

from hypothesis import given
from hypothesis import strategies as st

from feed.datagrams import Decision, encode_decision
from feed.messages import EnterOrder
from gateway.settings import UplinkLimits
from gateway.uplink import Uplink
from tests.gateway.groups import ALICE, order
from tests.submissions import take_submissions

LOGIN = 77


class ModelPrimary:
    """Writes a list of orders, of which it drops repeats, behind the number of its epoch."""

    def __init__(
        self, epoch: int, adopted: list[EnterOrder | int], committed_sequence: int
    ) -> None:
        self.epoch = epoch
        self.list = [*adopted, epoch]
        self.committed_sequence = committed_sequence
        self._first_sequence = len(self.list)
        self._received = bytearray()
        self._submissions = 0

    def receive(self, data: bytes) -> bytes:
        self._received += data
        for _, command in take_submissions(self._received):
            assert isinstance(command, EnterOrder)
            self._submissions += 1
            if command.user_ref_num > max(numbers(self.list), default=0):
                self.list.append(command)
        return encode_decision(Decision(self.epoch, self._submissions, len(self.list)))

    def disconnect(self) -> None:
        self._received.clear()
        self._submissions = 0

    def commit(self, amount: int) -> None:
        """So many more, but nothing without the epoch's first."""
        committed = min(self.committed_sequence + amount, len(self.list))
        if committed >= self._first_sequence:
            self.committed_sequence = committed

    @property
    def committed(self) -> list[EnterOrder | int]:
        return self.list[: self.committed_sequence]


def numbers(entries: list[EnterOrder | int]) -> list[int]:
    """The user_ref_nums of the orders in a list."""
    return [entry.user_ref_num for entry in entries if isinstance(entry, EnterOrder)]


class ModelShard:
    """A gateway's uplink, the primary that the feed comes from, and the one it is connected to.

    They differ when a primary was replaced and has not noticed: it goes on deciding, for nothing.
    """

    def __init__(self) -> None:
        self.uplink = Uplink(UplinkLimits(pending=1000, pending_per_client=1000))
        self.leader = self.connected = ModelPrimary(1, [], 0)
        self.submitted = 0
        self._delivered = self._list_epoch = 0
        self._to_primary = bytearray()
        self._to_gateway = bytearray()

    def step(self, act: str, amount: int) -> None:
        up, leader = self.uplink, self.leader
        match act:
            case "submit":
                self.submitted += 1
                up.submit(LOGIN, order(ALICE, self.submitted), 0)
            case "connect" if not up.is_connected:
                self.connected = leader
                up.on_connected(leader.epoch, 0)
            case "deliver" if up.is_connected:  # some of the bytes on the way to the primary arrive
                self._to_primary += up.take_output()
                self._to_gateway += self.connected.receive(bytes(self._to_primary[:amount]))
                del self._to_primary[:amount]
            case "answer" if up.is_connected:
                up.on_data(bytes(self._to_gateway[:amount]), 0)
                del self._to_gateway[:amount]
            case "commit":
                leader.commit(amount)
            case "feed":
                self._feed(amount)
            case "lose" if up.is_connected:
                self._to_primary.clear()
                self._to_gateway.clear()
                up.on_lost()
                self.connected.disconnect()
            case "take over":  # with some of what is not committed
                adopted = leader.list[: leader.committed_sequence + amount]
                committed_sequence = leader.committed_sequence
                self.leader = ModelPrimary(leader.epoch + 1, adopted, committed_sequence)
        up.check()

    def _feed(self, amount: int) -> None:
        """So much more of the committed list comes by; an epoch's packets, before all of it."""
        self.uplink.on_feed_epoch(self.leader.epoch)
        for entry in self.leader.committed[self._delivered : self._delivered + amount]:
            if isinstance(entry, int):
                self.uplink.on_delivered(self._delivered, self._list_epoch)
                self._list_epoch = entry
            self._delivered += 1
        self.uplink.on_delivered(self._delivered, self._list_epoch)
        if self.uplink.is_outdated:
            self.step("lose", 0)


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
    for act, amount in steps:
        shard.step(act, amount)
        entered = set(range(1, shard.submitted + 1))
        missing = entered - set(numbers(shard.leader.committed))
        assert missing <= pending_numbers(shard.uplink)
    for act in ("feed", "lose", "connect", "deliver", "answer", "commit", "feed"):
        shard.step(act, 1_000_000)
    assert numbers(shard.leader.list) == list(range(1, shard.submitted + 1))
    assert shard.uplink.pending_count == 0


def pending_numbers(up: Uplink) -> set[int]:
    """The user_ref_nums that would be sent over a new connection."""
    buffer = bytearray(b"".join(pending.rest for pending in up._pending))
    return {
        submission.command.user_ref_num
        for submission in take_submissions(buffer)
        if isinstance(submission.command, EnterOrder)
    }
