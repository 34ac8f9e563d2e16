"""A simulated process that reads the feed, and asks for what it lacks."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

from feed.gap import DEFAULT_REPAIR_POLICY, GapFailure, Nak
from tools.simulation.network import Process
from tools.simulation.shard import Shard
from tools.simulation.world import MILLISECOND_NS, Timer

# A reader that can't go on is started again by whoever runs it.
RESTART_NS = 100 * MILLISECOND_NS


class Listening(Process, ABC):
    """Has a timer at `deadline_ns`, which is to be set at the end of each `turn`."""

    def __init__(self, shard: Shard, name: str) -> None:
        super().__init__(shard.network, name)
        self.shard = shard
        self.timer = Timer(shard.network.world, lambda: None, lambda: None)

    @abstractmethod
    def deadline_ns(self) -> int | None:
        """When something is due."""

    @abstractmethod
    def on_due(self) -> None:
        """Do what is due."""

    def start(self) -> None:
        super().start()
        life = self.life
        self.timer = Timer(
            self.network.world,
            lambda: self.deadline_ns() if self.runs and self.life == life else None,
            lambda: self.do(life, self.on_due),
        )

    def give_up(self, failure: GapFailure, shard: Shard) -> None:
        """It can't have a part of a list; raises AssertionError if it should have had it."""
        self.note("can't read the list any further: {}", failure)
        assert "retransmitter" in failure.reason, f"{self.name}: {failure}"
        is_excused = lacked_repairs(shard, failure.first_sequence)
        assert is_excused, f"{self.name} was not helped: {failure}"
        self.start_again_later()

    def start_again_later(self) -> None:
        """Whoever runs it starts it again once it is dead, which may take a while."""
        self.network.after(RESTART_NS, partial(self._start_again, self.life))

    def _start_again(self, life: int) -> None:
        if self.is_alive and self.life == life:
            self.start_again_later()
        elif not self.is_alive:
            self.start()

    def ask(
        self, naks: Sequence[Nak], peers: Sequence[str], shard: Shard, take: Callable[..., None]
    ) -> None:
        """Send NAKs, each to the holder of the shard that its source number stands for; `take` gets
        each datagram that answers, and its `source`."""
        for source, data in naks:
            peer = shard.holders[peers[source]]
            answered = partial(take, source=source)
            self.network.send(
                self, peer, partial(peer.on_nak, asker=self, life=self.life, take=answered), data
            )


def lacked_repairs(shard: Shard, sequence: int) -> bool:
    """Whether something has kept all retransmitters from helping with a frame, not long ago, or
    will ever: one that has lost its disk may begin its list with a snapshot."""
    network = shard.network
    since_ns = network.now_ns - DEFAULT_REPAIR_POLICY.give_up_silent_after_ns
    return (
        not network.is_whole
        or network.healed_ns > since_ns
        or all(
            not retransmitter.runs
            or retransmitter.steady_since_ns > since_ns
            or retransmitter.holder.list.first_sequence > sequence
            for retransmitter in map(shard.holders.__getitem__, shard.shape.retransmitter_names)
        )
    )
