"""What an operator asks of a shard's primary, sans-I/O; `engine.control` tells the requests.

Whatever would be refused is refused here, with a reason, and leaves no trace in the list.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import structlog

from engine.control import Answer
from engine.days import is_day
from engine.listed import ListedInstrument
from engine.markets import MarketMachine
from engine.primary import Primary
from engine.rejects import RejectReason
from engine.replica import Replica
from feed.datagrams import Submission, encode_submission
from feed.messages import (
    AdoptInstrument,
    AdoptOrder,
    Command,
    DefineInstrument,
    MoveOut,
    NewDay,
    Rejected,
    SetTradingState,
    ShortSale,
    TradingState,
    symbol_field,
    unpad,
)
from feed.run import Run
from feed.schema import FrameType

log = structlog.get_logger()

# So many instruments in one answer: of the 65,536 bytes of a line, each takes 130 at most.
PAGE_INSTRUMENTS = 400

_GREATEST_SHARD = 2**16 - 1
_HALTED, _MOVED = TradingState.HALTED, TradingState.MOVED
_ARRIVING = TradingState.ARRIVING
_HELP = (
    'known requests: "status"; "halt" and "resume" with a "symbol"; "new-day" with a "day" as'
    ' 20261231; "define", "move-out", "adopt-instrument", "adopt-orders" and "instruments"'
)


class RefusedError(Exception):
    """A request can't be met: the answer says why."""

    def __init__(self, error: str, **more: Any) -> None:
        super().__init__(error)
        self.answer: Answer = {"error": error, **more}


class Operating:
    """Meets operators' requests by commands to the replica, while it is the primary."""

    def __init__(
        self, replica: Replica, turn: Callable[[], None], wall_clock_ns: Callable[[], int]
    ) -> None:
        """`turn` lets out what a command has caused."""
        self._replica = replica
        self._turn = turn
        self._wall_clock_ns = wall_clock_ns

    def handle(self, request: Mapping[str, Any]) -> Answer:
        """The answer to a request."""
        try:
            return self._answer(request)
        except RefusedError as refusal:
            return refusal.answer

    def _answer(self, request: Mapping[str, Any]) -> Answer:
        match request:
            case {"request": "halt", "symbol": str(symbol)}:
                return self._set_trading_state(symbol, TradingState.HALTED)
            case {"request": "resume", "symbol": str(symbol)}:
                return self._set_trading_state(symbol, TradingState.TRADING)
            case {"request": "new-day", "day": int(day)}:
                return self._begin_day(day)
            case {"request": "define", "symbol": str(symbol)}:
                return self._define(symbol, request)
            case {"request": "move-out", "symbol": str(symbol), "shard": int(shard)}:
                return self._move_out(symbol, shard)
            case {"request": "adopt-instrument", "symbol": str(symbol)}:
                return self._adopt_instrument(symbol, request)
            case {"request": "adopt-orders", "symbol": str(symbol), "orders": list(orders)}:
                return self._adopt_orders(symbol, _number(request, "moves"), orders)
            case {"request": "instruments"}:
                return self._instruments(request)
        raise RefusedError(_HELP)

    @property
    def _market(self) -> MarketMachine:
        """The replica's machine, which is a market here."""
        return cast(MarketMachine, self._replica.machine)

    def _primary(self) -> Primary:
        primary = self._replica.primary
        if primary is None:
            leader = self._replica.leader
            raise RefusedError(f"{self._replica.name} is not the primary", primary=leader)
        return primary

    def _find(self, symbol: str) -> ListedInstrument | None:
        """An instrument, if it is listed here. Raises RefusedError when it has moved."""
        field = _field(symbol)
        known = next((each for each in self._market.instruments() if each.symbol == field), None)
        if known is not None and known.state == _MOVED:
            raise RefusedError(
                f"{symbol} has moved to another shard", moved=True, moves=known.moves
            )
        return known

    def _require(self, symbol: str) -> ListedInstrument:
        known = self._find(symbol)
        if known is None:
            raise RefusedError(f"{symbol} is not listed here")
        return known

    def _sequence(self, command: Command) -> Run:
        """The group of a command that needs no admission."""
        run = self._primary().sequence(command, self._wall_clock_ns())
        self._turn()
        return run

    def _submit(self, commands: Sequence[Command]) -> tuple[Run, int]:
        """The groups of those that are admitted, and how many are not."""
        try:
            data = b"".join(encode_submission(Submission(0, command)) for command in commands)
        except struct.error as error:
            raise RefusedError(f"a number is out of its range: {error}") from None
        run, not_admitted = self._primary().submit(data, self._wall_clock_ns())
        self._turn()
        return run, not_admitted

    def _set_trading_state(self, symbol: str, state: TradingState) -> Answer:
        primary = self._primary()
        known = self._require(symbol)
        if known.state == _ARRIVING and state != _HALTED:
            raise RefusedError(f"{symbol} is still arriving from another shard; halt it first")
        self._sequence(SetTradingState(known.symbol, state))
        log.info("trading state set", symbol=symbol, state=state.name)
        return {"symbol": symbol, "state": state.name, "sequence": primary.last_sequence}

    def _begin_day(self, day: int) -> Answer:
        primary = self._primary()
        current = self._market.day
        if not is_day(day) or day <= current:
            reason = RejectReason.INVALID_DAY.text
            raise RefusedError(f"{day} does not begin after {current}: {reason}")
        run = self._sequence(NewDay(day))
        log.info("a new day", day=day, sequence=run.first_sequence)
        expired = primary.last_sequence - run.first_sequence
        return {"day": day, "sequence": run.first_sequence, "expired": expired}

    def _define(self, symbol: str, request: Mapping[str, Any]) -> Answer:
        primary = self._primary()
        self._find(symbol)
        may_be_sold_short = request.get("short_sale")
        if not isinstance(may_be_sold_short, bool):
            raise RefusedError('"short_sale" must be true or false')
        short_sale = ShortSale.ALLOWED if may_be_sold_short else ShortSale.FORBIDDEN
        sizes = _number(request, "tick_size"), _number(request, "lot_size")
        listing = DefineInstrument(_field(symbol), *sizes, short_sale)
        run, not_admitted = self._submit([listing])
        _raise_for(run, symbol)
        if run:
            log.info("instrument listed", symbol=symbol, sequence=run.first_sequence)
        sequence = primary.last_sequence
        return {"symbol": symbol, "is_new": not not_admitted, "sequence": sequence}

    def _move_out(self, symbol: str, shard: int) -> Answer:
        self._primary()
        known = self._require(symbol)
        own = self._replica.holder.identity.shard
        if not 0 < shard <= _GREATEST_SHARD or shard == own:
            raise RefusedError(f"{symbol} can't move from shard {own} to shard {shard}")
        if known.state != _HALTED:
            raise RefusedError(f"{symbol} is not halted; halt it first")
        run, _ = self._submit([MoveOut(known.symbol, shard)])
        _raise_for(run, symbol)
        log.info("instrument moved out", symbol=symbol, to=shard, orders=known.orders)
        return {
            "symbol": symbol,
            "sequence": run.first_sequence,
            "moves": known.moves + 1,
            "orders": known.orders,
        }

    def _adopt_instrument(self, symbol: str, request: Mapping[str, Any]) -> Answer:
        self._primary()
        names = ("tick_size", "lot_size", "short_sale", "last_price", "moves")
        numbers = [_number(request, name) for name in names]
        answer, run = self._adopt(symbol, [AdoptInstrument(_field(symbol), *numbers)])
        _raise_for(run, symbol)
        log.info("instrument adopted", **answer)
        return answer

    def _adopt_orders(self, symbol: str, moves: int, orders: Sequence[Any]) -> Answer:
        self._primary()
        field = _field(symbol)
        terms = AdoptOrder._fields[2:]
        for order in orders:
            if not isinstance(order, list) or len(order) != len(terms):
                raise RefusedError(f"an order is a list of {', '.join(terms)}")
            if any(type(term) is not int for term in order):
                raise RefusedError("an order's terms are integers")
        answer, run = self._adopt(symbol, [AdoptOrder(field, moves, *order) for order in orders])
        if answer["rejected"]:
            refused = [frame.sequence - 1 for frame in run if isinstance(frame.message(), Rejected)]
            log.error("orders did not arrive", symbol=symbol, sequences=refused)
        return answer

    def _adopt(self, symbol: str, commands: Sequence[Command]) -> tuple[Answer, Run]:
        """Submit what arrives: what took effect before, or would too late, does not now."""
        run, not_admitted = self._submit(commands)
        rejected = sum(isinstance(frame.message(), Rejected) for frame in run)
        answer = {
            "symbol": symbol,
            "taken": len(commands) - not_admitted - rejected,
            "not_admitted": not_admitted,
            "rejected": rejected,
            "sequence": self._primary().last_sequence,
        }
        return answer, run

    def _instruments(self, request: Mapping[str, Any]) -> Answer:
        self._primary()
        match request:
            case {"symbols": list(symbols)}:
                wanted = {_field(symbol) for symbol in symbols if isinstance(symbol, str)}
                found = [each for each in self._market.instruments() if each.symbol in wanted]
            case {"after": str(symbol)}:
                last = _field(symbol)
                found = [each for each in self._market.instruments() if each.symbol > last]
            case _:
                found = list(self._market.instruments())
        shown = [
            {
                "symbol": unpad(each.symbol),
                "state": TradingState(each.state).name,
                "moves": each.moves,
                "orders": each.orders,
            }
            for each in found[:PAGE_INSTRUMENTS]
        ]
        return {"instruments": shown, "has_more": len(found) > len(shown)}


def _field(symbol: str) -> bytes:
    try:
        return symbol_field(symbol)
    except ValueError as error:
        raise RefusedError(str(error)) from None


def _number(request: Mapping[str, Any], name: str) -> int:
    number = request.get(name)
    if type(number) is not int:
        raise RefusedError(f'"{name}" must be an integer')
    return number


def _raise_for(run: Run, symbol: str) -> None:
    """Raise RefusedError where the one command that was carried out was rejected."""
    # A departure may be a group of millions of frames: they are not read in vain.
    last = run[-1].message() if run.has(FrameType.REJECTED) else None
    if isinstance(last, Rejected):
        reason = next(each for each in RejectReason if each == last.reason)
        raise RefusedError(f"{symbol}: {reason.text}")
