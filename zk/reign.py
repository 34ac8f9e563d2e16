"""Who reigns, and how a replica takes, keeps and gives up an epoch.

Sans-I/O. An epoch is taken in one transaction, which counts `epoch` up from the version that was
read and puts a `primary` node in the place of the old one. Of several candidates one gets it; the
others read that there is a new primary. A winner whose answer was lost reads that it has won: the
`primary` node of the newest epoch belongs to its own session.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from zk.dialogue import Dialogue, Slot, Task
from zk.election import PrimaryRecord, ShardView, should_stand
from zk.nodes import ShardNodes, decode_epoch, decode_primary, encode_epoch, encode_primary
from zk.operations import Answer, Change, CheckVersion, Create, Delete, Node, Read, SetData

_MILLISECOND_NS = 1_000_000
# A server may lag so far behind the feed without having forgotten anything.
LAG_NS = 100 * _MILLISECOND_NS


class Company(NamedTuple):
    """What a member knows of the others."""

    is_known: bool  # all of it was read on this connection
    is_member: bool  # its own node is among the members
    is_replaced: bool  # a later process of the same name has put its node there
    holders: frozenset[str]  # those that are alive
    suspicions: frozenset[tuple[int, str]]


class _Epoch(NamedTuple):
    """The `epoch` node as read."""

    value: int
    version: int


class _Primary(NamedTuple):
    """The `primary` node as read."""

    record: PrimaryRecord | None  # None when it holds something else
    owner: int  # the session that it is gone with


@dataclass(slots=True, eq=False, repr=False)
class Reign:
    """What one process knows about the newest epoch, and its own part in it."""

    shard: ShardNodes
    dialogue: Dialogue
    name: str
    commands: str | None  # where it takes commands as primary; None: it can't be one
    return_time_ns: int  # how long a primary has to come back to a ZooKeeper that forgot it
    electable: bool = False
    granted: int | None = None
    highest: int = 0  # the newest epoch seen anywhere
    is_read: bool = False  # whether ZooKeeper has ever told the epoch
    _yielded: int = 0  # the newest epoch that was granted and given up
    _session: int = 0  # the newest one
    _epoch: _Epoch | None = None
    _primary: _Primary | None = None
    _created: tuple[int, int] | None = None  # of the `epoch` node: tells a ZooKeeper that forgot
    _is_forgotten: bool = False
    _may_return_until_ns: int | None = None
    _behind_since_ns: int | None = None
    _epoch_slot: Slot = field(init=False)
    _primary_slot: Slot = field(init=False)

    def __post_init__(self) -> None:
        add_slot = self.dialogue.add_slot
        self._epoch_slot = add_slot(
            Slot(Task.READ_EPOCH, Read(self.shard.epoch), self._on_epoch, needs_node=True)
        )
        self._primary_slot = add_slot(
            Slot(Task.READ_PRIMARY, Read(self.shard.primary), self._on_primary)
        )

    @property
    def primary(self) -> PrimaryRecord | None:
        """Who reigns, as last read."""
        return None if self._primary is None else self._primary.record

    @property
    def epoch_read(self) -> int | None:
        """The epoch as read on this connection, by the newest read that is answered."""
        if self._epoch is None or not self._epoch_slot.is_known:
            return None
        return self._epoch.value

    @property
    def is_epoch_fresh(self) -> bool:
        """Whether nothing says that the epoch has changed since it was read."""
        return self._epoch_slot.is_fresh

    def read_again(self) -> None:
        """Read the epoch again, whatever is known of it."""
        self._epoch_slot.is_stale = True

    def on_connected(self, session: int) -> None:
        """There is a connection for this session."""
        self._session = session

    def observe(self, epoch: int) -> None:
        """The feed has shown this epoch; so ZooKeeper must have granted it."""
        self.highest = max(self.highest, epoch)
        if self.granted is not None and self.granted < epoch:
            self.give_up()
        if self._epoch is not None and self._epoch.value < epoch:
            self._epoch_slot.is_stale = True

    def give_up(self) -> None:
        """Reign no more in the epoch that is granted."""
        if self.granted is not None:
            self._yielded = self.granted
            self.granted = None

    def tend(self, now_ns: int, company: Company) -> None:
        """Ask for what is to be changed about the reign, when it is known what there is."""
        if company.is_replaced:
            self.give_up()
        epoch = self._epoch
        if epoch is None or not (self.is_epoch_fresh and self._primary_slot.is_fresh):
            return
        self._keep_time(epoch.value, now_ns)
        self._settle(epoch.value, company)
        if not self.dialogue.is_free(Task.REIGN, now_ns):
            return
        if epoch.value < self.highest:
            self._bring_up(epoch, now_ns)
        elif self.granted is not None:
            if company.is_known and not self._owns_primary:
                self._restore(epoch, self.granted)
        elif self._should_remove(company):
            self._write(CheckVersion(self.shard.epoch, epoch.version), Delete(self.shard.primary))
        elif self._may_stand(company) and should_stand(self.view(company), self.name):
            self._take_over(epoch)

    def view(self, company: Company) -> ShardView:
        """What has been read, for the rules of the election."""
        epoch = self._epoch
        return ShardView(
            epoch=0 if epoch is None else epoch.value,
            epoch_version=epoch.version if epoch is not None and self.is_epoch_fresh else None,
            primary=self.primary,
            holders=company.holders,
            suspicions=company.suspicions,
            primary_may_return=self._may_return_until_ns is not None,
        )

    def deadlines_ns(self) -> Iterator[int]:
        """When `tend` should be called again, though nothing happens before."""
        if self._may_return_until_ns is not None:
            yield self._may_return_until_ns
        if self._behind_since_ns is not None:
            yield self._behind_since_ns + LAG_NS

    def check(self) -> None:
        """Raises AssertionError when the epochs contradict each other."""
        assert self._yielded <= self.highest
        if self.granted is not None:
            assert self._yielded < self.granted == self.highest

    @property
    def _owns_primary(self) -> bool:
        return self._primary is not None and self._primary.owner == self._session

    def _settle(self, epoch: int, company: Company) -> None:
        """Find out what has become of this process's own reign."""
        record = self.primary
        if record is None or record.epoch != epoch:
            return
        self._may_return_until_ns = None
        if self.granted is None and self._owns_primary and epoch > self._yielded:
            if not company.is_replaced:
                self._win(epoch)
        elif self.granted == epoch and record.name != self.name:
            self.give_up()  # a ZooKeeper that forgot has granted it twice

    def _win(self, epoch: int) -> None:
        self.highest = max(self.highest, epoch)
        if self.electable and epoch == self.highest:
            self.granted = epoch
        else:
            self._yielded = epoch

    def _keep_time(self, epoch: int, now_ns: int) -> None:
        if self._is_forgotten:
            self._is_forgotten = False
            self._may_return_until_ns = now_ns + self.return_time_ns
        elif self._may_return_until_ns is not None and now_ns >= self._may_return_until_ns:
            self._may_return_until_ns = None
        if epoch >= self.highest:
            self._behind_since_ns = None
        elif self._behind_since_ns is None:
            self._behind_since_ns = now_ns

    def _bring_up(self, epoch: _Epoch, now_ns: int) -> None:
        """Tell a ZooKeeper that forgot which epochs were granted already."""
        assert self._behind_since_ns is not None
        if now_ns >= self._behind_since_ns + LAG_NS:
            self._is_forgotten = True
            self._write(SetData(self.shard.epoch, encode_epoch(self.highest), epoch.version))

    def _restore(self, epoch: _Epoch, granted: int) -> None:
        """Put the own node back, unless somebody else has taken the next epoch."""
        old = [Delete(self.shard.primary)] if self._primary is not None else []
        node = encode_primary(self._record(granted))
        self._write(
            CheckVersion(self.shard.epoch, epoch.version), *old, Create(self.shard.primary, node)
        )

    def _may_stand(self, company: Company) -> bool:
        return self.electable and company.is_known and company.is_member

    def _should_remove(self, company: Company) -> bool:
        """Whether the `primary` node is this process's own and not granted.

        That may be one of an earlier process of the same name. It is dead; or it has been paused,
        and wakes. Then it must find itself replaced as a member first, lest it put its node back.
        """
        record = self.primary
        is_named = record is not None and record.name == self.name
        return self._owns_primary or (is_named and company.is_known and company.is_member)

    def _take_over(self, epoch: _Epoch) -> None:
        successor = _Epoch(epoch.value + 1, epoch.version + 1)
        old = [Delete(self.shard.primary)] if self._primary is not None else []
        self._write(
            SetData(self.shard.epoch, encode_epoch(successor.value), epoch.version),
            *old,
            Create(self.shard.primary, encode_primary(self._record(successor.value))),
            taken=successor,
        )

    def _record(self, epoch: int) -> PrimaryRecord:
        assert self.commands is not None, "only a replica can be primary"
        return PrimaryRecord(self.name, epoch, self.commands)

    def _write(self, *changes: Change, taken: _Epoch | None = None) -> None:
        self.dialogue.write(
            Task.REIGN,
            changes,
            (self._epoch_slot, self._primary_slot),
            partial(self._on_written, taken),
        )

    def _on_written(self, taken: _Epoch | None, answer: Answer) -> None:
        if taken is not None:
            self._epoch = taken
            self._primary = _Primary(self._record(taken.value), self._session)
            self._win(taken.value)

    def _on_epoch(self, answer: Answer) -> None:
        assert isinstance(answer, Node)
        epoch = _Epoch(decode_epoch(answer.data), answer.version)
        if self._created is not None and self._created != answer.created:
            self._is_forgotten = True
        self._created = answer.created
        self._epoch = epoch
        self.is_read = True
        self.observe(epoch.value)

    def _on_primary(self, answer: Answer) -> None:
        if not isinstance(answer, Node):
            self._primary = None
            return
        self._primary = _Primary(decode_primary(answer.data), answer.owner)
        if self._primary.record is not None:
            self.observe(self._primary.record.epoch)
