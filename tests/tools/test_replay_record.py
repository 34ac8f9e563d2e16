"""The record follows a list that the reference machine makes, and knows nothing else of it."""

from collections import Counter

import pytest

from engine.market import Market
from feed.codec import decode_frame, encode_group
from feed.messages import (
    NO_CLIENT_ORDER_ID,
    CancelOrder,
    CancelReason,
    Capacity,
    Command,
    DefineInstrument,
    EnterOrder,
    LogIn,
    MassCancel,
    OrderType,
    PostOnly,
    SelfTradePrevention,
    ShortSale,
    Side,
    TimeInForce,
    symbol_field,
)
from feed.subscriber import Group
from tests.tools.lobster_sample import make_sample
from tools.replay.lobster import (
    Enter,
    EventType,
    LobsterEvent,
    OpeningLevel,
    OrderFlow,
    book_before,
    parse_messages,
    parse_opening,
)
from tools.replay.record import ReplayError, ReplayRecord

SYMBOL = symbol_field("AAPL")
REPLAYER, STRANGER = 1, 2
OPENING = [OpeningLevel(Side.BUY, 990, 50), OpeningLevel(Side.SELL, 1010, 70)]


class Replay:
    """A machine that carries out what is sent, and a record that reads what it says."""

    def __init__(self, opening: list[OpeningLevel] = OPENING) -> None:
        self.lines: list[str] = []
        self.record = ReplayRecord(REPLAYER, SYMBOL, self.lines.append)
        self._market = Market()
        self._sequence = 1
        self._flow = OrderFlow()
        self._last_user_ref_num = 100  # the client has been here before
        self._user_ref_nums: dict[int, int] = {}
        self.submit(DefineInstrument(SYMBOL, 1, 1, ShortSale.ALLOWED))
        for client in (REPLAYER, STRANGER):
            self.submit(LogIn(client, client, SelfTradePrevention.OFF))
        actions = self._flow.open(opening)
        self.record.expect_opening(actions)
        for action in actions:
            assert isinstance(action, Enter)
            self._send(action)

    def play(self, *events: tuple[EventType, int, int, int, Side]) -> None:
        for line, (kind, number, quantity, price, side) in enumerate(events, start=1):
            step = self._flow.step(LobsterEvent(line, 0, kind, number, quantity, price, side))
            self.record.expect(step)
            for action in step.actions:
                if isinstance(action, Enter):
                    self._send(action)
                else:
                    order = self._user_ref_nums[action.reference]
                    self.submit(CancelOrder(REPLAYER, order, action.remaining))

    def mark(self) -> None:
        self.record.expect_mark()
        number = self._next_user_ref_num()
        self.submit(MassCancel(REPLAYER, number, symbol_field("NONE"), CancelReason.USER))

    def enter_as_stranger(self, side: Side, quantity: int, price: int) -> None:
        self.submit(order(STRANGER, self._next_user_ref_num(), side, quantity, price))

    def submit(self, command: Command) -> None:
        if not self._market.admits(getattr(command, "client", 0), command):
            return
        events = self._market.apply(self._sequence, 0, command)
        frames = encode_group((command, *events), self._sequence, 0)
        self._sequence += len(frames)
        self.record.apply(Group(tuple(map(decode_frame, frames))))

    def _send(self, action: Enter) -> None:
        number = self._user_ref_nums[action.reference] = self._next_user_ref_num()
        self.submit(
            order(REPLAYER, number, action.side, action.quantity, action.price)._replace(
                time_in_force=action.time_in_force
            )
        )

    def _next_user_ref_num(self) -> int:
        self._last_user_ref_num += 1
        return self._last_user_ref_num


def order(client: int, user_ref_num: int, side: Side, quantity: int, price: int) -> EnterOrder:
    return EnterOrder(
        client,
        user_ref_num,
        SYMBOL,
        side,
        OrderType.LIMIT,
        TimeInForce.DAY,
        PostOnly.NO,
        quantity,
        price,
        0,
        Capacity.PRINCIPAL,
        NO_CLIENT_ORDER_ID,
    )


ENTER, REDUCE, DELETE = EventType.ENTER, EventType.REDUCE, EventType.DELETE
EXECUTE, EXECUTE_HIDDEN = EventType.EXECUTE, EventType.EXECUTE_HIDDEN
BUY, SELL = Side.BUY, Side.SELL


def test_each_event_has_a_line_with_the_book_after_it_took_effect() -> None:
    replay = Replay()
    replay.play(
        (EXECUTE_HIDDEN, 0, 5, 1000, BUY),
        (ENTER, 7, 30, 1000, BUY),
        (REDUCE, 7, 10, 1000, BUY),
        (EXECUTE, 7, 15, 1000, BUY),
        (DELETE, 7, 5, 1000, BUY),
        (ENTER, 8, 1, 1005, SELL),
        (EXECUTE, 4, 50, 990, BUY),
        (EXECUTE_HIDDEN, 0, 5, 1000, SELL),
    )
    replay.mark()
    assert replay.lines == [
        "990,50,1010,70",
        "1000,30,1010,70",
        "1000,20,1010,70",
        "1000,5,1010,70",
        "990,50,1010,70",
        "990,50,1005,1",
        ",,1005,1",
        ",,1005,1",
    ]
    counters = replay.record.counters
    assert (counters.known, counters.matched, counters.differed, counters.unknown) == (1, 1, 0, 1)
    assert counters.events == Counter(
        {EXECUTE_HIDDEN: 2, ENTER: 2, REDUCE: 1, EXECUTE: 2, DELETE: 1}
    )
    assert (counters.commands, counters.trades, counters.rejected) == (2 + 6, 2, 0)
    assert replay.record.marks == 1


def test_a_book_without_orders_is_a_line_of_empty_fields() -> None:
    replay = Replay([OpeningLevel(BUY, 990, 50)])
    replay.play((DELETE, 4, 50, 990, BUY))
    assert replay.lines == [",,,"]


def test_lines_wait_until_it_is_sure_that_a_cancel_left_no_trace() -> None:
    replay = Replay()
    replay.play((ENTER, 7, 30, 1000, BUY))
    replay.enter_as_stranger(SELL, 30, 1000)  # takes the whole order: it can't be canceled any more
    replay.play((DELETE, 7, 30, 1000, BUY), (EXECUTE_HIDDEN, 0, 5, 1000, BUY))
    assert replay.lines == ["1000,30,1010,70"]
    replay.mark()
    assert replay.lines == ["1000,30,1010,70", "990,50,1010,70", "990,50,1010,70"]
    assert replay.record.counters.without_effect == 1


def test_an_execution_that_trades_with_another_order_differs() -> None:
    replay = Replay()
    replay.play((ENTER, 7, 30, 1000, BUY))
    replay.enter_as_stranger(BUY, 10, 1001)
    replay.play((EXECUTE, 7, 30, 1000, BUY))
    counters = replay.record.counters
    assert (counters.known, counters.matched, counters.differed_lines) == (1, 0, [1])


def test_an_execution_that_trades_in_part_only_differs() -> None:
    replay = Replay()
    replay.play((ENTER, 7, 30, 1000, BUY))
    replay.enter_as_stranger(SELL, 10, 1000)
    replay.play((EXECUTE, 7, 30, 1000, BUY))
    counters = replay.record.counters
    assert (counters.known, counters.matched, counters.differed) == (1, 0, 1)


def test_a_new_order_that_trades_at_once_is_counted() -> None:
    replay = Replay()
    replay.play((ENTER, 7, 30, 1010, BUY))
    assert replay.record.counters.entries_traded == 1
    assert replay.lines == ["990,50,1010,40"]


def test_a_list_with_another_order_than_was_sent_is_refused() -> None:
    replay = Replay()
    event = LobsterEvent(1, 0, ENTER, 7, 30, 1000, BUY)
    replay.record.expect(OrderFlow().step(event))
    with pytest.raises(ReplayError, match="the list holds"):
        replay.submit(order(REPLAYER, 200, BUY, 31, 1000))


def test_a_list_with_a_command_that_was_not_sent_is_refused() -> None:
    replay = Replay()
    with pytest.raises(ReplayError, match="was not sent"):
        replay.submit(order(REPLAYER, 200, BUY, 31, 1000))


def test_a_list_that_leaves_out_an_order_is_refused() -> None:
    replay = Replay()
    event = LobsterEvent(1, 0, ENTER, 7, 30, 1000, BUY)
    replay.record.expect(OrderFlow().step(event))
    with pytest.raises(ReplayError, match="goes on without it"):
        replay.mark()


@pytest.mark.parametrize("seed", range(20))
def test_lines_and_executions_of_a_whole_file_are_the_truth(seed: int) -> None:
    sample = make_sample(seed, events=400)
    events = list(parse_messages(sample.messages.splitlines()))
    opening = book_before(parse_opening([sample.opening]), events[0])
    replay = Replay(list(opening))
    replay.play(*(event[2:] for event in events))
    replay.mark()
    assert replay.lines == sample.lines
    counters = replay.record.counters
    assert (counters.known, counters.matched) == (sample.known, sample.known)
    assert counters.unknown == sample.unknown
    assert (counters.entries_traded, counters.without_effect, counters.rejected) == (0, 0, 0)
