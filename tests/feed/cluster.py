"""A primary, retransmitters and a subscriber on a bad network, in virtual time, under a seed."""

from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from feed.cache import FrameCache
from feed.faults import Faults, FaultShares
from feed.gap import DEFAULT_REPAIR_POLICY, Nak, RepairPolicy
from feed.publisher import Publisher
from feed.receiver import Receiver
from feed.repair import RepairLimits, RepairResponder
from feed.run import run_of_frames
from feed.subscriber import Group, Subscriber
from tests.feed.lists import SECOND_NS, SHARD
from tools.simulation.world import Timer, World

CACHE_BYTES = 64 << 20
SHORTEST_DELAY_NS, LONGEST_DELAY_NS = 20_000, 400_000
EPOCH = 3


class Holder:
    """Who answers NAKs: the primary or a retransmitter. One that is not alive does nothing."""

    def __init__(self, cache: FrameCache, limits: RepairLimits) -> None:
        self.is_alive = True
        self.cache = cache
        self.responder = RepairResponder(shard=SHARD, held=cache, limits=limits)
        self.epoch = 0
        self.committed_sequence = 0

    def answer(self, data: bytes, requester: object, now_ns: int) -> list[bytes]:
        if not self.is_alive:
            return []
        return self.responder.on_nak(data, requester, now_ns, self.epoch, self.committed_sequence)


class Node:
    """A receiver with a bad network of its own, and holders that it can ask."""

    def __init__(
        self,
        world: World,
        name: str,
        receiver: "Receiver | Subscriber",
        sources: Sequence[Holder],
        shares: FaultShares,
        random: Random,
    ) -> None:
        self.name = name
        self.receiver = receiver
        self.is_checked = True  # whether all invariants are checked after each datagram
        self._world = world
        self._sources = sources
        self._random = random
        self._packets = shares.faults(random)
        self._answers = [shares.faults(random) for _ in sources]
        self._naks = [shares.faults(random) for _ in sources]
        self._timer = Timer(world, lambda: receiver.deadline_ns, self._on_time)

    def send(self, data: bytes) -> None:
        """A packet of the feed sets out for this node."""
        self._deliver(self._packets, data, None)

    def take(self, data: bytes, source: int | None) -> None:
        """A datagram has arrived."""
        self.receiver.on_datagram(data, self._world.now_ns, source)

    def _deliver(self, faults: Faults, data: bytes, source: int | None) -> None:
        for arrived in faults.apply(data):
            self._later(partial(self._arrive, arrived, source))

    def _arrive(self, data: bytes, source: int | None) -> None:
        self.take(data, source)
        if self.is_checked:
            self.receiver.check()
        self._timer.set()

    def _on_time(self) -> None:
        for nak in self.receiver.on_time(self._world.now_ns):
            self._ask(nak)

    def _ask(self, nak: Nak) -> None:
        for arrived in self._naks[nak.source].apply(nak.data):
            self._later(partial(self._be_answered, arrived, nak.source))

    def _be_answered(self, data: bytes, source: int) -> None:
        for answer in self._sources[source].answer(data, self.name, self._world.now_ns):
            self._deliver(self._answers[source], answer, source)

    def _later(self, act: Callable[[], None]) -> None:
        delay_ns = self._random.randint(SHORTEST_DELAY_NS, LONGEST_DELAY_NS)
        self._world.at(self._world.now_ns + delay_ns, act)


class RetransmitterNode(Node):
    """Receiver, cache and responder, as a retransmitter puts them together."""

    def __init__(
        self,
        world: World,
        name: str,
        receiver: Receiver,
        holder: Holder,
        sources: Sequence[Holder],
        shares: FaultShares,
        random: Random,
    ) -> None:
        super().__init__(world, name, receiver, sources, shares, random)
        self._retransmitter = receiver
        self.holder = holder

    def take(self, data: bytes, source: int | None) -> None:
        self.holder.cache.append(self._retransmitter.on_datagram(data, self._world.now_ns, source))
        self.holder.epoch = self._retransmitter.epoch
        self.holder.committed_sequence = self._retransmitter.committed_sequence


class SubscriberNode(Node):
    """A subscriber, and all that it delivered."""

    def __init__(
        self,
        world: World,
        name: str,
        subscriber: Subscriber,
        sources: Sequence[Holder],
        shares: FaultShares,
        random: Random,
    ) -> None:
        super().__init__(world, name, subscriber, sources, shares, random)
        self.subscriber = subscriber
        self.groups: list[Group] = []

    def take(self, data: bytes, source: int | None) -> None:
        self.groups += self.subscriber.on_datagram(data, self._world.now_ns, source)


class Cluster:
    """Two retransmitters that ask one another and then the primary, and subscribers."""

    def __init__(
        self,
        seed: int,
        shares: FaultShares,
        *,
        policy: RepairPolicy = DEFAULT_REPAIR_POLICY,
        limits: RepairLimits | None = None,
        commit_lag_ns: int = 0,
        subscriber_count: int = 1,
    ) -> None:
        random = Random(seed)
        limits = limits or RepairLimits()
        self.world = World()
        self._commit_lag_ns = commit_lag_ns
        self.primary = Holder(FrameCache(CACHE_BYTES), limits)
        self.primary.epoch = EPOCH
        self._publisher = Publisher(shard=SHARD, epoch=EPOCH)
        self._heartbeats = Timer(self.world, lambda: self._publisher.deadline_ns, self._on_time)
        self.holders = [Holder(FrameCache(CACHE_BYTES), limits) for _ in range(2)]
        self.retransmitters = [
            RetransmitterNode(
                self.world,
                f"retransmitter {i}",
                Receiver(
                    shard=SHARD, source_count=2, random=random, policy=policy, last_resort_count=1
                ),
                self.holders[i],
                [self.holders[1 - i], self.primary],
                shares,
                random,
            )
            for i in range(2)
        ]
        self.subscribers = [
            SubscriberNode(
                self.world,
                f"subscriber {i}",
                Subscriber(shard=SHARD, source_count=2, random=random, policy=policy),
                self.holders,
                shares,
                random,
            )
            for i in range(subscriber_count)
        ]
        self.sent: list[bytes] = []  # packets of the primary's feed
        self.listening: list[Node] = [*self.retransmitters, *self.subscribers]
        self._heartbeats.set()

    def hold(self, groups: Sequence[Sequence[bytes]]) -> None:
        """Let the primary and the retransmitters have had all of these from the beginning."""
        run = run_of_frames(1, [frame for group in groups for frame in group])
        for holder in [self.primary, *self.holders]:
            holder.cache.append(run)
            holder.epoch = EPOCH
            holder.committed_sequence = run.last_sequence
        self._publisher.next_sequence = run.next_sequence
        self.listening = [*self.subscribers]

    def publish(self, groups: Sequence[Sequence[bytes]], *, interval_ns: int) -> int:
        """Have each of these groups published `interval_ns` after the one before.

        Returns the time of the last one.
        """
        for i, group in enumerate(groups):
            self.world.at(self.world.now_ns + i * interval_ns, partial(self._publish, group))
        return self.world.now_ns + (len(groups) - 1) * interval_ns

    def run(self, expected: int, *, limit_ns: int = 60 * SECOND_NS) -> bool:
        """Run until all subscribers have `expected` groups, and all who listen all frames.

        Returns whether they have, within `limit_ns`.
        """
        return self.world.run(lambda: self._has_arrived(expected), limit_ns)

    def _has_arrived(self, expected: int) -> bool:
        return all(len(node.groups) >= expected for node in self.subscribers) and all(
            node.receiver.next_sequence == self._publisher.next_sequence for node in self.listening
        )

    def _publish(self, group: Sequence[bytes]) -> None:
        run = run_of_frames(self._publisher.next_sequence, group)
        self.primary.cache.append(run)
        last = run.last_sequence
        if not self._commit_lag_ns:
            self.primary.committed_sequence = last
        else:
            self.world.at(self.world.now_ns + self._commit_lag_ns, partial(self._commit, last))
        self._send(self._publisher.publish(run, self.primary.committed_sequence, self.world.now_ns))
        self._heartbeats.set()

    def _commit(self, sequence: int) -> None:
        self.primary.committed_sequence = sequence
        self._on_time()
        self._heartbeats.set()

    def _on_time(self) -> None:
        self._send(self._publisher.on_time(self.primary.committed_sequence, self.world.now_ns))

    def _send(self, packets: Sequence[bytes]) -> None:
        for data in packets:
            self.sent.append(data)
            for node in self.listening:
                node.send(data)
