"""Whom a gateway connects to, and when, in virtual time."""

from random import Random

import pytest
from structlog.testing import capture_logs

from feed.datagrams import Decision, encode_decision
from feed.messages import ALL_SYMBOLS, CancelReason, MassCancel
from feed.run import empty_run
from gateway.dialing import Action, Dial, Dialer, HangUp
from gateway.gateway import Gateway
from gateway.settings import GatewaySettings
from zk.directory import place
from zk.election import PrimaryRecord

SHARD, OTHER_SHARD = 3, 5
MS = 1_000_000
OLD = PrimaryRecord("e1", 1, "e1:1")
NEW = PrimaryRecord("e2", 2, "e2:1")


class Caller:
    """A gateway's dialer, and the shell around it, which a test plays."""

    def __init__(self, seed: int = 1, gateway: Gateway | None = None, shard: int = SHARD) -> None:
        settings = GatewaySettings.model_validate(
            {
                "listen": "127.0.0.1:0",
                "clients": "clients.toml",
                "uplink": {
                    "shortest_wait_ns": 10 * MS,
                    "longest_wait_ns": 70 * MS,
                    "decision_timeout_ns": 500 * MS,
                },
            }
        )
        directory = place((SHARD, OTHER_SHARD), {})
        self.gateway = gateway or Gateway("DEMO", settings, Random(seed), lambda: 0, directory)
        self.uplink = self.gateway.shards[shard].uplink
        self.dialer = Dialer(self.gateway, shard, settings.uplink, Random(seed))
        self.now_ns = 0

    def act(self) -> Action | None:
        return self.dialer.take_action(self.now_ns)

    def connect(self, record: PrimaryRecord = OLD) -> None:
        """A connection to this primary is made."""
        self.dialer.on_record(record)
        assert self.act() == Dial(record)
        self.dialer.on_connected(self.now_ns)

    def lose(self, why: str = "it was closed") -> None:
        self.dialer.on_lost(why, self.now_ns)

    def fail(self, why: str = "refused") -> None:
        self.dialer.on_failed(why, self.now_ns)

    def decide(self, epoch: int = 1, submission: int = 0) -> None:
        decision = encode_decision(Decision(epoch, submission, 1))
        self.dialer.on_data(decision, self.now_ns)

    def submit(self) -> None:
        command = MassCancel(1, 0, ALL_SYMBOLS, CancelReason.LINK_LOST)
        self.uplink.submit(7, command, self.now_ns)

    def wait(self) -> int:
        """Until it is time to dial again; how long that took, in ns."""
        deadline_ns = self.dialer.deadline_ns
        assert deadline_ns is not None
        waited_ns, self.now_ns = deadline_ns - self.now_ns, deadline_ns - 1
        assert self.act() is None
        self.now_ns = deadline_ns
        return waited_ns


def test_nobody_is_called_before_there_ever_was_a_primary() -> None:
    caller = Caller()
    caller.dialer.on_record(None)
    assert caller.act() is None
    assert caller.dialer.deadline_ns is None
    caller.submit()
    assert caller.dialer.take_output() == b""


def test_a_primary_is_called_at_once_and_sent_what_waits() -> None:
    caller = Caller()
    caller.submit()
    caller.dialer.on_record(OLD)
    assert caller.dialer.deadline_ns == 0
    assert caller.act() == Dial(OLD)
    assert caller.act() is None
    assert caller.dialer.deadline_ns is None
    assert caller.dialer.take_output() == b""
    caller.dialer.on_connected(5)
    assert caller.uplink.is_connected
    assert caller.dialer.take_output()
    assert caller.act() is None


def test_who_is_not_reached_is_called_again_after_waits_that_double_to_a_bound() -> None:
    waits_ns: list[list[int]] = []
    for seed in range(30):
        caller = Caller(seed)
        caller.dialer.on_record(OLD)
        waits_ns.append([])
        for _ in range(6):
            assert caller.act() == Dial(OLD)
            caller.now_ns += 3 * MS
            caller.fail()
            waits_ns[-1].append(caller.wait())
    for waits, longest_ms in zip(
        zip(*waits_ns, strict=True), (10, 20, 40, 70, 70, 70), strict=True
    ):
        assert min(waits) in range(longest_ms * MS // 2, longest_ms * MS * 6 // 10)
        assert max(waits) in range(longest_ms * MS * 9 // 10, longest_ms * MS + 1)


def test_only_a_primary_that_has_decided_something_is_called_again_soon() -> None:
    caller = Caller()
    caller.dialer.on_record(OLD)
    for _ in range(5):  # a backup, which ends each connection at once
        assert caller.act() == Dial(OLD)
        caller.dialer.on_connected(caller.now_ns)
        caller.lose()
        last_ns = caller.wait()
    assert last_ns >= 35 * MS
    assert caller.act() == Dial(OLD)
    caller.dialer.on_connected(caller.now_ns)
    caller.decide()
    caller.lose()
    assert caller.wait() <= 10 * MS
    for longest_ms in (20, 40, 70):
        assert caller.act() == Dial(OLD)
        caller.fail()
        assert longest_ms * MS // 2 <= caller.wait() <= longest_ms * MS


def test_a_newer_record_ends_a_connection_and_its_primary_is_called_without_a_wait() -> None:
    caller = Caller()
    caller.connect()
    caller.dialer.on_record(NEW)
    caller.submit()
    assert caller.dialer.take_output() == b"", "it is of no use to the old one"
    assert caller.act() == HangUp()
    assert caller.act() is None
    caller.lose()
    assert not caller.uplink.is_connected
    assert caller.act() == Dial(NEW)


def test_the_primaries_of_two_shards_are_called_and_lost_apart_from_one_another() -> None:
    caller = Caller()
    other = Caller(gateway=caller.gateway, shard=OTHER_SHARD)
    caller.connect(OLD)
    other.connect(NEW)
    other.submit()
    assert caller.dialer.take_output() == b""
    assert other.dialer.take_output() != b""
    other.decide(epoch=2, submission=1)
    caller.dialer.on_record(NEW)
    assert (caller.act(), other.act()) == (HangUp(), None)
    caller.lose()
    assert (caller.uplink.is_connected, other.uplink.is_connected) == (False, True)
    caller.gateway.on_feed(SHARD, empty_run(1), 9, 0, 0)
    assert other.act() is None
    caller.gateway.on_feed(OTHER_SHARD, empty_run(1), 9, 0, 0)
    assert other.act() == HangUp()


def test_a_newer_record_ends_an_attempt() -> None:
    caller = Caller()
    caller.dialer.on_record(OLD)
    assert caller.act() == Dial(OLD)
    caller.dialer.on_record(NEW)
    assert caller.act() == HangUp()
    caller.fail()
    assert caller.act() == Dial(NEW)


def test_an_attempt_that_succeeds_when_it_is_not_wanted_any_more_is_ended() -> None:
    caller = Caller()
    caller.dialer.on_record(OLD)
    assert caller.act() == Dial(OLD)
    caller.dialer.on_record(NEW)
    caller.dialer.on_connected(0)
    assert caller.act() == HangUp()
    caller.lose()
    assert caller.act() == Dial(NEW)


def test_a_newer_record_ends_a_wait_and_the_waits_begin_anew() -> None:
    caller = Caller()
    caller.dialer.on_record(OLD)
    for _ in range(5):
        assert caller.act() == Dial(OLD)
        caller.fail()
        caller.wait()
    caller.now_ns -= 1
    caller.dialer.on_record(NEW)
    assert caller.act() == Dial(NEW)
    caller.fail()
    assert caller.wait() <= 10 * MS


@pytest.mark.parametrize("record", [None, OLD, NEW])
def test_an_older_record_or_none_or_the_same_changes_nothing(record: PrimaryRecord | None) -> None:
    caller = Caller()
    caller.connect(NEW)
    caller.dialer.on_record(record)
    assert caller.act() is None
    caller.lose()
    deadline_ns = caller.dialer.deadline_ns
    caller.dialer.on_record(record)
    assert caller.dialer.deadline_ns == deadline_ns
    caller.wait()
    assert caller.act() == Dial(NEW)


def test_a_primary_at_another_address_is_another_one() -> None:
    caller = Caller()
    caller.connect()
    moved = OLD._replace(commands="e1:2")
    caller.dialer.on_record(moved)
    assert caller.act() == HangUp()
    caller.lose()
    assert caller.act() == Dial(moved)


def test_a_primary_with_a_successor_on_the_feed_is_hung_up_and_called_again() -> None:
    caller = Caller()
    caller.connect()
    caller.gateway.on_feed(SHARD, empty_run(1), 2, 0, 0)
    with capture_logs() as logs:
        assert caller.act() == HangUp()
        caller.submit()
        assert (caller.act(), caller.dialer.take_output()) == (None, b"")
        caller.lose()
    assert [log["event"] for log in logs] == [
        "primary has a successor; connecting anew",
        "primary lost",
    ]
    assert 5 * MS <= caller.wait() <= 10 * MS
    assert caller.act() == Dial(OLD)


def test_a_primary_that_decides_nothing_for_too_long_is_hung_up() -> None:
    caller = Caller()
    caller.connect()
    caller.submit()
    caller.now_ns = 500 * MS - 1
    assert caller.act() is None
    caller.now_ns += 1
    assert caller.act() == HangUp()
    caller.lose()
    assert caller.uplink.pending_count == 1


def test_who_sends_what_is_no_decision_of_the_primary_is_hung_up() -> None:
    caller = Caller()
    caller.connect()
    caller.decide(epoch=2)
    assert caller.act() == HangUp()
    caller.lose()
    caller.wait()
    assert caller.act() == Dial(OLD)


def test_a_connection_that_is_lost_before_it_was_hung_up_is_not_hung_up_any_more() -> None:
    caller = Caller()
    caller.connect()
    caller.dialer.on_record(NEW)
    caller.lose()
    assert caller.act() == Dial(NEW)


def test_who_stops_hangs_up_and_calls_nobody_any_more() -> None:
    for is_connected in (True, False):
        caller = Caller()
        caller.dialer.on_record(OLD)
        assert caller.act() == Dial(OLD)
        if is_connected:
            caller.dialer.on_connected(0)
        with capture_logs() as logs:
            caller.dialer.stop()
            assert caller.act() == HangUp()
            if is_connected:
                caller.lose()
            else:
                caller.fail()
        caller.dialer.on_record(NEW)
        assert (logs, caller.act(), caller.dialer.deadline_ns) == ([], None, None)
        assert not caller.uplink.is_connected


def test_the_log_tells_the_same_trouble_again_with_another_primary() -> None:
    caller = Caller()
    with capture_logs() as logs:
        for record in (OLD, NEW):
            caller.dialer.on_record(record)
            assert caller.act() == Dial(record)
            caller.dialer.on_connected(0)
            caller.lose()
    assert [(log["event"], log["log_level"], log["epoch"]) for log in logs] == [
        ("primary connected", "info", 1),
        ("primary lost", "warning", 1),
        ("primary connected", "info", 2),
        ("primary lost", "warning", 2),
    ]


def test_the_log_tells_each_trouble_once_and_a_takeover_not_as_one() -> None:
    caller = Caller()
    with capture_logs() as logs:
        caller.dialer.on_record(OLD)
        for why in ("refused", "refused", "no answer", "refused"):
            assert caller.act() == Dial(OLD)
            caller.fail(why)
            caller.wait()
        for _ in range(3):  # a backup, which ends each connection at once
            assert caller.act() == Dial(OLD)
            caller.dialer.on_connected(caller.now_ns)
            caller.lose()
            caller.wait()
        assert caller.act() == Dial(OLD)
        caller.dialer.on_connected(caller.now_ns)
        caller.decide()
        caller.lose()
        caller.wait()
        caller.connect()
        caller.dialer.on_record(NEW)
        assert caller.act() == HangUp()
        caller.lose()
        caller.connect(NEW)
    told = [(log["event"], log.get("why")) for log in logs if log["log_level"] != "debug"]
    assert told == [
        ("primary not reached", "refused"),
        ("primary not reached", "no answer"),
        ("primary not reached", "refused"),
        ("primary connected", None),
        ("primary lost", "it was closed"),
        ("primary lost", "it was closed"),  # by one that had decided
        ("primary connected", None),
        ("primary connected", None),
    ]
    assert logs[-1] == {
        "event": "primary connected",
        "log_level": "info",
        "shard": SHARD,
        **NEW._asdict(),
        "pending": 0,
    }


@pytest.mark.parametrize("seed", range(50))
def test_whatever_happens_there_is_one_connection_at_most_and_at_last_one_to_the_newest(
    seed: int,
) -> None:
    random = Random(seed)
    caller = Caller(seed)
    dialer = caller.dialer
    newest = 0
    attempt: PrimaryRecord | None = None  # under way
    connection: PrimaryRecord | None = None
    is_calm = False
    for step in range(600):
        is_calm |= step == 500
        caller.now_ns += random.randrange(20 * MS)
        if attempt is not None and (is_calm or random.random() < 0.5):
            if is_calm or random.random() < 0.5:
                connection, attempt = attempt, None
                dialer.on_connected(caller.now_ns)
            else:
                attempt = None
                caller.fail(random.choice(("refused", "no answer")))
        elif connection is not None and not is_calm and random.random() < 0.3:
            connection = None
            caller.lose()
        elif connection is not None and not is_calm and random.random() < 0.3:
            caller.decide(random.choice((connection.epoch, connection.epoch, newest)))
        elif not is_calm and random.random() < 0.3:
            epoch = random.randrange(newest + 2)
            newest = max(newest, epoch)
            dialer.on_record(random.choice((None, PrimaryRecord(f"e{epoch}", epoch, "e:1"))))
            newest = newest if dialer._record is None else dialer._record.epoch
        action = caller.act()
        if action == HangUp():
            assert connection is not None or attempt is not None
            if connection is not None:
                connection = None
                caller.lose()
            else:
                attempt = None
                caller.fail()
        elif isinstance(action, Dial):
            assert connection is None
            assert attempt is None
            attempt = action.record
        caller.uplink.check()
        assert caller.uplink.is_connected == (connection is not None)
    assert connection is not None
    assert connection.epoch == newest
