"""move, add-symbol and add-shard: what the directory is made to say, and what is refused."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.tools.moving_shards import FakeShard, InterruptedMoveError, Trouble
from tests.tools.replica_statuses import configuration_of, shards_of
from tests.tools.test_moving import source_with_orders
from tools import shards as shards_module
from tools.cli import build_app
from tools.configuration import Configuration
from tools.console import CommandError, UsageError
from tools.moving import Instrument, Moved
from tools.shards import _add_shard, _add_symbol, _move
from zk.directory import Directory, place

TWO = place([1, 2], {"AAPL": 1, "MSFT": 2})
IBM = {"request": "define", "symbol": "IBM", "tick_size": 1, "lot_size": 1, "short_sale": True}


class FakeClient:
    """The directory, and each one that it has been."""

    def __init__(self, directory: Directory) -> None:
        self.told = [directory]

    async def read(self, within_s: float) -> Directory:
        return self.told[-1]

    async def change(self, change: Callable[[Directory], Directory], within_s: float) -> Directory:
        self.told.append(change(self.told[-1]))
        return self.told[-1]


class FakePrimary(FakeShard):
    """A shard's primary, in a day."""

    def __init__(self, shard: int, trouble: Trouble, day: int = 0) -> None:
        super().__init__(shard, trouble)
        self.day = day
        self.asked: list[Mapping[str, Any]] = []
        self.is_led = False

    async def status(self) -> dict[str, Any]:
        return {"day": self.day or None}

    async def until_led(self) -> None:
        self.is_led = True

    async def commit(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        self.asked.append(request)
        if request["request"] == "new-day":
            self.day = request["day"]
            return {"sequence": 1, "expired": 0}
        if request["request"] == "define":
            self.list_symbol(request["symbol"])
            return {"symbol": request["symbol"], "is_new": True, "sequence": 7}
        return await super().commit(request)


class World:
    """An exchange whose shards and directory are no processes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Directory, shards: int) -> None:
        self.trouble = Trouble()
        self.client = FakeClient(directory)
        self.primaries = {shard: FakePrimary(shard, self.trouble) for shard in range(1, shards + 1)}
        self.settings = shards_of(max(shards, 2))
        self.held: list[str] = []
        for name in ("only_operator", "open_directory", "primaries_of"):
            monkeypatch.setattr(shards_module, name, getattr(self, name))

    @contextlib.asynccontextmanager
    async def only_operator(self, settings: Configuration, what: str) -> AsyncIterator[None]:
        self.held.append(what)
        yield

    @contextlib.asynccontextmanager
    async def open_directory(self, settings: Configuration) -> AsyncIterator[FakeClient]:
        assert self.held
        yield self.client

    async def primaries_of(
        self, settings: Configuration, wanted: Sequence[int]
    ) -> dict[int, FakePrimary]:
        return {shard: self.primaries[shard] for shard in wanted}

    def put_aapl(self) -> None:
        """Let AAPL be halted in shard 1, with orders."""
        source = source_with_orders(self.trouble)
        self.primaries[1].market, self.primaries[1].groups = source.market, source.groups

    def move(self, symbol: str, to: int) -> Moved | None:
        return asyncio.run(_move(self.settings, symbol, to))


def test_move_is_told_in_the_directory_before_it_begins_and_when_it_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch, TWO, 2)
    world.put_aapl()
    orders = world.primaries[1].orders("AAPL")
    moved = world.move("AAPL", 2)
    assert moved is not None
    assert moved[:4] == ("AAPL", 1, 2, len(orders))
    assert world.client.told == [
        TWO,
        TWO._replace(moving={"AAPL": 2}),
        TWO._replace(symbols={"AAPL": (1, 2), "MSFT": (2,)}),
    ]
    assert world.held == ["move AAPL --to 2"]


def test_move_that_was_interrupted_goes_on_and_ends_in_the_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch, TWO, 2)
    world.put_aapl()
    orders = world.primaries[1].orders("AAPL")
    world.trouble.dies_after(2)
    with pytest.raises(InterruptedMoveError):
        world.move("AAPL", 2)
    assert world.client.told[-1].moving == {"AAPL": 2}
    with pytest.raises(
        CommandError, match=r"on its way to shard 2: finish that first.*AAPL --to 2"
    ):
        world.move("AAPL", 1)
    assert world.move("AAPL", 2) is not None
    assert world.primaries[2].orders("AAPL") == orders
    assert (world.client.told[-1].moving, world.client.told[-1].shard_of("AAPL")) == ({}, 2)
    assert world.move("AAPL", 2) is None


@pytest.mark.parametrize(
    ("symbol", "to", "text"),
    [
        ("IBM", 2, "IBM is in no shard: lockstep add-symbol lists it"),
        ("AAPL", 3, "shard 3 is not in use: lockstep add-shard 3 takes it into use"),
        ("MSFT", 1, "MSFT trades in shard 2: halt it first, with lockstep halt MSFT"),
    ],
)
def test_move_that_can_not_be_leaves_the_directory_alone(
    monkeypatch: pytest.MonkeyPatch, symbol: str, to: int, text: str
) -> None:
    world = World(monkeypatch, TWO, 3)
    world.put_aapl()
    world.primaries[2].list_symbol("MSFT")
    with pytest.raises(CommandError, match=text):
        world.move(symbol, to)
    assert world.client.told == [TWO]


def test_symbol_does_not_move_from_one_day_into_another(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, TWO, 2)
    world.put_aapl()
    world.primaries[2].day = 20261123
    with pytest.raises(CommandError, match="shard 1 is in day None and shard 2 in day 20261123"):
        world.move("AAPL", 2)
    assert world.client.told == [TWO]


def add_symbol(world: World, shard: int | None) -> dict[str, Any]:
    return asyncio.run(_add_symbol(world.settings, IBM, shard))


@pytest.mark.parametrize("shard", [None, 1, 2])
def test_symbol_is_listed_and_then_put_into_the_directory(
    monkeypatch: pytest.MonkeyPatch, shard: int | None
) -> None:
    world = World(monkeypatch, TWO, 2)
    expected = TWO.add_symbol("IBM", shard).shard_of("IBM")
    assert add_symbol(world, shard)["shard"] == expected
    assert world.primaries[expected].asked == [IBM]
    assert world.client.told[1:] == [TWO.add_symbol("IBM", expected)]
    assert add_symbol(world, shard)["shard"] == expected
    assert len(world.client.told) == 2


def test_symbol_is_not_listed_in_two_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, TWO, 3)
    world.primaries[2].list_symbol("IBM")  # and the operator's process was killed
    with pytest.raises(CommandError, match="IBM is listed in shard 2: add it with --shard 2"):
        add_symbol(world, 1)
    with pytest.raises(CommandError, match="shard 3 is not in use"):
        add_symbol(world, 3)
    add_symbol(world, 2)
    with pytest.raises(CommandError, match="IBM is in shard 2 already: lockstep move moves it"):
        add_symbol(world, 1)


def test_only_shard_lists_a_symbol_without_a_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, TWO, 1)
    answer = asyncio.run(_add_symbol(configuration_of("e1"), IBM, None))
    assert (answer["symbol"], answer["is_new"]) == ("IBM", True)
    assert (world.held, world.client.told) == ([], [TWO])


def add_shard(world: World) -> dict[str, Any]:
    return asyncio.run(_add_shard(world.settings, 3))


def test_shard_begins_the_running_day_before_it_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, TWO, 3)
    for shard in (1, 2):
        world.primaries[shard].day = 20261123
    assert add_shard(world) == {"shard": 3, "day": 20261123, "was_added": True}
    assert world.primaries[3].asked == [{"request": "new-day", "day": 20261123}]
    assert world.primaries[3].is_led
    assert world.client.told[1:] == [TWO._replace(shards=(1, 2, 3))]
    assert world.client.told[-1].homes == (1, 2)
    assert add_shard(world)["was_added"] is False
    assert len(world.client.told) == 2


def test_shard_of_an_exchange_without_days_begins_none(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, TWO, 3)
    assert add_shard(world)["day"] is None
    assert world.primaries[3].asked == []


def invoke(configuration: Configuration, folder: Path, *words: str) -> Exception | None:
    path = folder / "exchange.toml"
    configuration.save(path)
    arguments = [*words, "-c", str(path)]
    error = CliRunner().invoke(build_app(words[:1]), arguments).exception
    assert error is None or isinstance(error, Exception)
    return error


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["move", "AAPL", "--to", "9"], "no shard 9"),
        (["add-shard", "9"], "no shard 9"),
        (["add-symbol", "IBM", "--shard", "9"], "no shard 9"),
        (["add-symbol", "MUCHTOOLONG"], "MUCHTOOLONG"),
    ],
)
def test_shard_that_is_not_configured_is_refused_at_once(
    tmp_path: Path, words: list[str], text: str
) -> None:
    error = invoke(shards_of(2), tmp_path, *words)
    assert isinstance(error, UsageError)
    assert text in str(error)


@pytest.mark.parametrize("words", [["move", "AAPL", "--to", "1"], ["add-shard", "1"]])
def test_exchange_of_one_shard_moves_nothing(tmp_path: Path, words: list[str]) -> None:
    assert isinstance(invoke(configuration_of("e1"), tmp_path, *words), UsageError)


def test_what_has_moved_is_told_with_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def move(settings: Configuration, symbol: str, to: int) -> Moved:
        return Moved(symbol, 1, to, 1234, 567_890, 1)

    monkeypatch.setattr(shards_module, "_move", move)
    path = tmp_path / "exchange.toml"
    shards_of(2).save(path)
    words = ["move", "AAPL", "--to", "2", "-c", str(path)]
    assert CliRunner().invoke(build_app(["move"]), words).stdout == (
        "AAPL has moved from shard 1 to shard 2, with 1,234 orders for 567,890. "
        "It is halted there: lockstep resume AAPL\n"
    )


def test_instrument_that_has_moved_away_is_no_hindrance(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, TWO, 2)

    async def instrument(symbol: str) -> Instrument:
        return Instrument(symbol, "MOVED", 1, 0)

    monkeypatch.setattr(world.primaries[2], "instrument", instrument)
    assert add_symbol(world, 1)["shard"] == 1
