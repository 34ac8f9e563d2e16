"""An order while it lives, and what the machine remembers of the client that it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.codes import WITH_LIMIT
from feed.messages import EnterOrder, SelfTradePrevention, Side

if TYPE_CHECKING:
    from engine.book import Ladder, Level

_BUY = int(Side.BUY)


class Client:
    """What the machine remembers of a client for the rest of the list."""

    __slots__ = (
        "home_sequence",
        "last_user_ref_num",
        "login",
        "orders",
        "self_trade_prevention",
    )

    def __init__(self) -> None:
        self.login = 0  # 0 before the first: orders may come from another shard earlier
        self.home_sequence = 0  # of the log-in, in the list of the client's home shard
        self.last_user_ref_num = 0
        self.self_trade_prevention = int(SelfTradePrevention.OFF)
        self.orders: dict[int, Order] = {}  # the live ones, by user_ref_num


class Order:
    """A live order: `quantity` is what was asked for, `leaves` what is open of it.

    `stop_price` is 0 for an order that does not wait for one, or not any more. `ladder` and `level`
    are where it stands, in the book or among the stops; None while it is being matched.
    """

    __slots__ = (
        "canceled",
        "capacity",
        "client",
        "executed",
        "has_limit",
        "is_buy",
        "ladder",
        "leaves",
        "level",
        "number",
        "order_type",
        "owner",
        "post_only",
        "price",
        "quantity",
        "side",
        "stop_price",
        "symbol",
        "time_in_force",
        "user_ref_num",
    )

    def __init__(self, number: int, owner: Client, command: EnterOrder) -> None:
        self.number = number
        self.owner = owner
        (
            self.client,
            self.user_ref_num,
            self.symbol,
            self.side,
            self.order_type,
            self.time_in_force,
            self.post_only,
            self.quantity,
            self.price,
            self.stop_price,
            self.capacity,
            _,
        ) = command
        self.is_buy = self.side == _BUY
        self.has_limit = self.order_type in WITH_LIMIT
        self.leaves = self.quantity
        self.executed = 0
        self.canceled = 0
        self.ladder: Ladder | None = None
        self.level: Level | None = None
