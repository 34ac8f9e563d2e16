"""The kernel's ladders with many prices: trees that split, empty and lose their root.

Other tests have few prices, so that orders meet; here most orders have one of their own. What comes
out is compared with the reference, and `check()` walks every tree.
"""

from collections.abc import Iterator, Sequence
from random import Random

import pytest

from engine.markets import KernelMarket, ReferenceMarket, market_builder
from engine.settings import MachineKind
from feed.datagrams import Submission, encode_submission
from feed.messages import (
    CancelOrder,
    Capacity,
    DefineInstrument,
    EnterOrder,
    LogIn,
    OrderType,
    PostOnly,
    ReplaceOrder,
    SelfTradePrevention,
    ShortSale,
    Side,
    TimeInForce,
    symbol_field,
)

if KernelMarket is None:
    pytest.skip("the kernel was not built here", allow_module_level=True)

SYMBOL = symbol_field("DEEP")
MIDDLE = 1_000_000
GREATEST_PRICE = 1_999_999_900
CLIENT = 1
Order = EnterOrder | CancelOrder | ReplaceOrder


class Pair:
    """The reference and the kernel, given the same batches."""

    def __init__(self) -> None:
        self.reference, self.kernel = ReferenceMarket(), market_builder(MachineKind.KERNEL)()
        self._sequence = 1
        for command in (
            DefineInstrument(SYMBOL, 1, 1, ShortSale.ALLOWED),
            LogIn(CLIENT, 1, SelfTradePrevention.OFF),
        ):
            for machine in (self.reference, self.kernel):
                run = machine.carry_out(command, self._sequence, 0)
            self._sequence = run.next_sequence

    def submit(self, commands: Sequence[Order]) -> None:
        data = b"".join(encode_submission(Submission(1, command)) for command in commands)
        wanted = self.reference.submit(data, self._sequence, 0)
        assert self.kernel.submit(data, self._sequence, 0) == wanted
        self._sequence = wanted.run.next_sequence
        self.kernel.check()

    def compare(self) -> None:
        assert list(self.kernel.book_entries()) == list(self.reference.book_entries())
        assert self.kernel.digest() == self.reference.digest()


def enter(number: int, side: Side, price: int, *, stop: bool = False) -> EnterOrder:
    return EnterOrder(
        CLIENT,
        number,
        SYMBOL,
        int(side),
        int(OrderType.STOP if stop else OrderType.LIMIT),
        int(TimeInForce.DAY),
        int(PostOnly.NO),
        10,
        0 if stop else price,
        price if stop else 0,
        int(Capacity.AGENCY),
        b" " * 14,
    )


def commands(random: Random, count: int, span: int) -> Iterator[Order]:
    """Orders and stops that rest over so many prices, cancels and replaces of them, and a few
    orders that trade; the book grows and shrinks again in turns."""
    live: list[int] = []
    grows = True
    for number in range(1, count + 1):
        if random.randrange(count // 6) == 0:
            grows = not grows
        side = random.choice((Side.BUY, Side.SELL))
        away = random.randrange(span)
        price = MIDDLE - 1 - away if side == Side.BUY else MIDDLE + away
        drawn = random.random()
        if drawn < (0.75 if grows else 0.25) or not live:
            if drawn < 0.02:
                price = 2 * MIDDLE - price  # on the other side: it trades
            yield enter(number, side, price, stop=0.02 < drawn < 0.1)
            live.append(number)
            continue
        place = random.randrange(len(live))
        live[place], live[-1] = live[-1], live[place]
        if drawn > 0.95:
            original, live[-1] = live[-1], number
            day = int(TimeInForce.DAY)
            yield ReplaceOrder(CLIENT, original, number, 10, price, 0, day, b" " * 14)
        else:
            yield CancelOrder(CLIENT, live.pop(), 0)


@pytest.mark.parametrize("span", [20, 300, 5_000, 900_000])
@pytest.mark.parametrize("seed", range(3))
def test_many_prices_come_and_go(seed: int, span: int) -> None:
    pair = Pair()
    drawn = list(commands(Random(f"{seed} {span}"), 6_000, span))
    for at in range(0, len(drawn), 60):
        pair.submit(drawn[at : at + 60])
        if at % 1_200 == 0:
            pair.compare()
    pair.compare()


@pytest.mark.parametrize("fill", ["up", "down", "inward"])
@pytest.mark.parametrize("empty", ["up", "down", "outward"])
@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_tree_grows_and_goes_from_every_end(side: Side, fill: str, empty: str) -> None:
    count = 2_000
    order = {
        "up": list(range(count)),
        "down": list(range(count))[::-1],
        "inward": [at // 2 if at % 2 else count - 1 - at // 2 for at in range(count)],
    }
    order["outward"] = order["inward"][::-1]
    pair = Pair()
    names = {place: number for number, place in enumerate(order[fill], 1)}
    pair.submit([enter(number, side, MIDDLE + place) for place, number in names.items()])
    pair.compare()
    left = order[empty]
    for at in range(0, count, 100):
        pair.submit([CancelOrder(CLIENT, names[place], 0) for place in left[at : at + 100]])
    pair.compare()
    assert pair.kernel.live_orders == 0
    pair.submit([enter(count + 1, side, MIDDLE)])
    pair.compare()


def test_one_order_sweeps_the_whole_ladder() -> None:
    pair = Pair()
    pair.submit([enter(number, Side.SELL, MIDDLE + number) for number in range(1, 3_000)])
    sweep = enter(3_000, Side.BUY, GREATEST_PRICE)._replace(quantity=10 * 2_900 + 5)
    pair.submit([sweep])
    pair.compare()
    assert pair.kernel.live_orders == 99


def test_prices_at_both_ends_of_what_is_allowed() -> None:
    pair = Pair()
    pair.submit(
        [
            enter(1, Side.BUY, 1),
            enter(2, Side.SELL, GREATEST_PRICE),
            enter(3, Side.BUY, GREATEST_PRICE, stop=True),
            enter(4, Side.SELL, 1, stop=True),
            enter(5, Side.BUY, GREATEST_PRICE + 1),
        ]
    )
    pair.compare()
    pair.submit([enter(6, Side.BUY, GREATEST_PRICE), enter(7, Side.SELL, 1)])
    pair.compare()
