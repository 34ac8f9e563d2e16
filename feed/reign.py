"""Whose part of the list is whose: an epoch's reign, which its EPOCH frame opens."""

from typing import NamedTuple


class Reign(NamedTuple):
    """An EPOCH frame that is held: the list from there to the next one is its epoch's."""

    sequence: int
    epoch: int
    primary: str
