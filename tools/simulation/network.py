"""A bad network in virtual time, and processes on it that are paused, slowed down and killed."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from random import Random

from tools.simulation.trace import LINES, Trace
from tools.simulation.world import MICROSECOND_NS, World

OVERTAKEN_FACTOR = 5  # a datagram that is reordered takes so much longer
TRUNCATED_SHARE = 0.25  # of the datagrams that are damaged; in the others one bit is turned over


@dataclass(frozen=True, slots=True)
class Weather:
    """What the network does to datagrams: shares from 0 to 1, and how long they take."""

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    shortest_delay_ns: int = 20 * MICROSECOND_NS
    longest_delay_ns: int = 400 * MICROSECOND_NS


class Died(BaseException):
    """The process that runs has just been killed: nothing of its turn happens any more."""


class Process:
    """What reaches it while it is paused waits; what reaches a dead one is lost."""

    def __init__(self, network: "Network", name: str) -> None:
        self.name = name
        self.network = network
        self.is_alive = False
        self.is_paused = False
        self.is_gone = False  # it died with its machine: nothing there answers
        self.life = 0  # how often it was started
        self.lag_ns = 0  # so much later than it should does it get to what reaches it
        self.reaches_zookeeper = True  # whether packets between it and ZooKeeper pass
        self.clock_ahead_ns = 0  # of its wall clock, which may jump
        self.sends_to_live: int | None = None  # after so many more, it dies in the act
        self._waiting: list[Callable[[], None]] = []

    @property
    def runs(self) -> bool:
        """Whether it does anything."""
        return self.is_alive and not self.is_paused

    def wall_clock_ns(self) -> int:
        """Nanoseconds since 1970, as its machine believes."""
        return self.network.began_ns + self.network.world.now_ns + self.clock_ahead_ns

    def start(self) -> None:
        """The process starts, with no more of an earlier life than is on its disk."""
        self.life += 1
        self.is_alive, self.is_paused, self.is_gone = True, False, False
        self.sends_to_live = None
        self._waiting.clear()
        self.note("starts")

    def kill(self) -> None:
        """The process dies, as with SIGKILL."""
        self._go_down("dies")

    def vanish(self) -> None:
        """The process dies with its machine, which tells nobody, and answers nobody."""
        self.is_gone = True
        self._go_down("vanishes")

    def pause(self) -> None:
        """The process stops, as with SIGSTOP."""
        if self.is_alive and not self.is_paused:
            self.note("is paused")
            self.is_paused = True

    def unpause(self) -> None:
        """It goes on, with all that waits for it."""
        if self.is_paused:
            self.note("goes on")
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
        self.network.trace.speaker = self.name
        try:
            act()
            self.turn()
        except Died:
            pass

    def send_one(self) -> None:
        """It is about to send something; raises Died when it does not come to that."""
        if not self.is_alive:
            raise Died
        if self.sends_to_live is not None:
            if self.sends_to_live <= 0:
                self.network.count("crash while sending")
                self.kill()
                raise Died
            self.sends_to_live -= 1

    def turn(self) -> None:
        """What the process does after anything that has come in."""

    def _go_down(self, how: str) -> None:
        self._waiting.clear()
        if self.is_alive:
            self.note(how)
            self.is_alive = False
            for hear in self.network.on_death:
                hear(self)

    def note(self, text: str, *values: object) -> None:
        """Something about this process that a reader of the trace wants to know."""
        self.network.trace.note(self.name, text, *values)


class Network:
    """Carries datagrams between processes, with the faults of its weather, under a seed."""

    def __init__(
        self,
        seed: int,
        weather: Weather,
        *,
        began_ns: int = 1_700_000_000_000_000_000,
        trace_lines: int = LINES,
    ) -> None:
        """`began_ns` is the wall clock's time when virtual time begins."""
        self.random = Random(seed)
        self.world = World()
        self.trace = Trace(self.world, trace_lines)
        self.weather = weather
        self.began_ns = began_ns
        self.faults: Counter[str] = Counter()  # how often each kind has befallen anything
        self.healed_ns = 0  # when something was last cut off
        self.on_death: list[Callable[[Process], None]] = []  # called when a process has died
        self._cuts: set[tuple[str, str]] = set()  # from, to

    @property
    def now_ns(self) -> int:
        """Virtual time."""
        return self.world.now_ns

    def after(self, delay_ns: int, act: Callable[[], None]) -> None:
        """Have something happen later."""
        self.world.at(self.world.now_ns + delay_ns, act)

    def count(self, fault: str) -> None:
        """A fault has befallen something."""
        self.faults[fault] += 1

    def cut(self, senders: Iterable[str], receivers: Iterable[str]) -> None:
        """From now on nothing passes from the one to the other."""
        receivers = tuple(receivers)
        self._cuts |= {(sender, receiver) for sender in senders for receiver in receivers}

    def join(self, senders: Iterable[str], receivers: Iterable[str]) -> None:
        """Everything passes again from the one to the other."""
        receivers = tuple(receivers)
        self._cuts -= {(sender, receiver) for sender in senders for receiver in receivers}

    def heal(self) -> None:
        """Everything passes again."""
        if self._cuts:
            self.healed_ns = self.now_ns
        self._cuts.clear()

    @property
    def is_whole(self) -> bool:
        """Whether everything passes."""
        return not self._cuts

    def passes(self, sender: str, receiver: str) -> bool:
        """Whether anything gets from the one to the other."""
        return (sender, receiver) not in self._cuts

    def delay_ns(self) -> int:
        """How long the next thing takes on its way."""
        weather = self.weather
        spread_ns = weather.longest_delay_ns - weather.shortest_delay_ns
        return weather.shortest_delay_ns + int(self.random.random() * spread_ns)

    def send(
        self, sender: Process, receiver: Process, take: Callable[[bytes], None], data: bytes
    ) -> None:
        """A process sends a datagram to another one; raises Died when it dies of that."""
        sender.send_one()
        self._carry(sender, receiver, take, data)

    def multicast(
        self,
        sender: Process,
        receivers: Iterable[tuple[Process, Callable[[bytes], None]]],
        data: bytes,
    ) -> None:
        """One datagram to many; each of them has its own luck with it."""
        sender.send_one()
        for receiver, take in receivers:
            self._carry(sender, receiver, take, data)

    def _carry(
        self, sender: Process, receiver: Process, take: Callable[[bytes], None], data: bytes
    ) -> None:
        """A datagram sets out: it may get lost, doubled, damaged, or overtaken."""
        if not receiver.is_alive:
            return
        if (sender.name, receiver.name) in self._cuts:
            self.faults["datagram cut off"] += 1
            return
        delay_ns = self.delay_ns() + receiver.lag_ns
        weather = self.weather
        luck = self.random.random()
        if luck < weather.drop:
            self.faults["datagram lost"] += 1
            return
        luck -= weather.drop
        if luck < weather.duplicate:
            self.faults["datagram doubled"] += 1
            self._arrive(delay_ns + self.delay_ns(), receiver, take, data)
        elif luck - weather.duplicate < weather.reorder:
            self.faults["datagram overtaken"] += 1
            delay_ns *= OVERTAKEN_FACTOR
        elif luck - weather.duplicate - weather.reorder < weather.corrupt:
            self.faults["datagram damaged"] += 1
            data = self._damaged(data)
        self._arrive(delay_ns, receiver, take, data)

    def _arrive(
        self, delay_ns: int, receiver: Process, take: Callable[[bytes], None], data: bytes
    ) -> None:
        self.after(delay_ns, partial(receiver.do, receiver.life, partial(take, data)))

    def _damaged(self, data: bytes) -> bytes:
        if self.random.random() < TRUNCATED_SHARE:
            return data[: self.random.randrange(len(data))]
        damaged = bytearray(data)
        damaged[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        return bytes(damaged)
