"""Faults on purpose: what a bad network makes of the datagrams on their way to a receiver."""

from dataclasses import dataclass, fields
from random import Random
from typing import Self

# A datagram that is reordered arrives behind so many later ones at most.
REORDER_LIMIT = 3


@dataclass(frozen=True, slots=True)
class FaultShares:
    """Which share of the datagrams each fault befalls, from 0 to 1, independently."""

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0

    def __post_init__(self) -> None:
        for declared in fields(self):
            share = getattr(self, declared.name)
            if not 0 <= share <= 1:
                raise ValueError(f"{declared.name} is not from 0 to 100 percent: {share * 100:g}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The shares in text such as "drop=5,duplicate=5,reorder=10,corrupt=1", in percent.

        What is not named is 0, so that "" means no faults. Raises ValueError when it is written
        otherwise.
        """
        shares: dict[str, float] = {}
        names = [declared.name for declared in fields(cls)]
        for item in filter(None, (item.strip() for item in text.split(","))):
            name, _, percent = (part.strip() for part in item.partition("="))
            if name not in names or name in shares:
                raise ValueError(f"{item!r}: name each of {', '.join(names)} once at most")
            try:
                shares[name] = float(percent) / 100
            except ValueError:
                raise ValueError(f'{item!r}: write a percentage, as in "{name}=5"') from None
        return cls(**shares)

    def __str__(self) -> str:
        return ",".join(
            f"{field.name}={getattr(self, field.name) * 100:g}" for field in fields(self)
        )

    @property
    def is_clean(self) -> bool:
        """Whether nothing ever goes wrong."""
        return self == type(self)()

    def faults(self, random: Random) -> "Faults":
        """Faults in these shares, at the whim of `random`."""
        return Faults(
            drop=self.drop,
            duplicate=self.duplicate,
            reorder=self.reorder,
            corrupt=self.corrupt,
            random=random,
        )


@dataclass(slots=True)
class FaultCounters:
    """How many datagrams have been mistreated, and how."""

    dropped: int = 0
    duplicated: int = 0
    reordered: int = 0
    corrupted: int = 0


class Faults:
    """One receiver's bad network. Shares are from 0 to 1; a seeded `random` repeats itself."""

    __slots__ = ("_late", "_random", "_shares", "counters", "is_clean")

    def __init__(
        self,
        *,
        drop: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        corrupt: float = 0.0,
        random: Random,
    ) -> None:
        self._shares = FaultShares(drop, duplicate, reorder, corrupt)
        self._random = random
        self._late: list[tuple[int, bytes]] = []  # how many later ones each has yet to wait for
        self.is_clean = self._shares.is_clean
        self.counters = FaultCounters()

    def for_another(self) -> "Faults":
        """As bad a network of another receiver, which holds back what is its own."""
        return self._shares.faults(self._random)

    def apply(self, data: bytes) -> list[bytes]:
        """What arrives when `data` is sent: nothing, itself, two of it, earlier ones held back.

        Never more than a few datagrams are held back; those come with the next ones.
        """
        if self.is_clean:
            return [data]
        overtaken = [late for wait, late in self._late if wait <= 1]
        self._late = [(wait - 1, late) for wait, late in self._late if wait > 1]
        return self._arriving(data) + overtaken

    def _arriving(self, data: bytes) -> list[bytes]:
        shares, random, counters = self._shares, self._random, self.counters
        if random.random() < shares.drop:
            counters.dropped += 1
            return []
        if random.random() < shares.corrupt:
            counters.corrupted += 1
            data = self._corrupted(data)
        copies = 1
        if random.random() < shares.duplicate:
            counters.duplicated += 1
            copies = 2
        if random.random() < shares.reorder:
            counters.reordered += 1
            self._late += [(random.randint(1, REORDER_LIMIT), data)] * copies
            return []
        return [data] * copies

    def _corrupted(self, data: bytes) -> bytes:
        """`data` with one bit turned over, or cut short."""
        if not data or self._random.random() < 0.25:
            return data[: self._random.randrange(len(data))] if data else data
        damaged = bytearray(data)
        bit = self._random.randrange(8 * len(data))
        damaged[bit // 8] ^= 1 << bit % 8
        return bytes(damaged)
