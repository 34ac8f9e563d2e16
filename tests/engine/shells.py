"""A replica between a feed, other holders and ZooKeeper, all of which a test plays."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engine.machine import Machine
from engine.markets import market_builder
from engine.primary import LeadSettings
from engine.replica import (
    Replica,
    ReplicaRules,
    State,
)
from feed.schema import HolderKind
from tests.engine.cluster import LISTING
from tests.engine.writing import (
    FIVE,
    datagram,
    holder,
    packets,
    said,
)

REPLICAS = ("e1", "e2", "e3")
ACK, ASK, ANSWER = HolderKind.ACK, HolderKind.ASK, HolderKind.ANSWER
FORGOT, JOIN, WELCOME = HolderKind.FORGOT, HolderKind.JOIN, HolderKind.WELCOME


@dataclass
class Shell:
    """A replica, e1, and what it has let out."""

    replica: Replica
    packets: list[bytes] = field(default_factory=list)
    words: list[tuple[str, HolderKind, int]] = field(default_factory=list)

    def hear(self, datagrams: Sequence[bytes], now_ns: int = 0) -> None:
        """Packets of the feed arrive, all of them before it looks."""
        self.replica.on_datagrams(datagrams, now_ns)
        self.turn(now_ns)

    def be_told(
        self, kind: HolderKind, speaker: str, *, epoch: int, last: int = 0, now_ns: int = 0
    ) -> None:
        """Another holder says something."""
        self.replica.on_word(datagram(kind, speaker, epoch=epoch, last=last), speaker, now_ns)
        self.turn(now_ns)

    def grant(self, epoch: int, now_ns: int = 0) -> None:
        """ZooKeeper grants an epoch."""
        self.replica.on_epochs(epoch, epoch, now_ns)
        self.turn(now_ns)

    def turn(self, now_ns: int = 0) -> None:
        """Keep what goes out."""
        out = self.replica.turn(now_ns)
        self.packets += out.packets
        self.words += said(out.words)

    def pass_time(self, now_ns: int) -> None:
        """Something is due."""
        self.replica.on_time(now_ns)
        self.turn(now_ns)

    def heard(self) -> list[tuple[str, HolderKind, int]]:
        """What it has said since the last time."""
        words, self.words = self.words, []
        return words


def replica(
    *,
    holders: Sequence[str] = FIVE,
    epoch_at_start: int = 0,
    was_here: bool = False,
    build_machine: Callable[[], Machine] | None = None,
) -> Shell:
    """One that has just started, and knows from ZooKeeper what was before."""
    replicas = tuple(name for name in REPLICAS if name in holders)
    made = Replica(
        holder(),
        ReplicaRules(tuple(holders), replicas, LeadSettings(), (LISTING,)),
        build_machine or market_builder(),
        lambda: 5_000,
    )
    made.holder.on_start(epoch_at_start, was_here=was_here, now_ns=0)
    return Shell(made)


def following(frames: Sequence[bytes], *, committed: int = 0) -> Shell:
    """A backup that has this list of epoch 1."""
    made = replica()
    made.hear(packets(frames, committed=committed))
    return made


def leading(epoch: int = 1) -> Shell:
    """A primary without a word from anybody else but what made it one."""
    made = replica()
    made.grant(epoch)
    for name in ("r1", "r2"):
        made.be_told(ANSWER, name, epoch=epoch)
    assert made.replica.state is State.PRIMARY
    made.heard()
    return made
