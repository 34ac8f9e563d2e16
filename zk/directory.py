"""The directory of an exchange: which shards there are, and where each symbol and client is.

A directory is a value; a change of it is a function from one to the next. Where it stands in
ZooKeeper and who replaces it there is in `zk.directory_talk`.
"""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from zk.nodes import NodeDataError

LARGEST_SHARD = 65_535  # a shard's number has two bytes in the packets
MOST_SHARDS = 64  # a shard's list keeps a mark of so many others at most
# ZooKeeper takes no packet of 1 MiB. Room for some 30,000 symbols.
MOST_BYTES = 1_000_000
_SYMBOL_CHARACTERS = 8
_FIELDS = {"shards", "homes", "symbols", "moving"}


class Directory(NamedTuple):
    """Where everything is."""

    shards: tuple[int, ...]  # ascending
    # The shards that clients are at home in: those of the beginning. They never change, so that no
    # client's stream ever begins anew in another list.
    homes: tuple[int, ...]
    # The shards that each symbol has been in, each once; the last one is where it is.
    symbols: Mapping[str, tuple[int, ...]]
    moving: Mapping[str, int]  # the destination of moves that have begun and not ended

    @classmethod
    def alone(cls, shard: int) -> "Directory":
        """That of an exchange with one shard: everything is there."""
        return cls((shard,), (shard,), {}, {})

    def home_of(self, client: int) -> int:
        """The shard whose list decides how this client's stream goes on; it never changes."""
        return rendezvous(b"client %d" % client, self.homes)

    def shard_of(self, symbol: str) -> int:
        """Where a symbol is traded; for an unknown one a shard that will say so."""
        places = self.symbols.get(symbol)
        return places[-1] if places else rendezvous(_symbol_key(symbol), self.homes)

    def earlier_shards(self, symbol: str) -> tuple[int, ...]:
        """Where a symbol was before it came to where it is; the first one first."""
        return self.symbols.get(symbol, ())[:-1]

    # Changes. Each raises ValueError when it makes no sense.

    def add_shard(self, shard: int) -> "Directory":
        """One shard more. Nothing moves there by itself, and no client is at home there."""
        if shard in self.shards:
            raise ValueError(f"shard {shard} is there already")
        return _checked(self._replace(shards=tuple(sorted((*self.shards, shard)))))

    def add_symbol(self, symbol: str, shard: int | None) -> "Directory":
        """One symbol more, in this shard, or in the one that its name gives."""
        if symbol in self.symbols:
            raise ValueError(f"{symbol} is in shard {self.shard_of(symbol)} already")
        place = rendezvous(_symbol_key(symbol), self.shards) if shard is None else shard
        return _checked(self._replace(symbols={**self.symbols, symbol: (place,)}))

    def begin_move(self, symbol: str, to: int) -> "Directory":
        """Say that a symbol is on its way to another shard; it is still where it was."""
        if symbol not in self.symbols:
            raise ValueError(f"{symbol} is not in the directory")
        if symbol in self.moving:
            raise ValueError(f"{symbol} is on its way to shard {self.moving[symbol]} already")
        return _checked(self._replace(moving={**self.moving, symbol: to}))

    def end_move(self, symbol: str) -> "Directory":
        """Say that a symbol has arrived."""
        if symbol not in self.moving:
            raise ValueError(f"{symbol} is not on its way to another shard")
        to = self.moving[symbol]
        earlier = (place for place in self.symbols[symbol] if place != to)
        moving = {each: shard for each, shard in self.moving.items() if each != symbol}
        symbols = {**self.symbols, symbol: (*earlier, to)}
        return _checked(self._replace(symbols=symbols, moving=moving))

    def check(self) -> None:
        """Raises ValueError when it contradicts itself."""
        _check_shards("shards", self.shards)
        _check_shards("homes", self.homes)
        if not set(self.homes) <= set(self.shards):
            raise ValueError(f"{_listed(self.homes)} can't be the homes: {self._shards_told()}")
        for symbol, places in self.symbols.items():
            _check_symbol(symbol)
            if not places or len(set(places)) < len(places):
                raise ValueError(f"the shards of {symbol} are not one or more different ones")
            for place in places:
                self._check_place(symbol, place)
        for symbol, destination in self.moving.items():
            if symbol not in self.symbols:
                raise ValueError(f"{symbol} is on its way, but is not in the directory")
            self._check_place(symbol, destination)
            if destination == self.shard_of(symbol):
                raise ValueError(f"{symbol} is in shard {destination} already")

    def _check_place(self, symbol: str, shard: int) -> None:
        if shard not in self.shards:
            raise ValueError(f"{symbol} can't be in shard {shard}: {self._shards_told()}")

    def _shards_told(self) -> str:
        return f"there is: {_listed(self.shards)}"


def rendezvous(key: bytes, shards: Sequence[int]) -> int:
    """The shard of a key: the one that draws the highest number for it.

    So the same everywhere and always, and with one more shard only those keys move for which the
    new one draws the highest: one in as many as there are shards.
    """

    def drawn(shard: int) -> bytes:
        return blake2b(key + shard.to_bytes(2, "big"), digest_size=16).digest()

    return max(sorted(shards), key=drawn)


def place(shards: Iterable[int], symbols: Mapping[str, int | None]) -> Directory:
    """The first directory: each symbol in the shard that is said, or in the one of its name.

    Raises ValueError when that makes no sense.
    """
    numbers = tuple(sorted(shards))
    directory = _checked(Directory(numbers, numbers, {}, {}))
    places = {
        symbol: (rendezvous(_symbol_key(symbol), numbers) if shard is None else shard,)
        for symbol, shard in symbols.items()
    }
    return _checked(directory._replace(symbols=places))


def encode_directory(directory: Directory, change: int) -> bytes:
    """The data of the directory's node; `change` counts the changes since the first one.

    Raises ValueError when it is more than a node can hold.
    """
    fields = {
        "change": change,
        "shards": directory.shards,
        "homes": directory.homes,
        "symbols": directory.symbols,
        "moving": directory.moving,
    }
    data = json.dumps(fields, separators=(",", ":")).encode()
    if len(data) > MOST_BYTES:
        raise ValueError(
            f"the directory has {len(data)} bytes, and ZooKeeper has room for {MOST_BYTES}:"
            " list fewer symbols"
        )
    return data


def decode_directory(data: bytes) -> tuple[Directory, int]:
    """The directory in this data, and how many changes made it; raises NodeDataError."""
    try:
        fields = json.loads(data)
        change, directory = _directory(fields)
        directory.check()
    except (
        ValueError,
        RecursionError,
    ) as error:  # json's are the former
        raise NodeDataError(f"no directory: {error}") from error
    return directory, change


def _directory(fields: Any) -> tuple[int, Directory]:
    if not isinstance(fields, dict) or set(fields) != {"change", *_FIELDS}:
        raise ValueError("other fields than one has")
    if not (isinstance(fields["symbols"], dict) and isinstance(fields["moving"], dict)):
        raise ValueError("symbols and moving are to be objects")
    change = _number("change", fields["change"])
    if change < 0:
        raise ValueError(f"{change} changes")
    symbols = {symbol: _numbers(symbol, each) for symbol, each in fields["symbols"].items()}
    moving = {symbol: _number(symbol, each) for symbol, each in fields["moving"].items()}
    shards = _numbers("shards", fields["shards"])
    return change, Directory(shards, _numbers("homes", fields["homes"]), symbols, moving)


def _number(what: str, value: Any) -> int:
    if type(value) is not int:  # a bool is an int, too
        raise ValueError(f"{what}: {value!r} is not a number")
    return value


def _numbers(what: str, values: Any) -> tuple[int, ...]:
    if not isinstance(values, list):
        raise ValueError(f"{what}: {values!r} is not a list")
    return tuple(_number(what, value) for value in values)


def _checked(directory: Directory) -> Directory:
    directory.check()
    return directory


def _check_shards(what: str, shards: tuple[int, ...]) -> None:
    if not 1 <= len(shards) <= MOST_SHARDS:
        raise ValueError(f"{what}: {len(shards)} of them, and there are 1 to {MOST_SHARDS}")
    if any(later <= earlier for earlier, later in itertools.pairwise(shards)):
        raise ValueError(f"{what}: {_listed(shards)} do not ascend")
    for shard in shards:
        if not 1 <= shard <= LARGEST_SHARD:
            raise ValueError(f"{shard} is not a shard's number: use 1 to {LARGEST_SHARD}")


def _check_symbol(symbol: str) -> None:
    is_named = 1 <= len(symbol) <= _SYMBOL_CHARACTERS and symbol == symbol.strip()
    if not (is_named and symbol.isascii() and symbol.isprintable()):
        raise ValueError(
            f"{symbol!r} is not a symbol: it needs 1 to {_SYMBOL_CHARACTERS} printable characters"
        )


def _symbol_key(symbol: str) -> bytes:
    return b"symbol " + symbol.encode("utf-8", "backslashreplace")


def _listed(shards: Iterable[int]) -> str:
    return ", ".join(map(str, shards)) or "none"
