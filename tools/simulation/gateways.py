"""A simulated gateway: the very objects of production, and what its shell does around them.

It does what `gateway.process` and `gateway.shard_feeds` do with sockets, tasks and threads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from feed.gap import GapFailure
from feed.messages import SelfTradePrevention
from gateway.client_connections import ClientConnections
from gateway.clients import ClientSettings
from gateway.closing import ClosingReason
from gateway.gateway import Gateway, Verification
from gateway.process import LAST_WORDS_SECONDS, VERIFIER_THREADS
from gateway.secret_checks import SecretChecks
from tools.simulation.gateway_feed import GatewayFeed
from tools.simulation.listening import Listening
from tools.simulation.network import Died
from tools.simulation.shard import EXCHANGE, Shard
from tools.simulation.world import MILLISECOND_NS, SECOND_NS
from zk.directory import Directory

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


class GatewayNode(Listening):
    """A gateway, which reads the lists of all shards that its directory names."""

    gateway: Gateway
    connections: ClientConnections

    def __init__(self, shard: Shard, name: str) -> None:
        """`shard` is the first one of the exchange."""
        super().__init__(shard, name)
        self.feeds: dict[int, GatewayFeed] = {}  # by shard
        self._hears: dict[int, Callable[[bytes], None]] = {}
        self._is_stopping = False
        self._turns = 0

    def start(self) -> None:
        """The process starts, as `gateway.process.run` does."""
        super().start()
        shard, network, life = self.shard, self.network, self.life
        settings = shard.shape.gateway
        self._random = Random(network.random.getrandbits(64))
        self._is_stopping = False
        directory = shard.places.follow(self, self._on_directory)
        self.gateway = Gateway(EXCHANGE, settings, self._random, self.wall_clock_ns, directory)
        self._checks = SecretChecks(self.gateway, VERIFIER_THREADS)
        self.connections = ClientConnections(
            self.gateway, settings, self.flush, lambda: network.now_ns, self._call_later
        )
        self.feeds = {}
        self._read_lists(directory)
        shard.tcp.listen(self, CLIENTS_PORT, self.connections.make)
        network.after(0, partial(self.do, life, self._keep_time))

    def stop(self) -> None:
        """It is asked to stop, as with SIGTERM: it says goodbye to its clients, and dies."""
        self.do(self.life, partial(self._say_goodbye, ClosingReason.GATEWAY_STOPS))

    def check(self) -> None:
        """Raises AssertionError when its invariants do not hold."""
        if self.is_alive:
            self.gateway.check()
            for feed in self.feeds.values():
                feed.subscriber.check()

    def hears(self, shard: int) -> Callable[[bytes], None]:
        """What takes the packets of this shard's feed."""
        if shard not in self._hears:
            self._hears[shard] = partial(self._on_packet, shard)
        return self._hears[shard]

    @property
    def failures(self) -> list[GapFailure]:
        """Why it can't read lists any further."""
        return [feed.failure for feed in self.feeds.values() if feed.failure is not None]

    def deadline_ns(self) -> int | None:
        due_ns = [each for feed in self.feeds.values() for each in feed.deadlines_ns]
        return min([self.gateway.deadline_ns, *due_ns])

    def on_due(self) -> None:
        now_ns = self.network.now_ns
        for feed in self.feeds.values():
            feed.on_time()
        if self.gateway.deadline_ns <= now_ns:
            self._keep_time()
        else:
            self._call_primaries()

    def turn(self) -> None:
        for feed in self.feeds.values():
            if feed.has_just_failed():
                assert feed.failure is not None
                self.give_up(feed.failure, feed.shard)
                self._say_goodbye(ClosingReason.FEED_LOST)
        limit = 2 * self.shard.shape.gateway.uplink.pending + MOST_BEYOND_LIMIT
        for number, shard in self.gateway.shards.items():
            assert shard.uplink.pending_count <= limit, f"{self.name}'s uplink {number} grows"
        self._turns += 1
        if self._turns % TURNS_PER_CHECK == 0:
            self.check()
        if self._is_stopping and not (self.connections.count or self.gateway.pending_count):
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
        self._call_primaries()

    def _on_packet(self, shard: int, data: bytes) -> None:
        feed = self.feeds.get(shard)
        if feed is not None:
            feed.on_packet(data)

    def _on_directory(self, directory: Directory) -> None:
        """Symbols have moved, or there are more shards."""
        self.gateway.on_directory(directory, self.network.now_ns)
        self._read_lists(directory)
        self.flush()

    def _read_lists(self, directory: Directory) -> None:
        """Begin with the lists that are not read yet."""
        for number in directory.shards:
            if number not in self.feeds:
                shard = self.shard.shards[number]
                feed = self.feeds[number] = GatewayFeed(self, shard, self._random)
                feed.join()

    def _keep_time(self) -> None:
        self._tell_of_feeds()
        self.gateway.on_time(self.network.now_ns)
        self.flush()

    def _tell_of_feeds(self) -> None:
        for feed in self.feeds.values():
            feed.tell()

    def _call_primaries(self) -> None:
        for feed in self.feeds.values():
            feed.call_primary()

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
            self._tell_of_feeds()  # it is not let in while this gateway lags behind
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
