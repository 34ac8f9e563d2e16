"""What ZooKeeper guarantees to a shard, in virtual time."""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from tests.engine.cluster_network import Network
from zk.election import PrimaryRecord, ShardView, should_stand

MILLISECOND_NS = 1_000_000
WORD_NS = MILLISECOND_NS  # until a watch has told
SESSION_NS = 2_000 * MILLISECOND_NS
TICK_NS = 50 * MILLISECOND_NS


class Client(Protocol):
    """A process with a session."""

    name: str
    life: int
    reaches_zookeeper: bool
    granted: int | None  # the epoch that it was granted, and leads or means to lead in

    @property
    def runs(self) -> bool: ...

    @property
    def is_electable(self) -> bool: ...

    @property
    def suspected_epoch(self) -> int | None: ...

    @property
    def gives_back(self) -> bool: ...

    def do(self, life: int, act: Callable[[], None]) -> None: ...

    def on_start(self, epoch: int, *, was_here: bool) -> None: ...

    def on_epochs(self, epoch: int) -> None: ...


class ZooKeeper:
    """One grant an epoch, sessions that end, watches that tell in order."""

    def __init__(self, network: Network) -> None:
        self.epoch = 0
        self.primary: PrimaryRecord | None = None
        self.has_quorum = True
        self.grants: list[tuple[int, str]] = []
        self.attempts: list[tuple[int, str]] = []  # the epochs that were tried for, and by whom
        self._network = network
        self._clients: dict[str, Client] = {}
        self._suspicions: dict[str, int] = {}
        self._were_here: set[str] = set()
        self._lives: dict[str, int] = {}  # of those that have a session
        self._seen_ns: dict[str, int] = {}
        network.after(TICK_NS, self._tick)

    def connect(self, client: Client, life: int) -> None:
        """A process's first words: it is here, and asks whether it was."""
        self._clients[client.name] = client
        if life != client.life:
            return
        if not self._reaches(client):
            self._network.after(10 * MILLISECOND_NS, partial(self.connect, client, life))
            return
        was_here = client.name in self._were_here
        self._were_here.add(client.name)
        self._end_session(client.name)  # its earlier life's
        self._begin_session(client)
        self._tell_one(client, partial(client.on_start, self.epoch, was_here=was_here))
        self._tell()

    def expire(self, name: str) -> None:
        """The session of this process is over, whether it lives or not."""
        self._end_session(name)
        self._tell()

    def lose_quorum(self) -> None:
        """Nobody is told or asked anything from here on."""
        self.has_quorum = False

    def return_quorum(self) -> None:
        """The ensemble works again; no session has ended meanwhile."""
        self.has_quorum = True
        self._seen_ns = dict.fromkeys(self._seen_ns, self._network.now_ns)
        self._tell()

    def listen(self, client: Client) -> None:
        """What a process wants ZooKeeper to know."""
        if not self._reaches(client) or self._lives.get(client.name) != client.life:
            return
        if client.granted is not None and client.gives_back:
            client.granted = None
            if self.primary is not None and self.primary.name == client.name:
                self.primary = None
                self._tell()
        epoch = client.suspected_epoch
        if epoch != self._suspicions.get(client.name):
            self._suspicions.pop(client.name, None)
            if epoch is not None:
                self._suspicions[client.name] = epoch
            self._tell()

    def _stand(self, client: Client, life: int, epoch: int) -> None:
        """A candidate's transaction: it wins if nobody was faster."""
        if not self._reaches(client) or client.life != life or not client.is_electable:
            return
        self.attempts.append((epoch + 1, client.name))
        if self.epoch == epoch and self._lives.get(client.name) == life:
            self.epoch = epoch + 1
            self.primary = PrimaryRecord(client.name, self.epoch, "")
            self.grants.append((self.epoch, client.name))
            self._tell_one(client, partial(self._grant, client, self.epoch))
            self._tell()

    def _grant(self, client: Client, epoch: int) -> None:
        client.granted = epoch
        client.on_epochs(epoch)

    def _consider(self, client: Client) -> None:
        """Whether this process stands, now that something may have changed."""
        if client.name not in self._lives or not client.is_electable or not self._reaches(client):
            return
        suspicions = frozenset((epoch, name) for name, epoch in self._suspicions.items())
        view = ShardView(self.epoch, 1, self.primary, frozenset(self._lives), suspicions)
        if should_stand(view, client.name):
            delay_ns = self._network.random.randint(1, 3) * MILLISECOND_NS
            self._network.after(delay_ns, partial(self._stand, client, client.life, self.epoch))

    def _tell(self) -> None:
        if not self.has_quorum:
            return
        for client in tuple(self._clients.values()):
            if self._reaches(client) and client.name in self._lives:
                self._tell_one(client, partial(client.on_epochs, self.epoch))
                self._consider(client)

    def _tell_one(self, client: Client, act: Callable[[], None]) -> None:
        self._network.after(WORD_NS, partial(client.do, client.life, act))

    def _tick(self) -> None:
        """Sessions of those that are not seen any more end; those that are seen have one."""
        now_ns = self._network.now_ns
        for name, client in self._clients.items():
            if not self.has_quorum:
                break
            if self._reaches(client):
                self._seen_ns[name] = now_ns
                if name not in self._lives:
                    self._begin_session(client)
                    self._tell()
                client.do(client.life, lambda: None)
                self._consider(client)
            elif name in self._lives and now_ns - self._seen_ns[name] >= SESSION_NS:
                self.expire(name)
        self._network.after(TICK_NS, self._tick)

    def _begin_session(self, client: Client) -> None:
        if client.name in self._were_here:
            self._lives[client.name] = client.life
            self._seen_ns[client.name] = self._network.now_ns
            if self.primary is None and client.granted == self.epoch:
                self.primary = PrimaryRecord(client.name, self.epoch, "")

    def _end_session(self, name: str) -> None:
        self._lives.pop(name, None)
        self._suspicions.pop(name, None)
        if self.primary is not None and self.primary.name == name:
            self.primary = None

    def _reaches(self, client: Client) -> bool:
        return self.has_quorum and client.runs and client.reaches_zookeeper
