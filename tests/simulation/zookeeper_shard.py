"""Simulated processes that do nothing but take part in ZooKeeper, and what befalls them."""

from collections.abc import Callable
from random import Random

from tools.simulation.network import Network, Process, Weather
from tools.simulation.world import MILLISECOND_NS
from tools.simulation.zookeeper import Ensemble

TIMEOUT_MS = 2000
FIVE = ("e1", "e2", "e3", "r1", "r2")


class Holder(Process):
    """A replica e... or retransmitter r..., and what it was granted in all its lives."""

    def __init__(self, network: Network, ensemble: Ensemble, name: str) -> None:
        super().__init__(network, name)
        self.is_replica = name.startswith("e")
        self.grants: list[int] = []
        self.turns = self.changes = 0
        self._ensemble = ensemble
        self.start()

    def start(self) -> None:
        super().start()
        self.member = self._ensemble.join(
            self,
            role="replica" if self.is_replica else "retransmitter",
            holder=True,
            commands=f"{self.name}:1" if self.is_replica else None,
            on_change=self._on_change,
        )

    def turn(self) -> None:
        self.turns += 1

    def wish(self, act: Callable[[], None]) -> None:
        """It comes to want something."""
        self.do(self.life, act)

    def be_electable(self, value: bool = True) -> None:
        """It may be elected, or not any more."""
        self.wish(lambda: setattr(self.member, "electable", value))

    def _on_change(self) -> None:
        self.changes += 1
        granted = self.member.granted
        if granted is not None and granted not in self.grants:
            self.grants.append(granted)


class Shard:
    """Holders around one ensemble, and virtual time."""

    def __init__(self, seed: int, *names: str) -> None:
        self.network = Network(seed, Weather())
        self.ensemble = Ensemble(self.network, session_timeout_ns=TIMEOUT_MS * MILLISECOND_NS)
        self.holders = {name: Holder(self.network, self.ensemble, name) for name in names}

    def __getitem__(self, name: str) -> Holder:
        return self.holders[name]

    def run(self, milliseconds: float) -> None:
        """Let time pass."""
        until_ns = self.network.now_ns + int(milliseconds * MILLISECOND_NS)
        self.network.world.at(until_ns, lambda: None)
        self.network.world.run(lambda: self.network.now_ns >= until_ns, until_ns)

    def run_until(self, is_so: Callable[[], bool], milliseconds: float = 5000) -> float:
        """Let time pass until something is so; how many milliseconds it took."""
        began_ns = self.network.now_ns
        until_ns = began_ns + int(milliseconds * MILLISECOND_NS)
        lines = "\n".join(self.network.trace.lines()[-30:])
        assert self.network.world.run(is_so, until_ns), f"it did not come to that:\n{lines}"
        return (self.network.now_ns - began_ns) / MILLISECOND_NS

    def is_agreed(self) -> bool:
        """Whether all who live know all others, and the same one who reigns in the newest epoch."""
        living = {name: each for name, each in self.holders.items() if each.is_alive}
        epoch = self.ensemble.epoch
        reigning = [name for name, each in living.items() if each.member.granted is not None]
        return len(reigning) == 1 and all(
            each.member.connected
            and each.member.epoch_at_start is not None
            and each.member.epoch == epoch
            and each.member.members.keys() == living.keys()
            and each.member.primary == (reigning[0], epoch, f"{reigning[0]}:1")
            for each in living.values()
        )


def led_shard(seed: int = 1, *names: str) -> Shard:
    """A shard whose first process reigns in epoch 1; the other replicas may be elected."""
    shard = Shard(seed, *(names or FIVE))
    holders = shard.holders.values()
    shard.run_until(lambda: all(each.member.epoch_at_start is not None for each in holders))
    first = next(iter(holders))
    first.be_electable()
    shard.run_until(shard.is_agreed)
    for each in holders:
        if each.is_replica:
            each.be_electable()
    shard.run(500)
    assert shard.ensemble.grants == [(1, first.name)]
    return shard


def troubled_shard(seed: int, steps: int = 300) -> Shard:
    """A shard after a life full of faults, which are over; each step is checked."""
    shard = Shard(seed, *FIVE)
    random = Random(seed)
    for each in shard.holders.values():
        each.be_electable(each.is_replica)
    for _ in range(steps):
        _take_step(shard, random)
        shard.run(random.choice((0.3, 1, 1, 2, 5, 20, 60, 300)))
        shard.ensemble.check()
        granted = [epoch for each in shard.holders.values() for epoch in each.grants]
        assert len(granted) == len(set(granted)), f"granted twice: {sorted(granted)}"
        assert set(granted) <= {epoch for epoch, _ in shard.ensemble.grants}
    shard.ensemble.return_quorum()
    for each in shard.holders.values():
        each.reaches_zookeeper = True
        each.unpause()
        each.sends_to_live = None
        if not each.is_alive:
            each.start()
        if each.is_replica:
            each.be_electable()
    return shard


def _take_step(shard: Shard, random: Random) -> None:
    ensemble = shard.ensemble
    name = random.choice(FIVE)
    holder = shard[name]
    member = holder.member

    def start() -> None:
        if not holder.is_alive:
            holder.start()
            holder.be_electable(holder.is_replica)

    def suspect() -> None:
        if member.epoch is not None and member.granted is None:
            member.suspect(member.epoch)

    def die_while_sending() -> None:
        holder.sends_to_live = random.randrange(6)

    steps: list[tuple[int, Callable[[], None]]] = [
        (2, holder.pause),
        (6, holder.unpause),
        (1, holder.kill),
        (1, die_while_sending),
        (8, start),
        (2, lambda: setattr(holder, "reaches_zookeeper", False)),
        (6, lambda: setattr(holder, "reaches_zookeeper", True)),
        (2, lambda: ensemble.drop_connection(name)),
        (2, lambda: ensemble.expire(name)),
        (1, ensemble.lose_quorum),
        (8, ensemble.return_quorum),
        (6, lambda: holder.be_electable(holder.is_replica and random.random() < 0.8)),
        (25, lambda: holder.wish(suspect)),
        (3, lambda: holder.wish(member.withdraw)),
        (1, lambda: holder.wish(member.yield_epoch)),
        (3, lambda: holder.wish(lambda: member.observe_epoch(ensemble.epoch))),
    ]
    random.choices([step for _, step in steps], [weight for weight, _ in steps])[0]()


def story(seed: int) -> str:
    """All that happened in such a life, as text."""
    shard = troubled_shard(seed)
    shard.run_until(shard.is_agreed, 10_000)
    return "\n".join((*shard.network.trace.lines(), str(shard.ensemble.attempts)))
