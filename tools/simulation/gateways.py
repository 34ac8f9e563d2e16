"""A simulated gateway: the very objects of production, and what its shell does around them.

It does what `gateway.process` and `gateway.primary_connection` do with sockets, tasks and threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random

from feed.gap import GapFailure
from feed.messages import SelfTradePrevention
from feed.run import Run, empty_run
from feed.settings import parse_address
from feed.subscriber import Subscriber
from gateway.client_connections import ClientConnections
from gateway.clients import ClientSettings
from gateway.closing import ClosingReason
from gateway.dialing import Dial, Dialer, HangUp
from gateway.gateway import Gateway, Verification
from gateway.process import LAST_WORDS_SECONDS, VERIFIER_THREADS
from gateway.secret_checks import SecretChecks
from tools.simulation.holders import COMMANDS_PORT
from tools.simulation.listening import Listening
from tools.simulation.network import Died
from tools.simulation.shard import EXCHANGE, SHARD, Shard
from tools.simulation.tcp import End
from tools.simulation.world import MILLISECOND_NS, SECOND_NS
from zk.election import PrimaryRecord

CLIENTS_PORT = "clients"
# A gateway's invariants are checked at its every so manieth turn: they look at all that it holds.
TURNS_PER_CHECK = 100
# Who is let in at the last moment may still leave something behind.
MOST_BEYOND_LIMIT = 20
# How long it takes to look at a secret: about what argon2 does, and now and then far too long, as
# on a machine that has other things to do. Some can't be looked at at all.
SHORTEST_CHECK_NS, LONGEST_CHECK_NS = MILLISECOND_NS, 30 * MILLISECOND_NS
SLOW_CHECK_SHARE = 0.05
SLOWEST_CHECK_NS = 1200 * MILLISECOND_NS
FAILED_CHECK_SHARE = 0.01
NO_FRAMES = empty_run(1)

_HASH = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$Nb38aP7G8AMTYRyDWZYzAA"  # never looked at here


def secret_of(name: str) -> str:
    """A client's secret."""
    return name.lower()


def cancels_on_disconnect(number: int) -> bool:
    """Whether the orders of this client are canceled when its connection ends."""
    return number % 3 == 0


def client_of(shard: Shard, name: str, secret: str) -> ClientSettings | None:
    """The client that this name and secret belong to, or None: as in the file of all gateways."""
    names = shard.shape.client_names
    if name not in names or secret != secret_of(name):
        return None
    number = names.index(name) + 1
    preventions = list(SelfTradePrevention)
    return ClientSettings(
        number=number,
        secret=_HASH,
        cancel_on_disconnect=cancels_on_disconnect(number),
        self_trade_prevention=preventions[(number - 1) % len(preventions)],
    )


class _Alarm:
    """Calls back later, unless it was canceled."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act: Callable[[], object] | None = act

    def cancel(self) -> None:
        self._act = None

    def ring(self) -> None:
        if self._act is not None:
            self._act()


class _PrimaryLine(asyncio.Protocol):
    """The connection to a primary."""

    def __init__(self, node: GatewayNode) -> None:
        self._node = node

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._node.dialer.on_connected(self._node.network.now_ns)
        self._node.flush()

    def data_received(self, data: bytes) -> None:
        self._node.dialer.on_data(data, self._node.network.now_ns)
        self._node.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._node.on_primary_lost(str(exc or "it was closed"))


class GatewayNode(Listening):
    """A gateway; `failure` is why it stopped, once it can't read the list any further."""

    gateway: Gateway
    subscriber: Subscriber
    dialer: Dialer
    connections: ClientConnections

    def __init__(self, shard: Shard, name: str) -> None:
        super().__init__(shard, name)
        self.failure: GapFailure | None = None
        self._is_stopping = False
        self._line: End | None = None  # to a primary: a connection, or the attempt at one
        self._turns = 0

    def start(self) -> None:
        """The process starts, as `gateway.process.run` does."""
        super().start()
        shard, network, life = self.shard, self.network, self.life
        settings = shard.shape.gateway
        self._random = Random(network.random.getrandbits(64))
        self.failure = None
        self._is_stopping = False
        self._line = None
        self.gateway = Gateway(EXCHANGE, settings, self._random, self.wall_clock_ns)
        self.subscriber = Subscriber(
            shard=SHARD,
            source_count=len(shard.shape.retransmitter_names),
            random=self._random,
        )
        self.dialer = Dialer(self.gateway, settings.uplink, self._random)
        self._checks = SecretChecks(self.gateway, VERIFIER_THREADS)
        self.connections = ClientConnections(
            self.gateway, settings, self.flush, lambda: network.now_ns, self._call_later
        )
        self.member = shard.zookeeper.join(
            self, role="gateway", holder=False, commands=None, on_change=self._on_zookeeper
        )
        shard.tcp.listen(self, CLIENTS_PORT, self.connections.make)
        network.after(0, partial(self.do, life, self._keep_time))

    def stop(self) -> None:
        """It is asked to stop, as with SIGTERM: it says goodbye to its clients, and dies."""
        self.do(self.life, partial(self._say_goodbye, ClosingReason.GATEWAY_STOPS))

    def check(self) -> None:
        """Raises AssertionError when its invariants do not hold."""
        if self.is_alive:
            self.gateway.check()
            self.subscriber.check()

    # What reaches it.

    def on_packet(self, data: bytes, source: int | None = None) -> None:
        now_ns = self.network.now_ns
        if source is None:
            groups = self.subscriber.on_datagrams([data], now_ns)
        else:
            groups = self.subscriber.on_datagram(data, now_ns, source)
        if groups:
            for group in groups:
                self.shard.witness.on_committed(group.frames)
            self._tell_of_feed(groups.run)
            self.flush()

    def on_primary_lost(self, why: str) -> None:
        """The connection to the primary is over."""
        self._line = None
        self.dialer.on_lost(why, self.network.now_ns)
        self.flush()

    def deadline_ns(self) -> int | None:
        deadlines = (
            self.gateway.deadline_ns,
            self.subscriber.deadline_ns,
            self.dialer.deadline_ns,
        )
        return min(deadline for deadline in deadlines if deadline is not None)

    def on_due(self) -> None:
        now_ns = self.network.now_ns
        naks = self.subscriber.on_time(now_ns)
        self.ask(naks, self.shard.shape.retransmitter_names)
        if self.gateway.deadline_ns <= now_ns:
            self._keep_time()
        else:
            self._call_primary()

    def turn(self) -> None:
        if self.subscriber.failure is not None and self.failure is None:
            self.failure = self.subscriber.failure
            self.give_up(self.failure)
            self._say_goodbye(ClosingReason.FEED_LOST)
        limit = 2 * self.shard.shape.gateway.uplink.pending + MOST_BEYOND_LIMIT
        assert self.gateway.uplink.pending_count <= limit, f"{self.name}'s uplink grows"
        self._turns += 1
        if self._turns % TURNS_PER_CHECK == 0:
            self.check()
        if self._is_stopping and not (self.connections.count or self.gateway.uplink.pending_count):
            self._die()
        self.timer.set()

    # How it is done.

    def flush(self) -> None:
        """Carries out what the gateway asks for, after anything that has happened to it."""
        now_ns = self.network.now_ns
        self.connections.flush(now_ns)
        for verification in self._checks.take(now_ns):
            act = partial(self._verify, verification)
            self.network.after(self._check_ns(), partial(self.do, self.life, act))
        self._call_primary()

    def _keep_time(self) -> None:
        self._tell_of_feed(NO_FRAMES)  # the epoch and the commit move without groups, too
        self.gateway.on_time(self.network.now_ns)
        self.flush()

    def _tell_of_feed(self, run: Run) -> None:
        subscriber = self.subscriber
        self.gateway.on_feed(
            run, subscriber.epoch, subscriber.committed_sequence, self.network.now_ns
        )

    def _on_zookeeper(self) -> None:
        self.dialer.on_record(self.member.primary)
        self._call_primary()

    def _call_primary(self) -> None:
        """Connects to the primary, or ends that, and sends it what there is to send."""
        match self.dialer.take_action(self.network.now_ns):
            case Dial(record):
                self._dial(record)
            case HangUp():
                self._hang_up()
        data = self.dialer.take_output()
        if data:
            assert self._line is not None
            self._line.write(data)

    def _dial(self, record: PrimaryRecord) -> None:
        self._line = self.shard.tcp.connect(
            self,
            self.shard.holders[parse_address(record.commands).host],
            COMMANDS_PORT,
            partial(_PrimaryLine, self),
            self._on_failed,
            self.shard.shape.gateway.uplink.connect_timeout_ns,
        )

    def _on_failed(self, why: str) -> None:
        self._line = None
        self.dialer.on_failed(why, self.network.now_ns)

    def _hang_up(self) -> None:
        assert self._line is not None
        was_made = self.gateway.uplink.is_connected
        self._line.abort()
        if not was_made:  # nothing more is heard of an attempt that is given up
            self._on_failed("given up")

    def _check_ns(self) -> int:
        random = self._random
        longest_ns = SLOWEST_CHECK_NS if random.random() < SLOW_CHECK_SHARE else LONGEST_CHECK_NS
        return random.randint(SHORTEST_CHECK_NS, longest_ns)

    def _verify(self, verification: Verification) -> None:
        """A secret has been looked at."""
        if self._random.random() < FAILED_CHECK_SHARE:
            self._checks.on_failed(verification, self.network.now_ns)
        else:
            client = client_of(self.shard, verification.name, verification.secret)
            self._tell_of_feed(NO_FRAMES)  # it is not let in while this gateway lags behind
            self._checks.on_checked(verification, client, self.network.now_ns)
        self.flush()

    def _call_later(self, seconds: float, act: Callable[[], object]) -> _Alarm:
        alarm = _Alarm(act)
        self.network.after(int(seconds * SECOND_NS), partial(self.do, self.life, alarm.ring))
        return alarm

    def _say_goodbye(self, reason: ClosingReason) -> None:
        """Ends all sessions, and has what they leave behind committed, for a while; then dies."""
        if self._is_stopping:
            return
        self._is_stopping = True
        self.shard.tcp.close(self, CLIENTS_PORT)
        self.gateway.stop(reason, self.network.now_ns)
        self.flush()
        self._call_later(LAST_WORDS_SECONDS, self._die)

    def _die(self) -> None:
        self.kill()
        raise Died
