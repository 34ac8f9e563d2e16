"""What is on its way from a gateway to the primary: kept until it is decided and committed.

Sans-I/O. A decision is the word of one primary, about the list of its epoch: it stands once the
committed list reaches to what it names while still in that epoch. If the list is in a later epoch
by then, a successor wrote it, and may never have heard of the submission. So each is kept until its
decision stands; after a connection is lost, all that is kept is sent again, in its order, to the
primary of that time. The machine drops what it has seen before.

What a client sent at once is one batch here. A decision may end within one; the rest is kept.

Only log-ins are not sent again, but handed back: they need new numbers (`gateway.log_ins`).
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from feed.codec import WireError
from feed.datagrams import Decision, Submission, encode_submission, take_decisions
from feed.frames import whole_submissions
from feed.messages import LogIn, ShardMark
from gateway.settings import UplinkLimits
from gateway.translate import NOBODY, ClientCommand

_LENGTH_BYTES = 2  # each submission begins with its length


class Submissions(NamedTuple):
    """Encoded submissions, back to back, and how many they are."""

    data: bytes
    command_count: int


@dataclass(slots=True)
class _Batch:
    """Submissions of one client that may have to be sent again."""

    data: bytes  # of those that are done, too
    count: int  # without these
    client: int
    login: int
    is_log_in: bool  # then it is one alone
    done_count: int = 0  # the first ones, decided for good

    @property
    def rest(self) -> bytes:
        """Those that are not done."""
        at = 0
        for _ in range(self.done_count):
            at += int.from_bytes(self.data[at : at + _LENGTH_BYTES], "big")
        return self.data[at:]


class Uplink:
    """The submissions of one gateway, and the connection to the primary that they go over."""

    def __init__(self, limits: UplinkLimits) -> None:
        self._limits = limits
        self._pending: deque[_Batch] = deque()
        self._pending_count = 0  # of the submissions in them
        self._pending_of: Counter[int] = Counter()
        self._decisions: deque[Decision] = deque()  # of this connection, not standing yet
        self._received = bytearray()
        self._unsent: list[bytes] = []
        self._sent_count = 0  # on this connection
        self._done_count = 0  # of them, decided for good; the first pending one comes next
        self._waiting_since_ns: int | None = None  # for a decision
        self._feed_epoch = 0
        self._connection_epoch = 0  # of the primary that the connection leads to
        self.is_connected = False
        self.submissions = 0
        self.resent = 0
        self.connections = 0
        self.decisions = 0

    @property
    def pending_count(self) -> int:
        """How many submissions are not known to be committed."""
        return self._pending_count

    @property
    def is_outdated(self) -> bool:
        """Whether the connection leads to a primary that the feed shows to have a successor."""
        return self.is_connected and self._feed_epoch > self._connection_epoch

    @property
    def is_crowded(self) -> bool:
        """Whether nobody more is to be let in.

        Log-ins, and what is canceled for those who are gone, wait for no room: without a bound for
        them, clients that come and go while there is no primary would fill the memory.
        """
        return self._pending_count >= 2 * self._limits.pending

    def room(self, client: int) -> int:
        """How many more commands of this client may be submitted before it has to wait."""
        limits = self._limits
        return min(
            limits.pending - self._pending_count,
            limits.pending_per_client - self._pending_of[client],
        )

    def has_pending(self, client: int) -> bool:
        """Whether commands of this client are on their way."""
        return client in self._pending_of

    def has_room_again(self, client: int) -> bool:
        """Whether a client that had to wait should be read again: not before half is free."""
        limits = self._limits
        return (
            self._pending_count <= limits.pending // 2
            and self._pending_of[client] <= limits.pending_per_client // 2
        )

    def submit(self, login: int, command: LogIn | ClientCommand, now_ns: int) -> None:
        """Takes a command on its way, under the log-in that it belongs to."""
        data = encode_submission(Submission(login, command))
        self._add(_Batch(data, 1, command.client, login, isinstance(command, LogIn)), now_ns)

    def submit_all(self, client: int, login: int, submissions: Submissions, now_ns: int) -> None:
        """Takes commands of a client on their way, in their order; they are no log-ins."""
        self._add(_Batch(*submissions, client, login, False), now_ns)

    def submit_mark(self, mark: ShardMark, now_ns: int) -> None:
        """Takes a mark on its way; it belongs to no client."""
        self._add(_Batch(encode_submission(Submission(0, mark)), 1, NOBODY, 0, False), now_ns)

    def withdraw(self, login: int) -> bool:
        """Takes a log-in back that has not been sent; False when it has, and may be committed."""
        if self.is_connected:
            return False
        self._drop(lambda pending: pending.is_log_in and pending.login == login)
        return True

    def on_connected(self, epoch: int, now_ns: int) -> None:
        """There is a new connection, to the primary of this epoch as far as is known.

        What is kept goes over it, in its order. Where the feed is in a later epoch already, the
        connection may be to its primary, at an old address: its decisions will tell.
        """
        assert not self.is_connected, "one connection at a time"
        self.is_connected = True
        self._connection_epoch = max(epoch, self._feed_epoch)
        self.connections += 1
        if self.connections > 1:
            self.resent += self._pending_count
        for pending in self._pending:
            self._send(pending, now_ns)

    def on_lost(self) -> list[int]:
        """The connection is gone; returns the log-ins that went with it."""
        dropped = [pending.login for pending in self._pending if pending.is_log_in]
        self._drop(lambda pending: pending.is_log_in)
        self._decisions.clear()
        self._received.clear()
        self._unsent.clear()
        self._sent_count = self._done_count = 0
        self._waiting_since_ns = None
        self.is_connected = False
        return dropped

    def on_data(self, data: bytes, now_ns: int) -> None:
        """Bytes from the primary: its decisions.

        Raises WireError when it is the primary of another epoch, decides what it was not sent, or
        takes a decision back; the connection is then of no more use.
        """
        self._received += data
        for decision in take_decisions(self._received):
            self._on_decision(decision, now_ns)

    def on_feed_epoch(self, epoch: int) -> None:
        """The feed's packets are of this epoch."""
        self._feed_epoch = max(self._feed_epoch, epoch)

    def on_delivered(self, sequence: int, epoch: int) -> list[int]:
        """The committed list is delivered up to here, where it is in this epoch.

        Returns the log-ins that are decided by now. What of them was admitted has been seen in the
        list, then.
        """
        if epoch != self._connection_epoch:
            return []  # what this primary decides is still to come, or has come to nothing
        log_ins = []
        while self._decisions and self._decisions[0].sequence <= sequence:
            decided_count = self._decisions.popleft().submission
            while self._done_count < decided_count:
                pending = self._pending[0]
                self._on_done(pending, min(pending.count, decided_count - self._done_count))
                if pending.is_log_in:
                    log_ins.append(pending.login)
        return log_ins

    def take_output(self) -> bytes:
        """The bytes to send now; bounded, as what is pending is."""
        data = b"".join(self._unsent)
        self._unsent.clear()
        return data

    def is_overdue(self, now_ns: int) -> bool:
        """Whether the primary has been silent for too long, with submissions waiting for it."""
        since_ns = self._waiting_since_ns
        return since_ns is not None and now_ns - since_ns >= self._limits.decision_timeout_ns

    def check(self) -> None:
        """Raises AssertionError when the counts do not add up."""
        assert self._pending_of == self._count_by_client()
        assert self._pending_count == self._pending_of.total()
        for pending in self._pending:
            assert pending.count > 0
            assert whole_submissions(pending.rest) == (len(pending.rest), pending.count)
        assert self._done_count <= self._decided_count <= self._sent_count
        if self.is_connected:
            assert self._sent_count == self._done_count + self._pending_count
            is_decided = self._decided_count == self._sent_count
            assert (self._waiting_since_ns is None) == is_decided
        else:
            assert self._sent_count == 0
            assert not any((self._decisions, self._unsent, self._received))

    @property
    def _decided_count(self) -> int:
        return self._decisions[-1].submission if self._decisions else self._done_count

    def _add(self, pending: _Batch, now_ns: int) -> None:
        self._pending.append(pending)
        self._pending_count += pending.count
        self._pending_of[pending.client] += pending.count
        self.submissions += pending.count
        if self.is_connected:
            self._send(pending, now_ns)

    def _send(self, pending: _Batch, now_ns: int) -> None:
        self._unsent.append(pending.rest)
        self._sent_count += pending.count
        if self._waiting_since_ns is None:
            self._waiting_since_ns = now_ns

    def _on_done(self, pending: _Batch, count: int) -> None:
        """So many of the first batch are decided for good."""
        pending.done_count += count
        pending.count -= count
        if not pending.count:
            self._pending.popleft()
        self._done_count += count
        self._pending_count -= count
        self._pending_of[pending.client] -= count
        if not self._pending_of[pending.client]:
            del self._pending_of[pending.client]

    def _drop(self, is_unwanted: Callable[[_Batch], bool]) -> None:
        self._pending = deque(pending for pending in self._pending if not is_unwanted(pending))
        self._pending_of = self._count_by_client()
        self._pending_count = self._pending_of.total()

    def _count_by_client(self) -> Counter[int]:
        counts: Counter[int] = Counter()
        for pending in self._pending:
            counts[pending.client] += pending.count
        return counts

    def _on_decision(self, decision: Decision, now_ns: int) -> None:
        if decision.epoch != self._connection_epoch:
            raise WireError(f"a decision of epoch {decision.epoch}, not {self._connection_epoch}")
        last = self._decisions[-1].sequence if self._decisions else 0
        if not self._decided_count <= decision.submission <= self._sent_count:
            raise WireError(
                f"{decision.submission} submissions decided, of {self._sent_count}"
                f" with {self._decided_count} decided before"
            )
        if decision.sequence < last:
            raise WireError(f"a decision at {decision.sequence} after one at {last}")
        self.decisions += 1
        if decision.submission > self._decided_count:
            self._decisions.append(decision)
            all_decided = decision.submission == self._sent_count
            self._waiting_since_ns = None if all_decided else now_ns
