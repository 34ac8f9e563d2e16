"""Which primary a gateway connects to, when it does so again, and what goes over the connection.

Sans-I/O. A shell carries out what is wanted, and tells what came of it:

    dialer.on_record(record)                     # the primary, as ZooKeeper has it
    match dialer.take_action(now_ns):            # after every call, and at `deadline_ns`
        case Dial(record): connect(record)       # then: on_connected, or on_failed
        case HangUp(): end_connection()          # or the attempt; then: on_lost, or on_failed
    send(dialer.take_output())                   # while there is a connection

What is sent again over the next connection is decided in `gateway.uplink`.
"""

from enum import Enum, auto
from random import Random
from typing import NamedTuple, TypeAlias

import structlog

from feed.codec import WireError
from gateway.gateway import Gateway
from gateway.settings import UplinkLimits
from zk.election import PrimaryRecord

log = structlog.get_logger()


class Dial(NamedTuple):
    """Connect to this primary, within the limits' `connect_timeout_ns`."""

    record: PrimaryRecord


class HangUp(NamedTuple):
    """End the connection, or the attempt at one, at once."""


Action: TypeAlias = Dial | HangUp


class _State(Enum):
    """Of the one connection that there may be."""

    IDLE = auto()  # there is none: no primary is known yet, or it is not time to try again
    DIALING = auto()
    CONNECTED = auto()
    UNWANTED = auto()  # connected or dialing, and to be ended
    ENDING = auto()  # the shell is about to end it


class Dialer:
    """Keeps a gateway connected to the newest primary of a shard that it has heard of."""

    def __init__(self, gateway: Gateway, shard: int, limits: UplinkLimits, random: Random) -> None:
        self._gateway = gateway
        self._shard = shard
        self._uplink = gateway.shards[shard].uplink
        self._limits = limits
        self._random = random
        self._state = _State.IDLE
        self._record: PrimaryRecord | None = None  # the newest one
        self._dialed: PrimaryRecord | None = None  # of the connection, or the attempt
        self._dial_at_ns = 0
        self._wait_ns = limits.shortest_wait_ns  # after the next connection
        self._has_decided = False  # the primary, anything, on this connection
        self._is_in_vain = False  # the last connection: it was lost before anything was decided
        self._last_failure = ""  # why the last attempt at this primary came to nothing
        self._is_stopped = False

    @property
    def deadline_ns(self) -> int | None:
        """When `take_action` has something to say without anything having happened; or None."""
        waits = self._state is _State.IDLE and self._record is not None and not self._is_stopped
        return self._dial_at_ns if waits else None

    def on_record(self, record: PrimaryRecord | None) -> None:
        """There may be another primary. An older one than before, or none, changes nothing."""
        known = self._record
        if record is None or record == known:
            return
        if known is not None and record.epoch < known.epoch:
            return
        self._record = record
        self._dial_at_ns = 0
        self._wait_ns = self._limits.shortest_wait_ns
        self._is_in_vain = False
        self._last_failure = ""
        if self._state in (_State.DIALING, _State.CONNECTED):
            self._state = _State.UNWANTED

    def on_connected(self, now_ns: int) -> None:
        """The connection that was dialed is made."""
        assert self._dialed is not None
        self._gateway.on_uplink_connected(self._shard, self._dialed.epoch, now_ns)
        pending = self._uplink.pending_count
        write = log.debug if self._is_in_vain else log.info  # a backup ends it again at once
        write("primary connected", shard=self._shard, **self._dialed._asdict(), pending=pending)
        if self._state is _State.DIALING:
            self._state = _State.CONNECTED

    def on_data(self, data: bytes, now_ns: int) -> None:
        """The primary sent something."""
        try:
            self._gateway.on_uplink_data(self._shard, data, now_ns)
        except WireError as error:
            log.warning(
                "this is no decision of the primary; connecting anew",
                shard=self._shard,
                why=str(error),
            )
            self._drop()
        else:
            self._has_decided = True
            self._last_failure = ""

    def on_lost(self, why: str, now_ns: int) -> None:
        """The connection is over, for this reason or because it was hung up."""
        self._gateway.on_uplink_lost(self._shard, now_ns)
        if self._dialed == self._record:
            self._is_in_vain = not self._has_decided
        self._on_end("primary lost", why, now_ns)

    def on_failed(self, why: str, now_ns: int) -> None:
        """The attempt at a connection came to nothing, for this reason or as it was hung up."""
        self._on_end("primary not reached", why, now_ns)

    def stop(self) -> None:
        """Hang up, and dial no more."""
        self._is_stopped = True
        if self._state in (_State.DIALING, _State.CONNECTED):
            self._state = _State.UNWANTED

    def take_action(self, now_ns: int) -> Action | None:
        """What to do now, once."""
        if self._state is _State.CONNECTED:
            self._look_at_primary(now_ns)
        if self._state is _State.UNWANTED:
            self._state = _State.ENDING
            return HangUp()
        deadline_ns = self.deadline_ns
        if self._record is None or deadline_ns is None or now_ns < deadline_ns:
            return None
        self._state = _State.DIALING
        self._dialed = self._record
        self._has_decided = False
        return Dial(self._record)

    def take_output(self) -> bytes:
        """The bytes to send now: none over a connection that is to end."""
        return self._uplink.take_output() if self._state is _State.CONNECTED else b""

    def _look_at_primary(self, now_ns: int) -> None:
        """Gives up a connection that is of no more use."""
        uplink = self._uplink
        if uplink.is_outdated:
            log.warning("primary has a successor; connecting anew", shard=self._shard)
            self._drop()
        elif uplink.is_overdue(now_ns):
            log.warning(
                "primary decides nothing; connecting anew",
                shard=self._shard,
                pending=uplink.pending_count,
            )
            self._drop()

    def _drop(self) -> None:
        if self._state is _State.CONNECTED:
            self._state = _State.UNWANTED

    def _on_end(self, what: str, why: str, now_ns: int) -> None:
        """There is no connection any more; the same primary is dialed again after a wait."""
        self._state = _State.IDLE
        dialed = self._dialed
        if dialed is None or dialed != self._record or self._is_stopped:
            return  # it was ended on purpose
        write = log.debug if why == self._last_failure else log.warning  # once is enough
        write(what, shard=self._shard, **dialed._asdict(), why=why)
        self._last_failure = why
        if self._has_decided:
            self._wait_ns = self._limits.shortest_wait_ns
        # Gateways that lost the same primary do not all come back at once.
        shorter_ns = self._random.randrange(self._wait_ns // 2 + 1)
        self._dial_at_ns = now_ns + self._wait_ns - shorter_ns
        self._wait_ns = min(2 * self._wait_ns, self._limits.longest_wait_ns)
