"""What drives the suites `gateway` and `clients`, in a process of its own: orders of many clients.

`drive` does stages one after the other: as many orders as the exchange takes, with a bounded number
under way ("busy"), or orders at a fixed rate ("paced"). `answer_at_once` is what the exchange is
compared with: a process that accepts every order at once, and does nothing else.
"""

import os
import select
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from feed.settings import Address
from gateway.soup import LoginAccepted
from tools.bench.apart import Say
from tools.bench.figures import BenchmarkError
from tools.bench.fleet import Fleet
from tools.bench.histogram import Histogram
from tools.bench.order_bytes import SERVER_HEARTBEAT, AnswerMaker, OrderFlow, OrderReader
from tools.bench.pacing import OpenLoop, Pace
from tools.bench.rig import CpuMeter, Spent

LOG_IN_WITHIN_S = 120.0
_LONGEST_WARM_UP_S = 0.5
_DRAIN_WITHIN_S = 30.0  # for what is under way when a stage ends
_BATCH = 16  # orders in one write, at least: busy clients write more at once than patient ones
_SWEEP_WITHIN_S = 120.0  # for as many cancels as there were orders
_LOOK_AGAIN_NS = 20_000_000
# The driver of a paced stage sends so often, at once what has become due meanwhile: to wake up for
# each order would take much of a core from those it measures. What that adds counts as latency.
_TURN_NS = 200_000
_READ_BYTES = 1 << 16
_BACKLOG = 1_000
_HEARTBEAT_PARTS = 100  # of the second in which each client gets one


@dataclass(frozen=True, slots=True)
class Busy:
    """As many orders as are taken."""

    seconds: float
    outstanding: int  # orders of each client that are not accepted yet, at most
    flow: OrderFlow

    @property
    def warm_up_s(self) -> float:
        """What of it is not counted, before the seconds that are."""
        return _warm_up_s(self.seconds)


@dataclass(frozen=True, slots=True)
class Paced:
    """Orders at a fixed rate, of all clients in turn."""

    seconds: float
    rate: int
    flow: OrderFlow

    @property
    def warm_up_s(self) -> float:
        """What of it is not counted, before the seconds that are."""
        return _warm_up_s(self.seconds)


@dataclass(frozen=True, slots=True)
class Sweep:
    """Cancels of all orders that rest, as many as are taken; all orders so far have to rest."""

    outstanding: int  # cancels of each client that are not done yet, at most


Stage: TypeAlias = Busy | Paced | Sweep


@dataclass(frozen=True, slots=True)
class DrivePlan:
    """Where to send what."""

    address: Address
    users: Sequence[str]
    secret: str
    symbols: Sequence[bytes]  # padded to eight bytes; the clients are spread over them
    stages: Sequence[Stage]
    processes: Mapping[str, int] = field(default_factory=dict)  # to tell the CPU time of


class StageResult(NamedTuple):
    """What came of a stage, after its warm-up."""

    per_second: float  # orders that were accepted, or cancels that were done
    latencies: Histogram  # of a paced stage: from the moment an order was due to its acceptance
    lateness: Histogram  # of a paced stage: from that moment until it was sent
    spent: Spent


class DriveResult(NamedTuple):
    """What came of all stages."""

    stages: Sequence[StageResult]
    clients: int
    log_in_s: float  # for all of them together
    orders: int
    heartbeats_sent: int  # since all were logged in, as what follows
    heartbeats_heard: int
    longest_silence_ns: int  # of the gateway towards any client
    seconds: float


def drive(say: Say[DriveResult], plan: DrivePlan) -> DriveResult:
    """Log all clients in, do the stages, and see that every order was accepted, just once.

    Raises BenchmarkError when that does not hold, or a client is dropped or refused.
    """
    with Fleet() as fleet:
        begin_ns = time.monotonic_ns()
        fleet.log_in(plan.address, plan.users, plan.secret, LOG_IN_WITHIN_S)
        opened_ns = time.monotonic_ns()
        heartbeats_before = fleet.heartbeats_sent, fleet.heartbeats_heard
        results = []
        processes = {**plan.processes, "driver": os.getpid()}
        for stage in plan.stages:
            if not isinstance(stage, Sweep):
                fleet.trade(plan.symbols, stage.flow)
            match stage:
                case Busy():
                    results.append(_busy(fleet, stage, processes))
                case Paced():
                    results.append(_paced(fleet, stage, processes))
                case Sweep():
                    results.append(_sweep(fleet, stage, processes))
        fleet.note_silences()
        return DriveResult(
            results,
            len(fleet.clients),
            (opened_ns - begin_ns) / 1e9,
            sum(client.orders for client in fleet.clients),
            fleet.heartbeats_sent - heartbeats_before[0],
            fleet.heartbeats_heard - heartbeats_before[1],
            fleet.longest_silence_ns,
            (time.monotonic_ns() - opened_ns) / 1e9,
        )


def _busy(fleet: Fleet, stage: Busy, processes: Mapping[str, int]) -> StageResult:
    """Keep every client's orders under way at their bound."""
    begin_ns = time.monotonic_ns() + int(stage.warm_up_s * 1e9)
    end_ns = begin_ns + int(stage.seconds * 1e9)
    for client in fleet.clients:
        fleet.send(client, client.next_orders(stage.outstanding))
    meter: CpuMeter | None = None
    answered_before = 0
    while (now_ns := time.monotonic_ns()) < end_ns:
        if meter is None and now_ns >= begin_ns:
            meter = CpuMeter(processes)
            answered_before = fleet.answered
        for client, _ in fleet.pump(now_ns + _LOOK_AGAIN_NS):
            room = stage.outstanding - client.outstanding
            if room >= min(_BATCH, stage.outstanding):
                fleet.send(client, client.next_orders(room))
    assert meter is not None
    spent = meter.spent()
    rate = (fleet.answered - answered_before) / spent.seconds
    _drain(fleet)
    return StageResult(rate, Histogram(), Histogram(), spent)


def _sweep(fleet: Fleet, stage: Sweep, processes: Mapping[str, int]) -> StageResult:
    """Cancel all orders, each client's from its first one on, as busily as they were sent."""
    meter = CpuMeter(processes)
    deadline_ns = time.monotonic_ns() + int(_SWEEP_WITHIN_S * 1e9)
    begun = fleet.answered
    for client in fleet.clients:
        fleet.send(client, client.next_cancels(stage.outstanding))
    while any(client.outstanding or client.cancels < client.orders for client in fleet.clients):
        for client, _ in fleet.pump(time.monotonic_ns() + _LOOK_AGAIN_NS):
            room = stage.outstanding - client.outstanding
            left = client.orders - client.cancels
            if left and room >= min(_BATCH, stage.outstanding, left):
                fleet.send(client, client.next_cancels(room))
        if time.monotonic_ns() > deadline_ns:
            raise BenchmarkError(_undecided(fleet))
    spent = meter.spent()
    rate = (fleet.answered - begun) / spent.seconds
    return StageResult(rate, Histogram(), Histogram(), spent)


def _paced(fleet: Fleet, stage: Paced, processes: Mapping[str, int]) -> StageResult:
    """Send each order at its moment, and time it from there."""
    skipped = int(stage.rate * stage.warm_up_s)
    orders = skipped + int(stage.rate * stage.seconds)
    clients = fleet.clients
    loop = OpenLoop(stage.rate, len(clients), orders, skipped, time.monotonic_ns())
    meter = CpuMeter(processes)
    deadline_ns = time.monotonic_ns() + int(
        (stage.warm_up_s + stage.seconds + _DRAIN_WITHIN_S) * 1e9
    )
    begin_ns = send_at_ns = time.monotonic_ns()
    while not loop.is_over:
        next_ns = loop.next_ns
        until_ns = send_at_ns + _LOOK_AGAIN_NS if next_ns is None else max(next_ns, send_at_ns)
        for client, count in fleet.pump(until_ns):
            loop.on_accepted(client.place, count, client.heard_ns)
        now_ns = time.monotonic_ns()
        if now_ns >= send_at_ns:
            send_at_ns = now_ns + _TURN_NS
            for place in loop.due(now_ns):
                fleet.send(clients[place], clients[place].next_orders(1))
        if now_ns > deadline_ns:
            raise BenchmarkError(_undecided(fleet))
    lasted_s = (time.monotonic_ns() - begin_ns) / 1e9
    return StageResult(orders / lasted_s, loop.latencies, loop.lateness, meter.spent())


def _warm_up_s(seconds: float) -> float:
    return min(_LONGEST_WARM_UP_S, seconds / 2)


def _drain(fleet: Fleet) -> None:
    """Wait until every order is accepted."""
    deadline_ns = time.monotonic_ns() + int(_DRAIN_WITHIN_S * 1e9)
    while any(client.outstanding for client in fleet.clients):
        if time.monotonic_ns() > deadline_ns:
            raise BenchmarkError(_undecided(fleet))
        fleet.pump(time.monotonic_ns() + _LOOK_AGAIN_NS)


def _undecided(fleet: Fleet) -> str:
    lacking = sum(client.outstanding for client in fleet.clients)
    return f"{lacking:,} orders or cancels were not answered in time"


def answer_at_once(say: Say[Address | None]) -> None:
    """Say where it listens, and then accept whatever is sent there, until the process is killed."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
    listener.setblocking(False)
    say(Address(*listener.getsockname()))
    _Answerer(listener).run()


class _Answerer:
    """Accepts every log-in and every order, and sends heartbeats, as a gateway does."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._epoll = select.epoll()
        self._epoll.register(listener, select.EPOLLIN)
        self._connections: dict[int, tuple[socket.socket, OrderReader]] = {}
        self._answers = AnswerMaker()
        self._log_in_accepted = LoginAccepted("BENCH", 1).encode()

    def run(self) -> None:
        """Answer for ever."""
        heartbeats = Pace(_HEARTBEAT_PARTS, time.monotonic_ns())
        while True:
            for descriptor, _ in self._epoll.poll(max(0.0, _seconds_to(heartbeats.next_ns))):
                if descriptor == self._listener.fileno():
                    self._accept()
                else:
                    self._answer(descriptor)
            for number in heartbeats.due(time.monotonic_ns()):
                part = number % _HEARTBEAT_PARTS
                for connection, _ in list(self._connections.values())[part::_HEARTBEAT_PARTS]:
                    connection.sendall(SERVER_HEARTBEAT)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[connection.fileno()] = connection, OrderReader()
        self._epoll.register(connection, select.EPOLLIN)

    def _answer(self, descriptor: int) -> None:
        connection, reader = self._connections[descriptor]
        try:
            data = connection.recv(_READ_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            self._epoll.unregister(descriptor)
            del self._connections[descriptor]
            connection.close()
            return
        logs_in, entered, canceled = reader.take(data)
        answers = [self._log_in_accepted] if logs_in else []
        answers += map(self._answers.acceptance, entered)
        answers += map(self._answers.cancellation, canceled)
        connection.sendall(b"".join(answers))


def _seconds_to(moment_ns: int) -> float:
    return (moment_ns - time.monotonic_ns()) / 1e9
