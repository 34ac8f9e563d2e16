"""The kernel's core in batches, from Python and from C, without frames."""

import importlib.util
import re
import shutil
import struct
import subprocess
import sysconfig
from pathlib import Path
from random import Random

import pytest

from engine.markets import KernelMarket, ReferenceMarket
from feed.datagrams import Submission, encode_submission
from feed.messages import (
    CancelOrder,
    Capacity,
    DefineInstrument,
    EnterOrder,
    LogIn,
    OrderType,
    PostOnly,
    SelfTradePrevention,
    ShortSale,
    Side,
    TimeInForce,
    Trade,
    symbol_field,
)

if KernelMarket is None:
    pytest.skip("the kernel was not built here", allow_module_level=True)

from engine._market_c import OPERATION_BYTES, MatchingCore

ROOT = Path(__file__).parent.parent.parent
OPERATION = struct.Struct("<BBHIIIII")
ENTER, CANCEL = ord("O"), ord("X")
BUY, SELL = int(Side.BUY), int(Side.SELL)
SYMBOL = symbol_field("CORE")
GREATEST_PRICE = 1_999_999_900


def operation(
    kind: int,
    user_ref_num: int,
    *,
    side: int = BUY,
    instrument: int = 1,
    client: int = 1,
    price: int = 100,
    quantity: int = 10,
) -> bytes:
    return OPERATION.pack(kind, side, 0, instrument, client, user_ref_num, price, quantity)


@pytest.fixture
def core() -> MatchingCore:
    core = MatchingCore(100)
    assert core.list_instrument(SYMBOL, 1, 1) == 1
    assert core.log_in(7, SelfTradePrevention.OFF) == 1
    return core


def test_operations_have_the_size_of_the_c_record() -> None:
    assert OPERATION.size == OPERATION_BYTES


def test_batch_tells_what_came_of_it(core: MatchingCore) -> None:
    batch = [
        operation(ENTER, 1, side=SELL, price=101, quantity=30),
        operation(ENTER, 2, side=SELL, price=102, quantity=30),
        operation(ENTER, 3, price=102, quantity=40),
        operation(CANCEL, 2),
        operation(ENTER, 4, price=99, quantity=5),
    ]
    assert core.run(b"".join(batch)) == (2, 40, 30 * 101 + 10 * 102, 0)
    assert (core.live_orders, core.open_quantity) == (1, 5)
    core.check()


@pytest.mark.parametrize(
    "refused",
    [
        operation(ENTER, 1),
        operation(ENTER, 2, instrument=0),
        operation(ENTER, 2, instrument=2),
        operation(ENTER, 2, instrument=2**32 - 1),
        operation(ENTER, 2, client=0),
        operation(ENTER, 2, client=2),
        operation(ENTER, 2, client=2**32 - 1),
        operation(ENTER, 2, side=0),
        operation(ENTER, 2, price=0),
        operation(ENTER, 2, price=GREATEST_PRICE + 1),
        operation(ENTER, 2, price=2**32 - 1),
        operation(ENTER, 2, quantity=0),
        operation(ENTER, 2, quantity=1_000_000),
        operation(CANCEL, 2),
        operation(CANCEL, 1, client=2),
        operation(ord("?"), 2),
    ],
)
def test_operation_that_can_not_be_changes_nothing(core: MatchingCore, refused: bytes) -> None:
    assert core.run(operation(ENTER, 1)) == (0, 0, 0, 0)
    assert core.run(refused) == (0, 0, 0, 1)
    assert (core.live_orders, core.open_quantity) == (1, 10)
    core.check()


def test_orders_beyond_the_limit_are_refused() -> None:
    core = MatchingCore(2)
    core.list_instrument(SYMBOL, 1, 1)
    core.log_in(1, SelfTradePrevention.OFF)
    batch = b"".join(operation(ENTER, number) for number in (1, 2, 3))
    assert core.run(batch) == (0, 0, 0, 1)
    assert core.run(operation(CANCEL, 1) + operation(ENTER, 4)) == (0, 0, 0, 0)
    assert core.live_orders == 2


def test_bytes_that_are_not_whole_operations_are_refused(core: MatchingCore) -> None:
    with pytest.raises(ValueError, match="not operations"):
        core.run(operation(ENTER, 1)[:-1])
    assert core.live_orders == 0


def test_instruments_and_clients_that_can_not_be_are_refused(core: MatchingCore) -> None:
    for symbol, tick_size in ((SYMBOL, 1), (b" " * 8, 1), (b"NEW     ", 0), (b"NEW", 1)):
        with pytest.raises(ValueError, match=r"symbol|added"):
            core.list_instrument(symbol, tick_size, 1)
    with pytest.raises(ValueError, match="added"):
        core.log_in(8, ord("?"))


@pytest.mark.parametrize("mode", SelfTradePrevention)
def test_core_trades_as_the_reference_does(mode: SelfTradePrevention) -> None:
    random = Random(int(mode))
    core = MatchingCore(100_000)
    core.list_instrument(SYMBOL, 1, 1)
    reference = ReferenceMarket()
    sequence = 1
    listed = DefineInstrument(SYMBOL, 1, 1, ShortSale.ALLOWED)
    for command in (listed, LogIn(1, 1, mode), LogIn(2, 1, SelfTradePrevention.OFF)):
        sequence = reference.carry_out(command, sequence, 0).next_sequence
    indexes = {1: core.log_in(1, mode), 2: core.log_in(2, SelfTradePrevention.OFF)}
    for number in range(1, 3_000):
        client = random.choice((1, 2))
        if random.random() < 0.4:
            named = random.randrange(max(1, number - 50), number + 1)
            mine = operation(CANCEL, named, client=indexes[client])
            theirs: EnterOrder | CancelOrder = CancelOrder(client, named, 0)
        else:
            side = random.choice((BUY, SELL))
            price, quantity = random.randrange(95, 106), random.randrange(1, 40)
            mine = operation(
                ENTER, number, side=side, client=indexes[client], price=price, quantity=quantity
            )
            theirs = _enter(client, number, side, price, quantity)
        run = reference.submit(encode_submission(Submission(1, theirs)), sequence, 0).run
        sequence = run.next_sequence
        messages = [frame.message() for frame in run]
        trades = [message for message in messages if isinstance(message, Trade)]
        seen = core.run(mine)
        assert seen[:3] == (
            len(trades),
            sum(trade.quantity for trade in trades),
            sum(trade.price * trade.quantity for trade in trades),
        )
        assert core.live_orders == reference.live_orders
        core.check()
    assert core.open_quantity == sum(entry.quantity for entry in reference.book_entries())


def _enter(client: int, number: int, side: int, price: int, quantity: int) -> EnterOrder:
    limit, day, no = int(OrderType.LIMIT), int(TimeInForce.DAY), int(PostOnly.NO)
    agency = int(Capacity.AGENCY)
    return EnterOrder(
        client, number, SYMBOL, side, limit, day, no, quantity, price, 0, agency, b" " * 14
    )


@pytest.mark.skipif(
    shutil.which("gcc") is None or not (ROOT / "engine" / "_market_c_api.h").exists(),
    reason="needs gcc, and the kernel built in place",
)
def test_example_of_the_documentation_drives_the_core_from_c(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "kernel.md").read_text()
    example = re.search(r"```c\n(.*?)```", text, re.DOTALL)
    assert example is not None
    source, built = tmp_path / "kernel_example.c", tmp_path / "kernel_example.so"
    source.write_text(example[1])
    includes = [f"-I{ROOT / 'engine'}", f"-I{sysconfig.get_paths()['include']}"]
    command = ["gcc", "-shared", "-fPIC", "-Wall", *includes, str(source), "-o", str(built)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    spec = importlib.util.spec_from_file_location("kernel_example", built)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    promised = re.search(r"/\* (\(.*\), \(.*\)) \*/", example[1])
    assert promised is not None
    assert str(module.example()) == f"({promised[1]})"
