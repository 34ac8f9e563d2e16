"""The audit finds each kind of wrong that is planted, and nothing where nothing is wrong."""

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from feed.messages import CancelOrder
from feed.subscriber import Group
from gateway.events import Accepted, Event, Rejected, SessionBegan
from gateway.rejects import GatewayReject
from tests.tools.drill_exchange import ListedExchange, order, traded
from tools.drill.audit import ClientRecord, Findings
from tools.drill.audit import audit as audit_of_shards

ALICE, BOB = 1, 2
SEEDS = st.integers(0, 9)


def audit(
    groups: Sequence[Group], records: Sequence[ClientRecord], *, stopped: bool = False
) -> Findings:
    """That of an exchange with one shard."""
    return audit_of_shards({1: groups}, records, lambda client: 1, stopped=stopped)


def judge(exchange: ListedExchange) -> Findings:
    return audit(exchange.groups, exchange.records)


def counts(findings: Findings) -> tuple[int, int, int]:
    return findings.lost, findings.doubled, findings.changed


def with_records(exchange: ListedExchange, received: list[Event]) -> Findings:
    """The audit when Alice received something else than what she was told."""
    alice, bob = exchange.records
    return audit(exchange.groups, [replace(alice, received=received), bob])


@given(SEEDS, st.integers(0, 300))
def test_nothing_is_found_where_nothing_is_wrong(seed: int, commands: int) -> None:
    exchange = traded(seed, commands)
    findings = judge(exchange)
    assert counts(findings) == (0, 0, 0)
    assert findings.is_clean
    assert findings.problems == []
    numbered = [
        command
        for record in exchange.records
        for command in record.sent
        if not isinstance(command, CancelOrder)
    ]
    assert findings.answered == len(numbered)


@given(SEEDS, st.data())
def test_an_event_that_never_came_is_lost_once(seed: int, data: st.DataObject) -> None:
    exchange = traded(seed, 100)
    received = exchange.received[ALICE]
    missing = data.draw(st.sampled_from(received))
    findings = with_records(exchange, [event for event in received if event != missing])
    assert findings.lost >= 1
    assert findings.doubled == findings.changed == 0
    assert not findings.is_clean
    assert findings.problems


def test_a_command_whose_answer_is_missing_counts_as_lost_once() -> None:
    exchange = ListedExchange()
    exchange.send(order(ALICE, 1))
    exchange.send(order(ALICE, 2))
    assert counts(with_records(exchange, exchange.received[ALICE][:1])) == (1, 0, 0)


@given(SEEDS, st.data())
def test_an_event_that_came_twice_is_found(seed: int, data: st.DataObject) -> None:
    exchange = traded(seed, 100)
    received = exchange.received[ALICE]
    place = data.draw(st.integers(0, len(received) - 1))
    again = [*received[: place + 1], *received[place:]]
    assert counts(with_records(exchange, again)) == (0, 1, 0)


@given(SEEDS, st.data())
def test_an_event_that_says_something_else_is_found(seed: int, data: st.DataObject) -> None:
    exchange = traded(seed, 100)
    received = list(exchange.received[ALICE])
    place = data.draw(st.integers(0, len(received) - 1))
    event = received[place]
    assert not isinstance(event, SessionBegan)  # it stands in no stream
    received[place] = event._replace(time_ns=1)
    findings = with_records(exchange, received)
    assert findings.changed >= 1
    assert findings.doubled == 0


def test_events_out_of_their_order_are_found() -> None:
    exchange = ListedExchange()
    exchange.send(order(ALICE, 1))
    exchange.send(order(ALICE, 2))
    first, second = exchange.received[ALICE]
    assert counts(with_records(exchange, [second, first])) == (0, 0, 1)


def test_an_event_that_the_list_knows_nothing_of_is_found() -> None:
    exchange = ListedExchange()
    exchange.send(order(ALICE, 1))
    (accepted,) = exchange.received[ALICE]
    assert isinstance(accepted, Accepted)
    foreign = accepted._replace(sequence=2, user_ref_num=1)
    assert counts(with_records(exchange, [accepted, foreign])) == (0, 0, 1)


def test_a_command_that_stands_in_the_list_twice_is_doubled() -> None:
    exchange = ListedExchange()
    exchange.send(order(ALICE, 1))
    exchange.apply(order(ALICE, 1))
    findings = judge(exchange)
    assert findings.doubled == 1
    assert "command 1 stands in the list at" in findings.problems[0]


def test_a_command_that_never_got_into_the_list_is_lost() -> None:
    exchange = ListedExchange()
    exchange.sent[ALICE].append(order(ALICE, 1))
    exchange.send(order(BOB, 1))
    findings = judge(exchange)
    assert counts(findings) == (1, 0, 0)
    assert findings.answered == 1


def test_an_answer_that_a_takeover_made_untrue_is_found() -> None:
    """The client was told of an order that the list does not hold any more."""
    exchange = ListedExchange()
    exchange.send(order(ALICE, 1))
    exchange.groups.pop()
    findings = judge(exchange)
    assert findings.lost == 1
    assert findings.changed == 1


def test_a_command_that_was_changed_on_its_way_is_found() -> None:
    exchange = ListedExchange()
    exchange.sent[ALICE].append(order(ALICE, 1, quantity=100))
    exchange.apply(order(ALICE, 1, quantity=200))
    assert counts(judge(exchange)) == (0, 0, 1)


def test_a_command_that_nobody_sent_is_found() -> None:
    exchange = ListedExchange()
    exchange.apply(order(ALICE, 1))
    assert counts(judge(exchange)) == (0, 0, 1)


def test_a_hole_in_the_subscribers_list_is_found() -> None:
    exchange = ListedExchange()
    exchange.send(order(ALICE, 1))
    exchange.send(order(ALICE, 2))
    del exchange.groups[-2]
    findings = judge(exchange)
    assert "the subscriber's list goes on with" in findings.problems[0]
    assert not findings.is_clean


def test_a_cancel_that_had_no_effect_is_lost() -> None:
    exchange = ListedExchange()
    exchange.send(order(ALICE, 1))
    exchange.sent[ALICE].append(CancelOrder(ALICE, 1, 0))
    findings = judge(exchange)
    assert counts(findings) == (1, 0, 0)
    assert "cancel of order 1" in findings.problems[0]


def test_a_cancel_that_came_too_late_is_not_missed() -> None:
    exchange = ListedExchange()
    exchange.send(order(ALICE, 1))
    exchange.send(CancelOrder(ALICE, 1, 0))
    exchange.send(CancelOrder(ALICE, 1, 0))
    assert judge(exchange).is_clean


def refused(user_ref_num: int, reason: GatewayReject) -> Rejected:
    return Rejected(0, 1, user_ref_num, reason, reason.text, "")


def test_a_command_that_a_gateway_refused_is_not_lost() -> None:
    exchange = ListedExchange()
    exchange.sent[ALICE].append(order(ALICE, 1))
    findings = with_records(exchange, [refused(1, GatewayReject.RATE_EXCEEDED)])
    assert counts(findings) == (0, 0, 0)
    assert findings.refused == 1


def test_the_guess_that_a_refusal_was_lost_does_not_excuse_a_lost_command() -> None:
    exchange = ListedExchange()
    exchange.sent[ALICE].append(order(ALICE, 1))
    findings = with_records(exchange, [refused(1, GatewayReject.CONNECTION_LOST)])
    assert counts(findings) == (1, 0, 0)


def test_problems_are_told_up_to_a_bound() -> None:
    exchange = ListedExchange()
    sent = [order(ALICE, number + 1) for number in range(1000)]
    findings = audit(exchange.groups, [ClientRecord("ALICE", ALICE, sent, [])])
    assert findings.lost == 1000
    assert len(findings.problems) == 50


@given(SEEDS, st.integers(0, 60))
def test_shard_that_stopped_owes_nobody_the_rest(seed: int, heard: int) -> None:
    exchange = traded(seed, 30)
    alice, bob = exchange.records
    unsent = order(ALICE, 10_000)
    records = [replace(alice, sent=[*alice.sent, unsent], received=alice.received[:heard]), bob]
    findings = audit(exchange.groups, records, stopped=True)
    assert findings.is_clean
    assert findings.problems == []
    assert not audit(exchange.groups, records).is_clean


@given(SEEDS, st.data())
def test_what_was_told_before_a_shard_stopped_has_no_hole(seed: int, data: st.DataObject) -> None:
    exchange = traded(seed, 30)
    alice, bob = exchange.records
    hole = data.draw(st.integers(0, len(alice.received) - 2))
    received = [event for place, event in enumerate(alice.received) if place != hole]
    records = [replace(alice, received=received), bob]
    assert audit(exchange.groups, records, stopped=True).lost == 1


def test_command_that_was_answered_before_a_shard_stopped_is_in_the_list() -> None:
    exchange = traded(1, 100)
    findings = audit(exchange.groups[:-1], exchange.records, stopped=True)
    assert not findings.is_clean


def test_findings_of_several_exchanges_are_added_up() -> None:
    findings = Findings(answered=1, refused=2, lost=3, doubled=4, changed=5, problems=["one"])
    findings.add(Findings(answered=10, refused=20, lost=30, doubled=40, changed=50, problems=["2"]))
    assert findings == Findings(11, 22, 33, 44, 55, ["one", "2"])
