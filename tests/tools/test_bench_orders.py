"""The clients of the suites `gateway` and `clients`, on a process that answers at once."""

import asyncio
import resource
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.messages import Side, symbol_field
from gateway import ouch, ouch_codec
from gateway.soup import (
    Debug,
    EndOfSession,
    LoginAccepted,
    LoginRejected,
    LoginRejectReason,
    LoginRequest,
    SequencedData,
    ServerHeartbeat,
    UnsequencedData,
    client_packets,
)
from tools.bench.apart import Apart, Say
from tools.bench.figures import BenchmarkError
from tools.bench.fleet import allow_open_files
from tools.bench.order_bytes import (
    AnswerMaker,
    AnswerReader,
    CancelMaker,
    OrderFlow,
    OrderMaker,
    OrderReader,
    log_in_request,
)
from tools.bench.order_driver import (
    Busy,
    DrivePlan,
    DriveResult,
    Paced,
    Stage,
    Sweep,
    answer_at_once,
    drive,
)

SYMBOL = symbol_field("AAPL")
WITHIN_S = 30.0


def test_orders_are_those_that_the_gateways_own_codec_makes() -> None:
    maker = OrderMaker(SYMBOL, OrderFlow.TRADING)
    (packet,) = client_packets().take(maker.order(7))
    assert isinstance(packet, UnsequencedData)
    order = ouch_codec.decode_inbound(packet.payload)
    assert isinstance(order, ouch.EnterOrder)
    assert (order.user_ref_num, order.symbol, order.side) == (7, SYMBOL, Side.SELL)
    (packet,) = client_packets().take(maker.order(8))
    assert isinstance(packet, UnsequencedData)
    renewed = ouch_codec.decode_inbound(packet.payload)
    assert renewed == order._replace(user_ref_num=8, side=Side.BUY)


def test_resting_orders_never_meet() -> None:
    maker = OrderMaker(SYMBOL, OrderFlow.RESTING)
    prices: dict[int, set[int]] = {Side.BUY: set(), Side.SELL: set()}
    for number in range(1, 100):
        (packet,) = client_packets().take(maker.order(number))
        assert isinstance(packet, UnsequencedData)
        order = ouch_codec.decode_inbound(packet.payload)
        assert isinstance(order, ouch.EnterOrder)
        prices[order.side].add(order.price)
    assert max(prices[Side.BUY]) < min(prices[Side.SELL])


def executed() -> bytes:
    message = ouch.Executed(0, 1, 100, 1_000_000, ord("A"), 1)
    return SequencedData(ouch_codec.encode(message)).encode()


def refused() -> bytes:
    message = ouch.Rejected(0, 1, 1000, b" " * 14)
    return UnsequencedData(ouch_codec.encode(message)).encode()


@settings(max_examples=40)
@given(st.integers(1, 9), st.lists(st.integers(1, 150), min_size=1))
def test_answers_are_read_however_the_stream_is_cut(count: int, sizes: list[int]) -> None:
    acceptance = AnswerMaker().acceptance
    stream = LoginAccepted("BENCH", 1).encode()
    for number in range(1, count + 1):
        stream += acceptance(number) + executed() + ServerHeartbeat().encode()
    reader = AnswerReader()
    taken = 0
    for size in [*sizes, len(stream)]:
        taken += reader.take(stream[:size])
        stream = stream[size:]
    assert reader.is_open
    assert (taken, reader.accepted, reader.executed, reader.heartbeats) == (count,) * 4


@pytest.mark.parametrize(
    ("stream", "complaint"),
    [
        (lambda make: make(2), "order 2 accepted, not 1"),
        (lambda make: make(1) + make(1), "order 1 accepted, not 2"),
        (lambda make: make(1) + make(3), "order 3 accepted, not 2"),
        (lambda _: refused(), "the gateway said"),
        (lambda _: Debug("slow client").encode(), "slow client"),
        (lambda _: LoginRejected(LoginRejectReason.NOT_AUTHORISED).encode(), "the gateway said"),
        (lambda _: EndOfSession().encode(), "the gateway said"),
        (lambda _: AnswerMaker().cancellation(2), "order 2 canceled, not 1"),
        (
            lambda _: SequencedData(
                ouch_codec.encode(ouch.PriorityUpdate(0, 1, 100, ord("Y"), 7))
            ).encode(),
            "answered with 'T'",
        ),
    ],
)
def test_an_order_that_is_not_accepted_just_once_is_found_out(
    stream: Callable[[Callable[[int], bytes]], bytes], complaint: str
) -> None:
    with pytest.raises(BenchmarkError, match=complaint):
        AnswerReader().take(stream(AnswerMaker().acceptance))


def test_what_answers_at_once_reads_what_clients_send() -> None:
    maker = OrderMaker(SYMBOL, OrderFlow.RESTING)
    reader = OrderReader()
    stream = log_in_request("ALICE", "secret") + maker.order(1) + maker.order(2)
    (request,) = client_packets().take(log_in_request("ALICE", "secret"))
    assert request == LoginRequest("ALICE", "secret", "", 1)
    stream += CancelMaker().cancel(1)
    assert reader.take(stream[:-25]) == (True, [1], [])
    assert reader.take(stream[-25:]) == (False, [2], [1])


def driven(users: int, *stages: Stage) -> DriveResult:
    async def run() -> DriveResult:
        with Apart(answer_at_once) as answerer:
            address = await answerer.hear(WITHIN_S)
            assert address is not None
            names = [f"C{number}" for number in range(users)]
            plan = DrivePlan(address, names, "secret", [SYMBOL], stages)
            with Apart(drive, plan) as driver:
                return await driver.hear(WITHIN_S)

    return asyncio.run(run())


def test_all_orders_are_accepted_and_idle_clients_send_and_get_heartbeats() -> None:
    result = driven(
        40,
        Busy(0.2, 16, OrderFlow.RESTING),
        Sweep(16),
        Paced(1.5, 20, OrderFlow.TRADING),
    )
    busy, sweep, paced = result.stages
    assert result.clients == 40
    assert busy.per_second > 0
    assert sweep.per_second > 0
    assert paced.latencies.count == paced.lateness.count == 30  # and 10 to warm up
    assert result.orders >= 40 * 16 + 40
    assert 0 < paced.latencies.percentiles().p50 <= paced.latencies.longest_ns
    assert set(paced.spent.by_process) == {"driver"}
    assert result.heartbeats_sent >= 20
    assert result.heartbeats_heard >= 40
    assert 100_000_000 < result.longest_silence_ns < 15_000_000_000


def failing(say: Say[int]) -> int:
    say(1)
    raise BenchmarkError("this is why")


def test_what_fails_apart_is_told_here() -> None:
    async def run() -> None:
        with Apart(failing) as apart:
            assert await apart.hear(WITHIN_S) == 1
            with pytest.raises(BenchmarkError, match="this is why"):
                await apart.hear(WITHIN_S)

    asyncio.run(run())


def test_too_many_connections_for_the_system_are_refused_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changed = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_024, 4_096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: changed.append(limits))
    allow_open_files(500)
    allow_open_files(3_000)
    assert changed == [(3_200, 4_096)]
    with pytest.raises(BenchmarkError, match=r"10,200 open files.* 4,096: raise it"):
        allow_open_files(10_000)
