"""What a simulated gateway has for each shard: its list, its place in ZooKeeper, and the primary.

It does what `gateway.shard_feed` and `gateway.primary_connection` do with sockets and tasks.
"""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from feed.gap import GapFailure
from feed.run import Run, empty_run
from feed.settings import parse_address
from feed.subscriber import Subscriber
from gateway.dialing import Dial, Dialer, HangUp
from tools.simulation.holders import COMMANDS_PORT
from tools.simulation.shard import Shard
from tools.simulation.tcp import End
from zk.election import PrimaryRecord

if TYPE_CHECKING:
    from tools.simulation.gateways import GatewayNode

NO_FRAMES = empty_run(1)


class _PrimaryLine(asyncio.Protocol):
    """The connection to a primary."""

    def __init__(self, feed: GatewayFeed) -> None:
        self._feed = feed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._feed.on_primary_connected()

    def data_received(self, data: bytes) -> None:
        self._feed.on_primary_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._feed.on_primary_lost(str(exc or "it was closed"))


class GatewayFeed:
    """One shard, as a gateway hears it in one life; `failure` is why it can't be read any further.

    The gateway's core has to know of the shard.
    """

    def __init__(self, node: GatewayNode, shard: Shard, random: Random) -> None:
        self.shard = shard
        self.failure: GapFailure | None = None
        self.subscriber = Subscriber(
            shard=shard.number,
            source_count=len(shard.shape.retransmitter_names),
            random=random,
        )
        settings = shard.shape.gateway
        self._connect_timeout_ns = settings.uplink.connect_timeout_ns
        self.dialer = Dialer(node.gateway, shard.number, settings.uplink, random)
        self._node = node
        self._line: End | None = None  # to a primary: a connection, or the attempt at one

    def join(self) -> None:
        """Take part in ZooKeeper."""
        self._member = self.shard.zookeeper.join(
            self._node,
            role="gateway",
            holder=False,
            commands=None,
            on_change=self._on_zookeeper,
            shard=self.shard.number,
        )

    @property
    def deadlines_ns(self) -> list[int]:
        """When something is due."""
        deadlines = self.subscriber.deadline_ns, self.dialer.deadline_ns
        return [deadline for deadline in deadlines if deadline is not None]

    def on_packet(self, data: bytes, source: int | None = None) -> None:
        """A datagram of the feed, or the answer of the retransmitter with this number."""
        now_ns = self._node.network.now_ns
        if source is None:
            groups = self.subscriber.on_datagrams([data], now_ns)
        else:
            groups = self.subscriber.on_datagram(data, now_ns, source)
        if groups:
            for group in groups:
                self.shard.witness.on_committed(group.frames)
            self.tell(groups.run)
            self._node.flush()

    def on_time(self) -> None:
        """Ask for what is missing."""
        naks = self.subscriber.on_time(self._node.network.now_ns)
        names = self.shard.shape.retransmitter_names
        self._node.ask(naks, names, self.shard, self.on_packet)

    def tell(self, run: Run = NO_FRAMES) -> None:
        """Tell the core what was heard; the epoch and the commit move without groups, too."""
        subscriber = self.subscriber
        self._node.gateway.on_feed(
            self.shard.number,
            run,
            subscriber.epoch,
            subscriber.committed_sequence,
            self._node.network.now_ns,
        )

    def has_just_failed(self) -> bool:
        """Whether it can't be read any further, and this was not asked before."""
        failure, self.failure = self.failure, self.subscriber.failure
        return failure is None and self.failure is not None

    # The line to the primary.

    def on_primary_connected(self) -> None:
        """The connection is there."""
        self.dialer.on_connected(self._node.network.now_ns)
        self._node.flush()

    def on_primary_data(self, data: bytes) -> None:
        """The primary has decided something."""
        self.dialer.on_data(data, self._node.network.now_ns)
        self._node.flush()

    def on_primary_lost(self, why: str) -> None:
        """The connection is over."""
        self._line = None
        self.dialer.on_lost(why, self._node.network.now_ns)
        self._node.flush()

    def call_primary(self) -> None:
        """Connect to the primary, or end that, and send it what there is to send."""
        match self.dialer.take_action(self._node.network.now_ns):
            case Dial(record):
                self._dial(record)
            case HangUp():
                self._hang_up()
        data = self.dialer.take_output()
        if data:
            assert self._line is not None
            self._line.write(data)

    def _on_zookeeper(self) -> None:
        self.dialer.on_record(self._member.primary)
        self.call_primary()

    def _dial(self, record: PrimaryRecord) -> None:
        self._line = self.shard.tcp.connect(
            self._node,
            self.shard.holders[parse_address(record.commands).host],
            COMMANDS_PORT,
            partial(_PrimaryLine, self),
            self._on_failed,
            self._connect_timeout_ns,
        )

    def _on_failed(self, why: str) -> None:
        self._line = None
        self.dialer.on_failed(why, self._node.network.now_ns)

    def _hang_up(self) -> None:
        assert self._line is not None
        was_made = self._node.gateway.shards[self.shard.number].uplink.is_connected
        self._line.abort()
        if not was_made:  # nothing more is heard of an attempt that is given up
            self._on_failed("given up")
