"""The codes that fields of commands may hold, as plain numbers, and what some have in common."""

from feed.messages import (
    CancelReason,
    Capacity,
    OrderType,
    PostOnly,
    SelfTradePrevention,
    ShortSale,
    Side,
    TimeInForce,
    TradingState,
)

SIDES = frozenset(map(int, Side))
ORDER_TYPES = frozenset(map(int, OrderType))
TIMES_IN_FORCE = frozenset(map(int, TimeInForce))
POST_ONLY = frozenset(map(int, PostOnly))
CAPACITIES = frozenset(map(int, Capacity))
SELF_TRADE_MODES = frozenset(map(int, SelfTradePrevention))
SHORT_SALE_CODES = frozenset(map(int, ShortSale))
TRADING_STATES = frozenset(map(int, TradingState))
# What an operator may set; the others are stages of a move.
SETTABLE_STATES = frozenset({int(TradingState.HALTED), int(TradingState.TRADING)})

WITH_LIMIT = frozenset({int(OrderType.LIMIT), int(OrderType.STOP_LIMIT)})
WITH_STOP = frozenset({int(OrderType.STOP), int(OrderType.STOP_LIMIT)})
# A limit order with one of these rests with what it could not trade.
RESTING_TIMES = frozenset({int(TimeInForce.DAY), int(TimeInForce.GOOD_TILL_CANCEL)})
MASS_CANCEL_REASONS = frozenset({int(CancelReason.USER), int(CancelReason.LINK_LOST)})
