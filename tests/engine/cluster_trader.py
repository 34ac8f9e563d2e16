"""A client and its gateways: it sends orders, and again what was not committed."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from engine.market import Market
from feed.datagrams import Submission
from feed.messages import (
    NO_CLIENT_ORDER_ID,
    Capacity,
    EnterOrder,
    LogIn,
    OrderType,
    PostOnly,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from tests.engine.cluster_nodes import SYMBOL, ReplicaNode, Shard
from tests.engine.cluster_zookeeper import MILLISECOND_NS

CLIENT = 1
LOGIN = 77
RESEND_NS = 20 * MILLISECOND_NS


def order(user_ref_num: int, side: Side = Side.BUY, quantity: int = 10) -> EnterOrder:
    """An order that rests beside those of its side, and trades with those of the other."""
    return EnterOrder(
        CLIENT,
        user_ref_num,
        SYMBOL,
        side,
        OrderType.LIMIT,
        TimeInForce.DAY,
        PostOnly.NO,
        quantity,
        10_000,
        0,
        Capacity.AGENCY,
        NO_CLIENT_ORDER_ID,
    )


class Taker(Protocol):
    """Who gives a submission to those who take it."""

    def __call__(self, submission: Submission) -> None: ...


class Trader:
    """Orders that rest, trade, and now and then sweep the other side of the book."""

    def __init__(self, shard: Shard) -> None:
        self.sent = 0
        self._shard = shard

    def log_in(self) -> None:
        """Log in, again and again until that is committed."""
        if LOGIN not in self._shard.witness.logged_in:
            self.submit(Submission(LOGIN, LogIn(CLIENT, LOGIN, SelfTradePrevention.OFF)))
            self._shard.network.after(RESEND_NS, self.log_in)

    def trade(self, count: int, interval_ns: int) -> list[int]:
        """Send so many orders; their numbers. What is not committed is sent again."""
        numbers = list(range(self.sent + 1, self.sent + count + 1))
        self.sent += count
        for i, number in enumerate(numbers):
            self._shard.network.after(i * interval_ns, partial(self._enter, number))
        return numbers

    def submit(self, submission: Submission) -> None:
        """Hand a command to whoever believes that it leads: another gateway may believe it too."""
        for node in self._shard.holders.values():
            if isinstance(node, ReplicaNode) and self._takes(node, submission):
                node.do(node.life, partial(node.on_submission, submission))

    def _enter(self, number: int) -> None:
        if number in self._shard.witness.entered:
            return
        side = Side.BUY if number % 2 else Side.SELL
        quantity = 200 if number % 15 == 0 else 5 + number % 7
        self.submit(Submission(LOGIN, order(number, side, quantity)))
        self._shard.network.after(RESEND_NS, partial(self._enter, number))

    def _takes(self, node: ReplicaNode, submission: Submission) -> bool:
        if not node.is_alive or node.core.primary is None:
            return False
        command = submission.command
        if not isinstance(command, EnterOrder):
            return True
        market = node.core.machine
        client = market.clients.get(CLIENT) if isinstance(market, Market) else None
        # A gateway sends in order: else the machine would take the earlier ones for repeats.
        return client is not None and client.last_user_ref_num + 1 == command.user_ref_num
