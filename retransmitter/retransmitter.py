"""A retransmitter, sans-I/O: it reads the list like any receiver, keeps it, and answers NAKs.

It is a holder: it acknowledges what it has to the primary, and its answer counts in a takeover. It
repairs its own gaps from its peers. What it has not got it says it lacks, and never guesses.
"""

from collections.abc import Hashable, Sequence

from feed.gap import Nak
from feed.holder import Holder


class Retransmitter:
    """The newest frames of one shard's list, committed or not, for whoever missed some.

    A gap that nobody can fill is final while the epoch lasts: what comes after it is not kept, and
    what was kept before it is still served.
    """

    def __init__(self, holder: Holder, replicas: Sequence[str]) -> None:
        """`replicas` are the names of those who may be primary."""
        self.holder = holder
        self._replicas = replicas
        self._words: list[tuple[str, bytes]] = []

    @property
    def deadline_ns(self) -> int | None:
        """When to call `on_time` next, and `turn` after it."""
        return self.holder.deadline_ns

    @property
    def failure(self) -> None:
        """Never anything: a gap that nobody can fill is not final, a new epoch may make it void."""
        return None

    @property
    def epoch(self) -> int:
        """The highest epoch seen or promised."""
        return self.holder.epoch

    @property
    def next_sequence(self) -> int:
        """The frame that is to come next, or is missing."""
        return self.holder.next_sequence

    @property
    def highest_sequence(self) -> int:
        """The last frame that is known to exist."""
        return self.holder.highest_sequence

    @property
    def suspected_epoch(self) -> int | None:
        """The epoch whose primary it takes for dead."""
        return self.holder.epoch if self.holder.is_suspicious else None

    def is_electable(self, now_ns: int) -> bool:
        """Never: it only keeps the list."""
        return False

    def gives_back(self, epoch: int) -> bool:
        """Never: it is granted none."""
        return False

    def on_datagram(self, data: bytes, now_ns: int, source: int | None = None) -> None:
        """Take in a datagram from the feed, or a peer's answer."""
        self.holder.on_datagram(data, now_ns, source)
        self.holder.list.take_dropped()  # nothing here depends on what has lost

    def on_datagrams(self, datagrams: Sequence[bytes], now_ns: int) -> None:
        """Take in what came from the group at once."""
        self.holder.on_datagrams(datagrams, now_ns)
        self.holder.list.take_dropped()

    def on_time(self, now_ns: int) -> list[Nak]:
        """Do what is due; the NAKs to be sent."""
        join = self.holder.join_word(now_ns)
        if join is not None:
            self._words += [(name, join) for name in self._replicas]
        return self.holder.on_time(now_ns)

    def on_nak(self, data: bytes, requester: Hashable, now_ns: int) -> list[bytes]:
        """The datagrams that answer a NAK, to be sent back to `requester`; none over the limits."""
        return self.holder.on_nak(data, requester, now_ns)

    def on_word(self, data: bytes, sender: str, now_ns: int) -> None:
        """Take in a datagram that the configured holder `sender` sent to this one alone."""
        word = self.holder.read_word(data, sender)
        if word is not None:
            self._words += [(sender, answer) for answer in self.holder.on_word(word, now_ns)]

    def on_start(self, epoch: int, *, was_here: bool, now_ns: int) -> None:
        """ZooKeeper's word: the newest epoch at the start, and whether it was there before that."""
        self.holder.on_start(epoch, was_here=was_here, now_ns=now_ns)

    def on_epochs(self, epoch: int, granted: int | None, now_ns: int) -> None:
        """ZooKeeper's word: the newest epoch that was granted, which is never its own."""
        self.holder.promise(epoch, now_ns)

    def turn(self, now_ns: int) -> list[tuple[str, bytes]]:
        """The datagrams to other holders, each with its name, after anything that has come in."""
        holder = self.holder
        primary = holder.primary
        ack = holder.ack_word(holder.held_sequence, now_ns)
        if ack is not None and primary is not None:
            self._words.append((primary, ack))
        words, self._words = self._words, []
        return words
