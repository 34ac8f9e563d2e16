"""A simulated subscriber: the production object, what it delivered, and the books that it keeps."""

from functools import partial

from feed.book import Books
from feed.schema import ReplayKind
from feed.subscriber import Group, Subscriber
from tools.simulation.catching_up import CatchingUp
from tools.simulation.listening import Listening
from tools.simulation.shard import Shard


class SubscriberNode(Listening):
    """A subscriber of the whole list."""

    catching_up: CatchingUp

    def __init__(self, shard: Shard, name: str) -> None:
        super().__init__(shard, name)
        self.groups: list[Group] = []  # all that were delivered in this life
        self.books = Books()

    def start(self) -> None:
        super().start()
        self.groups = []
        self.books = Books()
        self.subscriber = Subscriber(
            shard=self.shard.number,
            source_count=len(self.shard.shape.retransmitter_names),
            random=self.network.random,
        )
        self.catching_up = CatchingUp(
            self,
            self.shard.shape.retransmitter_names,
            self.subscriber,
            ReplayKind.LIST,
            self._take_replayed,
            None,
            partial(setattr, self.subscriber, "holds_naks_back"),
        )
        self.network.after(0, partial(self.do, self.life, self.catching_up.stand_by))

    @property
    def frames(self) -> list[bytes]:
        """All frames that were delivered."""
        return [frame.data for group in self.groups for frame in group.frames]

    def on_packet(self, data: bytes, source: int | None = None) -> None:
        """A datagram of the feed, or the answer of the retransmitter with this number."""
        now_ns = self.network.now_ns
        if source is None:
            groups = self.subscriber.on_datagrams([data], now_ns)
        else:
            groups = self.subscriber.on_datagram(data, now_ns, source)
        for group in groups:
            self._take(group)

    def _take_replayed(self, data: bytes) -> None:
        for group in self.subscriber.on_datagram(data, self.network.now_ns, None):
            self._take(group)

    def deadline_ns(self) -> int | None:
        return self.subscriber.deadline_ns

    def on_due(self) -> None:
        naks = self.subscriber.on_time(self.network.now_ns)
        self.ask(naks, self.shard.shape.retransmitter_names, self.shard, self.on_packet)

    def turn(self) -> None:
        if self.subscriber.failure is not None:
            self.give_up(self.subscriber.failure, self.shard)
            self.kill()
        else:
            self.catching_up.wake()
        self.timer.set()

    def _take(self, group: Group) -> None:
        last = self.groups[-1].last_sequence if self.groups else 0
        assert group.first_sequence == last + 1, f"{self.name} was told {group} after {last}"
        frames = group.frames
        is_whole = frames[0].is_command and frames[-1].is_end
        is_whole &= not any(frame.is_command for frame in frames[1:])
        is_whole &= not any(frame.is_end for frame in frames[:-1])
        assert is_whole, f"{self.name} was told a part of a group: {group}"
        self.shard.witness.on_committed(frames)
        self.groups.append(group)
        self.books.apply(group)
