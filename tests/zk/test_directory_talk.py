"""The rules of the talk about the directory, against ZooKeeper's model: created once, changed by
one at a time, and told to whoever watches it, whatever happens to connections in between."""

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.zk.model import ModelZooKeeper
from tools.simulation.zookeeper_tree import Connection, State
from zk.directory import Directory, decode_directory, encode_directory, place
from zk.directory_talk import DirectoryTalk, Outcome
from zk.nodes import ExchangeNodes

NODES = ExchangeNodes.of("/lockstep", "DEMO")
FIRST = place([1, 2], {"AAPL": 1, "MSFT": 2})
OTHER = place([1, 2, 3], {"AAPL": 3})
MOST_STEPS = 1_000  # of settling: a few operations for each party and a few pauses


class Party:
    """A process that is driven by hand."""

    def __init__(self, zookeeper: ModelZooKeeper, first: Directory | None = FIRST) -> None:
        self.zookeeper = zookeeper
        self.talk = DirectoryTalk(NODES, first)
        self.connection: Connection | None = None
        self.wanted: Directory | None = None  # what it tries to replace the directory by
        self.is_in_doubt = False
        self.outcomes: list[tuple[Directory, Outcome, bool]] = []  # and whether it was in doubt
        self.told: list[Directory] = []

    @property
    def directory(self) -> Directory | None:
        return self.talk.known.directory

    @property
    def now_ns(self) -> int:
        return self.zookeeper.now_ns

    @property
    def is_busy(self) -> bool:
        connection = self.connection
        return connection is not None and bool(
            connection.requests or connection.replies or connection.lag
        )

    def connect(self, state: State | None = None) -> None:
        """Connect to a server that is in this state; without one, to one that is up to date."""
        self.connection = Connection(self.zookeeper, self.zookeeper.new_session(), state)
        self.talk.on_connected()
        self.go_on()

    def disconnect(self, done: int = 0) -> None:
        """Lose the connection when `done` of the requests under way were carried out."""
        if self.connection is not None:
            for _ in range(min(done, len(self.connection.requests))):
                self.connection.serve()
        self.is_in_doubt = self.wanted is not None
        self.connection = None
        self.talk.on_disconnected()
        self.go_on()

    def replace(self, directory: Directory) -> None:
        assert self.talk.replaceable(self.now_ns) is not None
        self.wanted, self.is_in_doubt = directory, False
        self.talk.replace(directory, self.now_ns)
        self.go_on()

    def serve(self) -> None:
        assert self.connection is not None
        self.connection.serve()

    def deliver(self) -> None:
        assert self.connection is not None
        reply = self.connection.replies.popleft()
        if isinstance(reply, str):
            self.talk.on_watch(reply)
        else:
            self.talk.on_answer(*reply, self.now_ns)
        self.go_on()

    def step(self) -> None:
        """The next thing that its connection lets happen."""
        assert self.connection is not None
        if self.connection.lag:
            self.connection.catch_up()
        elif self.connection.requests:
            self.serve()
        else:
            self.deliver()

    def go_on(self) -> None:
        for operation in self.talk.take_operations(self.now_ns):
            assert self.connection is not None
            self.connection.requests.append(operation)
        self.talk.check()
        outcome = self.talk.take_outcome()
        if outcome is not None:
            assert self.wanted is not None
            self.outcomes.append((self.wanted, outcome, self.is_in_doubt))
            self.wanted = None
        known = self.talk.take_change()
        directory = None if known is None else known.directory
        if directory is not None and directory not in self.told[-1:]:
            self.told.append(directory)


def settle(*parties: Party) -> None:
    """Let everything happen that will, pauses included."""
    for _ in range(MOST_STEPS):
        busy = [party for party in parties if party.is_busy]
        for party in busy:
            party.step()
        if not busy:
            zookeeper = parties[0].zookeeper
            deadlines = [each.talk.deadline_ns(zookeeper.now_ns) for each in parties]
            due_ns = min((each for each in deadlines if each is not None), default=None)
            if due_ns is None:
                return
            zookeeper.now_ns = due_ns
            for party in parties:
                party.go_on()
    raise AssertionError("it does not come to an end")


def started(*firsts: Directory | None) -> list[Party]:
    """Parties that all know the directory, if any of them has one."""
    zookeeper = ModelZooKeeper()
    parties = [Party(zookeeper, first) for first in firsts]
    for party in parties:
        party.connect()
    settle(*parties)
    return parties


def node(zookeeper: ModelZooKeeper) -> tuple[Directory, int]:
    return decode_directory(zookeeper.tree[NODES.directory].data)


def test_two_create_it_at_the_same_time_and_one_directory_is_there() -> None:
    one, two = started(FIRST, OTHER)
    assert one.directory == two.directory == node(one.zookeeper)[0] == FIRST
    assert one.told == two.told == [FIRST]


def test_who_has_none_waits_until_another_creates_it() -> None:
    (reader,) = started(None)
    assert reader.directory is None
    assert NODES.directory not in reader.zookeeper.tree
    writer = Party(reader.zookeeper)
    writer.connect()
    settle(reader, writer)
    assert reader.told == [FIRST]


def test_change_is_told_to_all_who_watch() -> None:
    one, two = started(FIRST, FIRST)
    begun = FIRST.begin_move("AAPL", 2)
    one.replace(begun)
    settle(one, two)
    assert one.outcomes == [(begun, Outcome.DONE, False)]
    two.replace(begun.end_move("AAPL"))
    settle(one, two)
    assert one.told == two.told == [FIRST, begun, begun.end_move("AAPL")]
    assert node(one.zookeeper) == (begun.end_move("AAPL"), 2)


def test_of_two_changes_at_once_one_is_done_and_the_other_knows_that_it_is_not() -> None:
    one, two = started(FIRST, FIRST)
    first, second = FIRST.begin_move("AAPL", 2), FIRST.begin_move("MSFT", 1)
    one.replace(first)
    two.replace(second)
    settle(one, two)
    assert one.outcomes == [(first, Outcome.DONE, False)]
    assert two.outcomes == [(second, Outcome.NOT_DONE, False)]
    assert one.directory == two.directory == node(one.zookeeper)[0] == first


def test_two_of_one_mind_are_not_both_told_that_they_did_it() -> None:
    one, two = started(FIRST, FIRST)
    begun = FIRST.begin_move("AAPL", 2)
    one.replace(begun)
    two.replace(begun)
    settle(one, two)
    assert [one.outcomes[0][1], two.outcomes[0][1]] == [Outcome.DONE, Outcome.NOT_DONE]


@pytest.mark.parametrize(("done", "outcome"), [(0, Outcome.NOT_DONE), (1, Outcome.DONE)])
def test_outcome_is_found_out_when_the_answer_is_lost_with_the_connection(
    done: int, outcome: Outcome
) -> None:
    (one,) = started(FIRST)
    begun = FIRST.begin_move("AAPL", 2)
    one.replace(begun)
    one.disconnect(done=done)
    assert not one.outcomes
    one.connect()
    settle(one)
    assert one.outcomes == [(begun, outcome, True)]


def test_it_may_not_be_replaced_before_it_was_read_on_this_connection() -> None:
    one, two = started(FIRST, FIRST)
    one.disconnect()
    assert one.talk.replaceable(one.now_ns) is None
    begun = FIRST.begin_move("AAPL", 2)
    two.replace(begun)
    settle(two)
    one.connect()
    assert one.talk.replaceable(one.now_ns) is None
    assert one.directory == FIRST  # the last known, meanwhile
    settle(one, two)
    assert one.talk.replaceable(one.now_ns) == one.directory == begun


def test_node_that_somebody_has_spoiled_is_told_of_and_read_again_until_it_is_whole() -> None:
    (one,) = started(FIRST)
    zookeeper = one.zookeeper
    spoiled = zookeeper.tree[NODES.directory]._replace(data=b"{}", version=1)
    zookeeper.append({**zookeeper.tree, NODES.directory: spoiled})
    for _ in range(10):
        if one.is_busy:
            one.step()
    assert "no directory" in (one.talk.known.trouble or "")
    assert one.directory == FIRST
    assert one.talk.replaceable(one.now_ns) is None
    begun = FIRST.begin_move("AAPL", 2)
    whole = spoiled._replace(data=encode_directory(begun, 1), version=2)
    zookeeper.append({**zookeeper.tree, NODES.directory: whole})
    settle(one)
    assert one.told == [FIRST, begun]
    assert one.talk.known.trouble is None


def test_zookeeper_that_has_forgotten_is_told_the_newest_by_whoever_knows_it() -> None:
    one, two = started(FIRST, FIRST)
    two.disconnect()
    begun = FIRST.begin_move("AAPL", 2)
    one.replace(begun)
    settle(one)
    one.disconnect()
    one.zookeeper.forget()
    two.connect()
    settle(two)
    assert node(one.zookeeper) == (FIRST, 0)  # it knows no better
    one.connect()
    settle(one, two)
    assert node(one.zookeeper) == (begun, 1)
    assert one.directory == two.directory == begun


def test_directory_that_is_gone_is_put_back_as_it_was_last_known() -> None:
    one, reader = started(FIRST, None)
    begun = FIRST.begin_move("AAPL", 2)
    one.replace(begun)
    settle(one, reader)
    one.disconnect()
    tree = {path: each for path, each in one.zookeeper.tree.items() if path != NODES.directory}
    one.zookeeper.append(tree)
    settle(reader)
    assert node(one.zookeeper) == (begun, 1)


def test_what_a_server_that_lags_behind_still_shows_is_not_taken_for_the_directory() -> None:
    one, two = started(FIRST, FIRST)
    two.disconnect()
    old = one.zookeeper.newest
    begun = FIRST.begin_move("AAPL", 2)
    one.replace(begun)
    settle(one)
    newcomer = Party(one.zookeeper, None)
    newcomer.connect(old)
    while newcomer.connection is not None and newcomer.connection.requests:
        newcomer.serve()
        while newcomer.connection.replies:
            newcomer.deliver()
    assert newcomer.told == [begun]


who = st.integers(0, 2)


class Chaos(RuleBasedStateMachine):
    """Three parties and a ZooKeeper, with every order of events and every loss of a connection."""

    def __init__(self) -> None:
        super().__init__()
        self.zookeeper = ModelZooKeeper()
        self.parties = [Party(self.zookeeper, each) for each in (FIRST, OTHER, None)]
        self.symbols = 0
        self.was_forgotten = False

    @initialize(is_running=st.booleans())
    def start(self, is_running: bool) -> None:
        if is_running:
            self.come_to_rest()

    @rule(who=who)
    def connect(self, who: int) -> None:
        if self.parties[who].connection is None:
            self.parties[who].connect()

    @rule(who=who, done=st.integers(0, 4))
    def lose_the_connection(self, who: int, done: int) -> None:
        self.parties[who].disconnect(done)

    @rule(who=who, count=st.integers(1, 4))
    def serve(self, who: int, count: int) -> None:
        self.repeat(count, self.parties[who], "requests", Party.serve)

    @rule(who=who, count=st.integers(1, 4))
    def deliver(self, who: int, count: int) -> None:
        self.repeat(count, self.parties[who], "replies", Party.deliver)

    @rule(who=who)
    def catch_up(self, who: int) -> None:
        connection = self.parties[who].connection
        if connection is not None:
            connection.catch_up()

    @rule(who=who)
    def replace(self, who: int) -> None:
        party = self.parties[who]
        directory = party.talk.replaceable(party.now_ns)
        if directory is not None:
            self.symbols += 1
            party.replace(directory.add_symbol(f"S{self.symbols}", 1))

    @rule()
    def forget(self) -> None:
        for party in self.parties:
            party.disconnect()
        self.zookeeper.forget()
        self.was_forgotten = True

    @rule()
    def come_to_rest(self) -> None:
        for party in self.parties:
            if party.connection is None:
                party.connect()
        newest = max(party.talk.known.change for party in self.parties)
        settle(*self.parties)
        directory, change = node(self.zookeeper)
        assert change >= newest
        for party in self.parties:
            assert party.directory == directory
            assert party.wanted is None, "an outcome was never told"
            assert party.talk.replaceable(party.now_ns) == directory
            if self.was_forgotten:
                continue
            for wanted, outcome, is_in_doubt in party.outcomes:
                symbol = list(wanted.symbols)[-1]
                if outcome is Outcome.DONE or not is_in_doubt:
                    assert (symbol in directory.symbols) is (outcome is Outcome.DONE)

    @invariant()
    def every_change_counts_one(self) -> None:
        if not self.was_forgotten and NODES.directory in self.zookeeper.tree:
            found = self.zookeeper.tree[NODES.directory]
            directory, change = decode_directory(found.data)
            assert change == found.version
            directory.check()

    def repeat(self, count: int, party: Party, what: str, act: Callable[[Party], None]) -> None:
        while count and party.connection is not None and getattr(party.connection, what):
            act(party)
            count -= 1

    def teardown(self) -> None:
        self.come_to_rest()


TestChaos = Chaos.TestCase
TestChaos.settings = settings(max_examples=60, stateful_step_count=40)
