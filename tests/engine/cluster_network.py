"""Virtual time, a bad network on it, and processes that can be paused and killed."""

from collections.abc import Callable, Iterable
from functools import partial
from random import Random

from feed.faults import FaultShares
from tests.feed.cluster import World

SHORTEST_DELAY_NS, LONGEST_DELAY_NS = 20_000, 400_000
OVERTAKEN_FACTOR = 5  # a datagram that is reordered takes so much longer


class Network:
    """Carries datagrams between processes, with the faults of `shares`, under a seed."""

    def __init__(self, seed: int, shares: FaultShares) -> None:
        self.random = Random(seed)
        self.world = World()
        self.shares = shares
        self._cuts: set[tuple[str, str]] = set()  # from, to

    @property
    def now_ns(self) -> int:
        """Virtual time."""
        return self.world.now_ns

    def after(self, delay_ns: int, act: Callable[[], None]) -> None:
        """Have something happen later."""
        self.world.at(self.world.now_ns + delay_ns, act)

    def cut(self, senders: Iterable[str], receivers: Iterable[str]) -> None:
        """From now on no datagram passes from the one to the other."""
        receivers = tuple(receivers)
        self._cuts |= {(sender, receiver) for sender in senders for receiver in receivers}

    def heal(self) -> None:
        """Everything passes again."""
        self._cuts.clear()

    def send(
        self, sender: str, process: "Process", take: Callable[[bytes], None], data: bytes
    ) -> None:
        """A datagram sets out: it may get lost, doubled, damaged, or overtaken."""
        if (sender, process.name) in self._cuts:
            return
        shares, random = self.shares, self.random
        if random.random() < shares.drop:
            return
        for _ in range(1 + (random.random() < shares.duplicate)):
            delay_ns = random.randint(SHORTEST_DELAY_NS, LONGEST_DELAY_NS)
            if random.random() < shares.reorder:
                delay_ns *= OVERTAKEN_FACTOR
            arriving = self._damaged(data) if random.random() < shares.corrupt else data
            self.after(delay_ns, partial(process.do, process.life, partial(take, arriving)))

    def _damaged(self, data: bytes) -> bytes:
        if self.random.random() < 0.25:
            return data[: self.random.randrange(len(data))]
        damaged = bytearray(data)
        damaged[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        return bytes(damaged)


class Process:
    """What reaches it while it is paused waits; what reaches a dead one is lost."""

    def __init__(self, network: Network, name: str) -> None:
        self.name = name
        self.network = network
        self.is_alive = False
        self.is_paused = False
        self.life = 0  # how often it was started
        self._waiting: list[Callable[[], None]] = []

    @property
    def runs(self) -> bool:
        """Whether it does anything."""
        return self.is_alive and not self.is_paused

    def start(self) -> None:
        """The process starts, without a memory of an earlier life."""
        self.life += 1
        self.is_alive, self.is_paused = True, False
        self._waiting.clear()

    def kill(self) -> None:
        """The process dies, as with SIGKILL."""
        self.is_alive = False
        self._waiting.clear()

    def pause(self) -> None:
        """The process stops, as with SIGSTOP."""
        self.is_paused = True

    def unpause(self) -> None:
        """It goes on, with all that waits for it."""
        self.is_paused = False
        waiting, self._waiting = self._waiting, []
        for act in waiting:
            self.do(self.life, act)

    def do(self, life: int, act: Callable[[], None]) -> None:
        """Let something reach the process as it was in this life."""
        if not self.is_alive or life != self.life:
            return
        if self.is_paused:
            self._waiting.append(act)
            return
        act()
        self.turn()

    def turn(self) -> None:
        """What the process does after anything that has come in."""
