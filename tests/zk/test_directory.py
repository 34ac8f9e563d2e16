"""The directory as a value: where everything is, what may change, and how it stands in a node."""

import json
import re
import subprocess
import sys
from collections import Counter
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zk.directory import (
    MOST_SHARDS,
    Directory,
    decode_directory,
    encode_directory,
    place,
    rendezvous,
)
from zk.nodes import NodeDataError

TWO = place([1, 2], {"AAPL": 1, "MSFT": 2})
CLIENTS = range(1, 2001)
symbols = st.text("ABCDEFGHIJ", min_size=1, max_size=8)
shards = st.sets(st.integers(1, 65535), min_size=1, max_size=8).map(lambda each: sorted(each))


@given(st.binary(max_size=20), shards, st.randoms())
def test_key_has_one_shard_in_whatever_order_they_are_named(
    key: bytes, numbers: list[int], random: Any
) -> None:
    shuffled = list(numbers)
    random.shuffle(shuffled)
    assert rendezvous(key, numbers) == rendezvous(key, shuffled) in numbers


@given(shards, st.integers(1, 65535))
def test_with_one_shard_more_only_what_goes_there_moves(numbers: list[int], more: int) -> None:
    if more in numbers:
        return
    keys = [b"%d" % client for client in range(20)]
    for key in keys:
        before, after = rendezvous(key, numbers), rendezvous(key, [*numbers, more])
        assert after in (before, more)


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_shards_have_equal_shares_and_give_an_equal_part_of_them_to_a_new_one(count: int) -> None:
    numbers = list(range(1, count + 1))
    before = {client: rendezvous(b"%d" % client, numbers) for client in CLIENTS}
    share = len(CLIENTS) / count
    assert all(0.8 * share < each < 1.2 * share for each in Counter(before.values()).values())
    moved = [client for client in CLIENTS if rendezvous(b"%d" % client, [*numbers, 99]) == 99]
    part = len(CLIENTS) / (count + 1)
    assert 0.8 * part < len(moved) < 1.2 * part


def test_places_are_those_of_every_other_process_and_of_every_release() -> None:
    """Written down: whoever computes others looks for clients and symbols where they are not."""
    directory = place([1, 2, 3], {"AAPL": None, "MSFT": None, "NVDA": None, "AMZN": None})
    assert directory.symbols == {"AAPL": (2,), "MSFT": (3,), "NVDA": (3,), "AMZN": (1,)}
    homes = [directory.home_of(client) for client in range(1, 13)]
    assert homes == [1, 2, 1, 2, 2, 3, 2, 2, 3, 2, 1, 3]
    program = (
        "from zk.directory import place;"
        "print([place([1, 2, 3], {}).home_of(client) for client in range(1, 13)])"
    )
    for seed in ("1", "2"):
        told = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert told.stdout.strip() == str(homes)


@given(st.data())
def test_whatever_changes_homes_stay_and_symbols_are_where_the_last_change_put_them(
    data: st.DataObject,
) -> None:
    directory = place(data.draw(shards), {})
    homes = {client: directory.home_of(client) for client in range(1, 30)}
    where: dict[str, list[int]] = {}
    moving: dict[str, int] = {}
    for _ in range(data.draw(st.integers(0, 12))):
        shard = data.draw(st.sampled_from(directory.shards) | st.integers(1, 65535))
        symbol = data.draw(st.sampled_from([*where, "NEW"]) | symbols)
        there = where.get(symbol, [])
        has_shard = shard in directory.shards
        is_movable = bool(there) and symbol not in moving and there[-1:] != [shard]
        arguments: dict[str, tuple[Any, ...]] = {
            "add_shard": (shard,),
            "add_symbol": (symbol, shard),
            "begin_move": (symbol, shard),
            "end_move": (symbol,),
        }
        makes_sense = {
            "add_shard": not has_shard,
            "add_symbol": not there and has_shard,
            "begin_move": is_movable and has_shard,
            "end_move": symbol in moving,
        }
        change = data.draw(st.sampled_from(sorted(arguments)))
        act = partial(getattr(directory, change), *arguments[change])
        if not makes_sense[change]:
            with pytest.raises(ValueError, match=r" is | can't "):
                act()
            continue
        before, directory = directory, act()
        assert before != directory
        if change == "add_symbol":
            where[symbol] = [shard]
        elif change == "begin_move":
            moving[symbol] = shard
        elif change == "end_move":
            to = moving.pop(symbol)
            where[symbol] = [*(each for each in there if each != to), to]
        directory.check()
        assert directory.homes == before.homes
        assert {client: directory.home_of(client) for client in homes} == homes
        assert directory.symbols == {each: tuple(places) for each, places in where.items()}
        assert directory.moving == moving
        for each, places in where.items():
            assert directory.shard_of(each) == places[-1]
            assert directory.earlier_shards(each) == tuple(places[:-1])
    assert decode_directory(encode_directory(directory, 7)) == (directory, 7)


def test_symbol_without_a_shard_is_where_its_name_puts_it_among_all_shards() -> None:
    directory = TWO.add_shard(3)
    for number in range(50):
        directory = directory.add_symbol(f"S{number}", None)
    placed = [directory.shard_of(f"S{number}") for number in range(50)]
    assert placed == [rendezvous(b"symbol S%d" % number, (1, 2, 3)) for number in range(50)]
    assert set(placed) == {1, 2, 3}


def test_unknown_symbol_is_sent_to_a_shard_of_the_beginning() -> None:
    directory = TWO.add_shard(3)
    asked = {directory.shard_of(f"NONE{number}") for number in range(50)}
    assert asked == {1, 2}
    assert directory.earlier_shards("NONE") == ()


def test_alone_everything_is_in_the_one_shard() -> None:
    directory = Directory.alone(7)
    directory.check()
    assert (directory.home_of(1), directory.shard_of("AAPL")) == (7, 7)


def test_symbol_that_is_on_its_way_is_where_it_was_until_it_arrives() -> None:
    begun = TWO.begin_move("AAPL", 2)
    assert (begun.shard_of("AAPL"), begun.moving) == (1, {"AAPL": 2})
    ended = begun.end_move("AAPL")
    assert (ended.shard_of("AAPL"), ended.moving) == (2, {})
    assert ended.earlier_shards("AAPL") == (1,)
    back = ended.begin_move("AAPL", 1).end_move("AAPL")
    assert back.symbols["AAPL"] == (2, 1)  # each shard once, however often it moves


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda: TWO.add_shard(2), "shard 2 is there already"),
        (lambda: TWO.add_shard(0), "0 is not a shard's number: use 1 to 65535"),
        (lambda: TWO.add_shard(65536), "65536 is not a shard's number: use 1 to 65535"),
        (lambda: TWO.add_symbol("AAPL", 2), "AAPL is in shard 1 already"),
        (lambda: TWO.add_symbol("NVDA", 3), "NVDA can't be in shard 3: there is: 1, 2"),
        (
            lambda: TWO.add_symbol("NINECHARS", 1),
            "'NINECHARS' is not a symbol: it needs 1 to 8 printable characters",
        ),
        (
            lambda: TWO.add_symbol(" AAPL", None),
            "' AAPL' is not a symbol: it needs 1 to 8 printable characters",
        ),
        (lambda: TWO.begin_move("NVDA", 2), "NVDA is not in the directory"),
        (lambda: TWO.begin_move("AAPL", 1), "AAPL is in shard 1 already"),
        (lambda: TWO.begin_move("AAPL", 3), "AAPL can't be in shard 3: there is: 1, 2"),
        (
            lambda: TWO.begin_move("AAPL", 2).begin_move("AAPL", 2),
            "AAPL is on its way to shard 2 already",
        ),
        (lambda: TWO.end_move("AAPL"), "AAPL is not on its way to another shard"),
        (lambda: place([], {}), "shards: 0 of them, and there are 1 to 64"),
        (lambda: place([1], {"AAPL": 2}), "AAPL can't be in shard 2: there is: 1"),
        (
            lambda: place(range(1, MOST_SHARDS + 2), {}),
            "shards: 65 of them, and there are 1 to 64",
        ),
    ],
)
def test_nonsense_is_refused_with_a_reason(change: Any, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        change()


def node(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "change": 3,
        "shards": [1, 2],
        "homes": [1, 2],
        "symbols": {"AAPL": [2, 1], "MSFT": [2]},
        "moving": {"MSFT": 1},
    }
    return json.dumps(
        {key: each for key, each in (fields | changes).items() if each != "-"}
    ).encode()


def test_node_is_read_as_it_was_written() -> None:
    directory = Directory((1, 2), (1, 2), {"AAPL": (2, 1), "MSFT": (2,)}, {"MSFT": 1})
    assert decode_directory(node()) == (directory, 3)
    assert json.loads(encode_directory(directory, 3)) == json.loads(node())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        node(change="-"),
        node(extra=1),
        node(change=-1),
        node(change=True),
        node(shards=[]),
        node(shards=[2, 1]),
        node(shards=[1, 1]),
        node(shards=[1, 2, 70_000]),
        node(shards=["1", 2]),
        node(shards={"1": 2}),
        node(homes=[]),
        node(homes=[3]),
        node(symbols=[]),
        node(symbols={"AAPL": []}, moving={}),
        node(symbols={"AAPL": [1, 1]}, moving={}),
        node(symbols={"AAPL": [3]}, moving={}),
        node(symbols={"AAPL": 1}, moving={}),
        node(symbols={"ÄPFEL": [1]}, moving={}),
        node(symbols={"": [1]}, moving={}),
        node(moving={"NVDA": 1}),
        node(moving={"MSFT": 2}),
        node(moving={"MSFT": 3}),
        node(moving={"MSFT": None}),
    ],
)
def test_node_that_holds_no_directory_is_refused(data: bytes) -> None:
    with pytest.raises(NodeDataError, match="no directory: "):
        decode_directory(data)


def test_directory_that_no_node_can_hold_is_not_written() -> None:
    directory = place([1, 2], {f"S{number}": 1 for number in range(80_000)})
    with pytest.raises(ValueError, match="list fewer symbols"):
        encode_directory(directory, 0)
