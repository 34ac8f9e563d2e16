"""The lists of two shards between which an instrument moves, as their primaries write them."""

from collections.abc import Callable

from feed.datagrams import Submission
from feed.messages import (
    AdoptInstrument,
    AdoptOrder,
    CancelOrder,
    Command,
    DefineInstrument,
    Epoch,
    LogIn,
    Message,
    MoveOut,
    OrderState,
    SelfTradePrevention,
    SetTradingState,
    ShardMark,
    ShortSale,
    Side,
    TradingState,
    holder_field,
    symbol_field,
)
from tests.tools.audited_lists import Author, audit_of, runs
from tests.tools.test_audit_rules import enter
from tools.audit.between import Side as AuditedSide
from tools.audit.between import compare
from tools.audit.findings import Findings

ALICE, BOB = 1, 2  # at home in shard 1 and in shard 2
ACME, OTHER = symbol_field("ACME"), symbol_field("OTHER")
HALTED, TRADING = TradingState.HALTED, TradingState.TRADING
BUY, SELL = Side.BUY, Side.SELL
LISTED = AdoptInstrument(ACME, 1, 1, ShortSale.ALLOWED, 102, 1)  # ACME as it leaves


class Shard(Author):
    """One of the lists; `number` is that of its last frame."""

    def __init__(self, epoch: int, symbol: bytes) -> None:
        super().__init__()
        self.write(Epoch(epoch, holder_field(f"e{epoch}")))
        self.write(DefineInstrument(symbol, 1, 1, ShortSale.ALLOWED))

    @property
    def number(self) -> int:
        return len(self.frames)

    def log_in(self, client: int, login: int = 1, home_sequence: int = 0) -> int:
        """The number of the log-in's frame."""
        self.write(LogIn(client, login, SelfTradePrevention.OFF, home_sequence))
        return self.number

    def must(self, *commands: Command) -> list[Message]:
        """Commands that are admitted."""
        written: list[Message] = []
        for command in commands:
            group = self.submit(Submission(1, command))
            assert group, f"{command} was not admitted"
            written += group
        return written


class Exchange:
    """Two shards, with ACME in the first one and OTHER in the second one, and two clients."""

    def __init__(self) -> None:
        self.one, self.two = Shard(1, ACME), Shard(2, OTHER)
        self.two.log_in(ALICE, home_sequence=self.one.log_in(ALICE))
        self.one.log_in(BOB, home_sequence=self.two.log_in(BOB))
        self.one.must(
            enter(ALICE, 1, BUY, 10, 100),
            enter(BOB, 1, SELL, 30, 102),
            enter(ALICE, 2, BUY, 5, 102),  # trades with 5 of BOB's
            enter(ALICE, 3, BUY, 4, 100),
            enter(BOB, 2, SELL, 7, 98, stop=99),
            CancelOrder(ALICE, 1, 8),
        )
        self.two.must(enter(BOB, 3, SELL, 9, 50, symbol=OTHER))
        self.mark()

    def mark(self) -> None:
        """Each list is told how far the other one is."""
        first, second = self.one.number, self.two.number
        self.one.must(ShardMark(2, second))
        self.two.must(ShardMark(1, first))

    def leave(self) -> list[tuple[int, OrderState]]:
        """ACME leaves the first shard; its orders, and the numbers of their frames."""
        self.one.must(SetTradingState(ACME, HALTED))
        first = self.one.number + 1
        group = self.one.must(MoveOut(ACME, 2))
        numbered = enumerate(group, first)
        return [(at, each) for at, each in numbered if isinstance(each, OrderState)]

    def arrive(
        self,
        orders: list[tuple[int, OrderState]],
        change: Callable[[AdoptOrder], AdoptOrder] = lambda order: order,
        *,
        terms: AdoptInstrument = LISTED,
        is_ended: bool = True,
    ) -> None:
        """ACME arrives in the second shard, with these orders."""
        self.two.must(terms, *(change(adoption(at, order)) for at, order in orders))
        if is_ended:
            self.two.must(SetTradingState(ACME, HALTED), SetTradingState(ACME, TRADING))
        self.mark()

    def findings(self, *more: Shard, has_grown: bool = False) -> list[Findings]:
        """What the audits of both lists, and of `more`, find, and their comparison."""
        audits = [audit_of(runs(each.frames)) for each in (self.one, self.two, *more)]
        sides = [
            AuditedSide(shard, audit.crossings, audit.findings, audit.frames, has_grown)
            for shard, audit in enumerate(audits, 1)
        ]
        assert [side.findings.differences for side in sides] == [[] for _ in sides]
        compare(sides)
        return [side.findings for side in sides]


def adoption(at: int, order: OrderState) -> AdoptOrder:
    """How an order arrives that left in this frame."""
    _, client, user_ref_num, symbol, *terms = order
    return AdoptOrder(symbol, 1, at, client, user_ref_num, *terms)


def moved() -> Exchange:
    """An exchange in which ACME has moved, and trades again."""
    exchange = Exchange()
    exchange.arrive(exchange.leave())
    exchange.two.must(
        enter(ALICE, 4, BUY, 26, 102),  # takes BOB's 25, and rests with 1
        CancelOrder(ALICE, 3, 0),
        enter(BOB, 4, SELL, 1, 102),
    )
    exchange.mark()
    return exchange
