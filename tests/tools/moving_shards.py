"""Shards to move symbols between, without processes: a market, its list, and what goes wrong."""

from collections.abc import Mapping
from typing import Any

from engine.market import Market
from feed.codec import decode_frame, encode_group
from feed.messages import (
    AdoptInstrument,
    AdoptOrder,
    Command,
    DefineInstrument,
    MoveOut,
    OrderState,
    SetTradingState,
    ShortSale,
    TradingState,
    symbol_field,
    unpad,
)
from feed.subscriber import Group
from tools.move_groups import ArrivedOrder, is_arrival, is_departure, orders_that_arrived
from tools.moving import Instrument


class InterruptedMoveError(Exception):
    """Whoever moves was killed."""


class Trouble:
    """Counts what a move asks for, over both shards, and lets one thing go wrong."""

    def __init__(
        self, *, dies_before: int = -1, dies_after: int = -1, loses: frozenset[int] = frozenset()
    ) -> None:
        """Whoever moves dies before or after a request; of what a request did, the later half is
        lost, as when the primary dies before it is committed."""
        self.count = 0
        self._dies_before = dies_before
        self._dies_after = dies_after
        self._loses = loses

    def dies_after(self, requests: int) -> None:
        """Let whoever moves die after so many more requests."""
        self._dies_after = self.count + requests - 1

    def begin(self) -> None:
        """A request comes."""
        if self.count == self._dies_before:
            self._dies_before = -1
            raise InterruptedMoveError

    def end(self) -> bool:
        """It was carried out; whether that is lost."""
        self.count += 1
        if self.count - 1 == self._dies_after:
            raise InterruptedMoveError
        return self.count - 1 in self._loses


class FakeShard:
    """A shard in which everything is committed at once."""

    def __init__(self, shard: int, trouble: Trouble) -> None:
        self.shard = shard
        self.trouble = trouble
        self.market = Market()
        self.groups: list[Group] = []
        self.holds_departures = True

    def submit(self, command: Command, login: int = 0) -> None:
        """Let the market carry a command out that it admits."""
        if not self.market.admits(login, command):
            return
        sequence = self.groups[-1].last_sequence + 1 if self.groups else 1
        events = self.market.apply(sequence, 0, command)
        frames = encode_group([command, *events], sequence, 0)
        self.groups.append(Group(tuple(map(decode_frame, frames))))

    def list_symbol(self, symbol: str) -> None:
        """Let an instrument be there, and trade."""
        self.submit(DefineInstrument(symbol_field(symbol), 1, 1, ShortSale.ALLOWED))

    def orders(self, symbol: str) -> list[tuple[int, ...]]:
        """The live orders of a symbol, without their numbers."""
        field = symbol_field(symbol)
        return [
            (record.client, record.user_ref_num, *record[4:])
            for record in self.market.state()
            if isinstance(record, OrderState) and record.symbol == field
        ]

    # What a move uses.

    async def instrument(self, symbol: str) -> Instrument | None:
        for known in self.market.listed():
            if unpad(known.symbol) == symbol:
                return Instrument(symbol, TradingState(known.state).name, *known[2:])
        return None

    async def departure(self, symbol: str, moves: int) -> Group | None:
        found = [group for group in self.groups if is_departure(group, symbol, moves)]
        return found[-1] if found and self.holds_departures else None

    async def arrived(self, symbol: str, moves: int) -> list[ArrivedOrder]:
        begun = [group for group in self.groups if is_arrival(group, symbol, moves)]
        if not begun:
            return []
        return orders_that_arrived(self.groups[self.groups.index(begun[-1]) :], symbol, moves)

    async def commit(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        self.trouble.begin()
        count = len(self.groups)
        for command in commands_of(request):
            self.submit(command)
        is_lost = self.trouble.end()
        if is_lost:
            self._forget_all_after(count + (len(self.groups) - count) // 2)
        return None if is_lost else {"sequence": self.groups[-1].last_sequence}

    def _forget_all_after(self, count: int) -> None:
        groups, self.groups, self.market = self.groups[:count], [], Market()
        for group in groups:
            command = group.command.message()
            self.market.apply(group.first_sequence, 0, command)  # type: ignore[arg-type]
            self.groups.append(group)


def commands_of(request: Mapping[str, Any]) -> list[Command]:
    """What a replica makes of a request on its control port."""
    symbol = symbol_field(request["symbol"])
    match request["request"]:
        case "halt":
            return [SetTradingState(symbol, TradingState.HALTED)]
        case "move-out":
            return [MoveOut(symbol, request["shard"])]
        case "adopt-instrument":
            return [AdoptInstrument(symbol, *map(int, list(request.values())[2:]))]
        case "adopt-orders":
            return [AdoptOrder(symbol, request["moves"], *order) for order in request["orders"]]
    raise AssertionError(request)
