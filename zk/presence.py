"""What one process has and wants in ZooKeeper: its member node, its suspicion, its reign.

Sans-I/O: events in, operations out. What has been read is compared with what should be, and the
difference is asked for. So there is one way into every state, whatever happened before: a new
session, an answer that was lost, a node that somebody removed, a ZooKeeper that forgot everything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from zk.dialogue import Dialogue, Slot, Task
from zk.election import PrimaryRecord
from zk.nodes import ShardNodes, decode_member, decode_suspicion, encode_member
from zk.operations import (
    Answer,
    Change,
    Children,
    Create,
    Delete,
    Names,
    Operation,
    Prepare,
    ReadChildren,
    ReadNames,
    Synchronize,
)
from zk.reign import Company, Reign


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a process is towards ZooKeeper."""

    name: str
    role: str
    holder: bool
    commands: str | None  # where it takes commands as primary; None: it can't be one
    started_ns: int  # of two processes of one name, the later one counts
    memory: str = ""  # names what it remembers of earlier processes; "": nothing


class Known(NamedTuple):
    """What a process knows about its shard; the last known while ZooKeeper is away."""

    connected: bool
    epoch: int | None  # the newest one that was granted; None until ZooKeeper was read
    epoch_at_start: int | None  # when this process first connected
    was_here: bool  # whether this holder was ever there before this process; known with the epoch
    primary: PrimaryRecord | None
    members: Mapping[str, Mapping[str, Any]]  # who is alive, and what it says of itself
    granted: int | None  # the epoch in which this process reigns
    trouble: str | None  # what ZooKeeper refuses, until it does not any more


class _Member(NamedTuple):
    """A node under `members` as read."""

    fields: Mapping[str, Any]
    owner: int


class Presence:
    """One process in the ZooKeeper of one shard."""

    def __init__(self, shard: ShardNodes, identity: Identity, *, return_time_ns: int) -> None:
        """`return_time_ns`: how long a primary has to come back to a ZooKeeper that forgot it."""
        self._shard = shard
        self._identity = identity
        self._dialogue = Dialogue()
        self._reign = Reign(shard, self._dialogue, identity.name, identity.commands, return_time_ns)
        self._members_slot = self._dialogue.add_slot(
            Slot(Task.READ_MEMBERS, ReadChildren(shard.members), self._on_members, needs_node=True)
        )
        self._suspicions_slot = self._dialogue.add_slot(
            Slot(
                Task.READ_SUSPICIONS,
                ReadNames(shard.suspicions, is_watched=identity.commands is not None),
                self._on_suspicions,
                needs_node=True,
            )
        )
        self._holders_slot = self._dialogue.add_slot(
            Slot(Task.READ_HOLDERS, ReadChildren(shard.holders), self._on_holders, needs_node=True)
        )
        self._registered: dict[str, bytes] = {}  # everybody who was ever there, and the first token
        self._holders_there: frozenset[str] = frozenset()
        self._was_here = False
        self._members: dict[str, _Member] = {}
        self._suspicions: frozenset[tuple[int, str]] = frozenset()
        self._own_suspicions: set[int] = set()  # made by this session: gone with it
        self._suspected: int | None = None
        self._session = 0  # the newest one
        self._epoch_at_start: int | None = None
        self._is_synchronized = False  # on this connection
        self._told: Known | None = None

    # What happens to it.

    def on_connected(self, session: int) -> None:
        """There is a connection for this session: the same as before, or a new one."""
        if session != self._session:
            self._session = session
            self._own_suspicions.clear()
        self._is_synchronized = False
        self._dialogue.open()
        self._reign.on_connected(session)

    def on_disconnected(self) -> None:
        """The connection is lost; whether the session lives on shows when there is another one."""
        self._dialogue.close()

    def on_answer(self, number: int, answer: Answer, now_ns: int) -> None:
        """The answer to an operation."""
        self._dialogue.on_answer(number, answer, now_ns)
        if (
            self._epoch_at_start is None
            and self._is_synchronized
            and self._is_registered
            and self._reign.is_epoch_fresh
        ):
            self._epoch_at_start = self._reign.epoch_read

    def on_watch(self, path: str) -> None:
        """What was read at this path has changed."""
        self._dialogue.on_watch(path)

    # What it is to do.

    @property
    def electable(self) -> bool:
        """Whether it takes the next epoch when the rules say so."""
        return self._reign.electable

    @electable.setter
    def electable(self, value: bool) -> None:
        assert not value or self._identity.commands is not None, "only a replica can be primary"
        self._reign.electable = value

    def suspect(self, epoch: int) -> None:
        """Say that the primary of this epoch is silent; it counts until a newer one is granted."""
        self._suspected = epoch

    def withdraw(self) -> None:
        """Suspect nobody."""
        self._suspected = None

    def observe_epoch(self, epoch: int) -> None:
        """The feed has shown this epoch: ZooKeeper must not be behind it."""
        self._reign.observe(epoch)

    def yield_epoch(self) -> None:
        """Reign no more."""
        self._reign.give_up()

    # What comes out.

    def take_operations(self, now_ns: int) -> list[Operation]:
        """What to ask ZooKeeper for now; to be called after everything that happens."""
        dialogue = self._dialogue
        if not dialogue.is_open:
            return []
        if self._epoch_at_start is None and not self._is_synchronized:
            self._synchronize(now_ns)
        if dialogue.are_nodes_missing:
            dialogue.prepare(self._shard.lasting(self._reign.highest), now_ns)
        else:
            company = self._company()
            self._reign.tend(now_ns, company)
            # Who takes the epoch need not tell anybody first that it suspects the old one; and who
            # is no member does not count, or fights with a later process of its name.
            if company.is_member and not dialogue.is_under_way(Task.REIGN):
                self._tend_suspicion(now_ns)
            self._tend_member(now_ns)
            self._tend_registration(now_ns)
            dialogue.read(now_ns)
        return dialogue.take_operations()

    def deadline_ns(self, now_ns: int) -> int | None:
        """When to call `take_operations` again, if nothing happens before."""
        if not self._dialogue.is_open:
            return None
        return min(
            (
                each_ns
                for each_ns in (*self._dialogue.deadlines_ns(), *self._reign.deadlines_ns())
                if each_ns > now_ns
            ),
            default=None,
        )

    @property
    def known(self) -> Known:
        """What this process knows now."""
        reign = self._reign
        return Known(
            connected=self._dialogue.is_open,
            epoch=reign.highest if reign.is_read else None,
            epoch_at_start=self._epoch_at_start,
            was_here=self._was_here,
            primary=reign.primary,
            members={name: member.fields for name, member in self._members.items()},
            granted=reign.granted,
            trouble=self._dialogue.trouble,
        )

    def take_change(self) -> Known | None:
        """What this process knows, when that has changed since the last call."""
        known = self.known
        if known == self._told:
            return None
        self._told = known
        return known

    def check(self) -> None:
        """Raises AssertionError when what is known contradicts itself."""
        self._dialogue.check()
        self._reign.check()

    def _synchronize(self, now_ns: int) -> None:
        if self._dialogue.is_free(Task.SYNCHRONIZE, now_ns):
            request = Synchronize(self._shard.shard)
            self._dialogue.ask(Task.SYNCHRONIZE, request, self._on_synchronized)

    def _on_synchronized(self, answer: Answer) -> None:
        self._is_synchronized = True
        self._reign.read_again()

    def _company(self) -> Company:
        identity = self._identity
        own = self._members.get(identity.name)
        suspicions = {each for each in self._suspicions if each[1] != identity.name}
        if self._suspected is not None:
            suspicions.add((self._suspected, identity.name))  # its node may be on its way
        return Company(
            is_known=self._members_slot.is_known and self._suspicions_slot.is_known,
            is_member=own is not None and own.owner == self._session,
            is_replaced=own is not None and self._is_later(own),
            holders=frozenset(
                name for name, member in self._members.items() if member.fields.get("holder")
            ),
            suspicions=frozenset(suspicions),
        )

    def _is_later(self, member: _Member) -> bool:
        """Whether this node of the own name belongs to a process that was started later."""
        started_ns = member.fields.get("started_ns", 0)
        return member.owner != self._session and started_ns > self._identity.started_ns

    def _tend_member(self, now_ns: int) -> None:
        if not self._members_slot.is_fresh or not self._dialogue.is_free(Task.MEMBER, now_ns):
            return
        identity = self._identity
        own = self._members.get(identity.name)
        if own is not None and (own.owner == self._session or self._is_later(own)):
            return
        path = self._shard.member(identity.name)
        data = encode_member(identity.role, holder=identity.holder, started_ns=identity.started_ns)
        old = [Delete(path)] if own is not None else []
        self._dialogue.write(Task.MEMBER, (*old, Create(path, data)), (self._members_slot,))

    @property
    def _token(self) -> bytes:
        """What tells a node that this process made, or one whose memory it has, from others."""
        return (self._identity.memory or str(self._identity.started_ns)).encode()

    @property
    def _is_registered(self) -> bool:
        return not self._identity.holder or self._identity.name in self._registered

    def _tend_registration(self, now_ns: int) -> None:
        """Have every holder that was ever there stand in ZooKeeper, this one too.

        The others are named again to a ZooKeeper that forgot: one that comes back later has to
        learn that it was there.
        """
        if not self._holders_slot.is_fresh or not self._dialogue.is_free(Task.REGISTER, now_ns):
            return
        wanted = dict(self._registered)
        if self._identity.holder:
            wanted.setdefault(self._identity.name, self._token)
        missing = [
            (self._shard.holder(name), token)
            for name, token in sorted(wanted.items())
            if name not in self._holders_there
        ]
        if missing:
            self._dialogue.ask(Task.REGISTER, Prepare(tuple(missing)), self._on_registered)

    def _on_registered(self, answer: Answer) -> None:
        self._holders_slot.is_stale = True

    def _on_holders(self, answer: Answer) -> None:
        assert isinstance(answer, Children)
        there = {name: node.data for name, node in answer.nodes.items()}
        self._holders_there = frozenset(there)
        own = self._identity.name
        if own in there and own not in self._registered:
            self._was_here = self._identity.holder and there[own] != self._token
        self._registered.update(there)

    def _tend_suspicion(self, now_ns: int) -> None:
        """Make the own suspicions what they should be; on the path that bounds a takeover.

        So it does not wait until a read under way is answered: its own nodes nobody else makes.
        """
        if not self._suspicions_slot.is_known or not self._dialogue.is_free(Task.SUSPICION, now_ns):
            return
        epoch = self._reign.epoch_read
        if epoch is None:
            return
        name = self._identity.name
        wanted = epoch if self._suspected == epoch else None
        there = sorted(each for each, who in self._suspicions if who == name)
        foreign = [each for each in there if each not in self._own_suspicions]
        changes: list[Change] = [
            Delete(self._shard.suspicion(each, name))
            for each in there
            if each != wanted or each in foreign
        ]
        if wanted is not None and (wanted not in there or wanted in foreign):
            changes.append(Create(self._shard.suspicion(wanted, name), b""))
        if changes:
            self._dialogue.write(
                Task.SUSPICION,
                changes,
                (self._suspicions_slot,),
                partial(self._on_suspected, wanted),
            )

    def _on_suspected(self, wanted: int | None, answer: Answer) -> None:
        name = self._identity.name
        others = {each for each in self._suspicions if each[1] != name}
        self._own_suspicions = set() if wanted is None else {wanted}
        self._suspicions = frozenset(others | {(each, name) for each in self._own_suspicions})

    def _on_members(self, answer: Answer) -> None:
        assert isinstance(answer, Children)
        self._members = {
            name: _Member(decode_member(node.data), node.owner)
            for name, node in sorted(answer.nodes.items())
        }

    def _on_suspicions(self, answer: Answer) -> None:
        assert isinstance(answer, Names)
        decoded = map(decode_suspicion, answer.names)
        self._suspicions = frozenset(each for each in decoded if each is not None)
