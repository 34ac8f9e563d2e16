"""Whether all ended with the same: list, books and state, by their digests. Sans-I/O.

And whether the list's epochs did what epochs do.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple


class Ending(NamedTuple):
    """How one process ended; a digest that it does not keep is None."""

    name: str
    sequence: int  # of its last frame
    list_digest: str | None
    book_digest: str | None = None
    state_digest: str | None = None


def differences(witness: Ending, others: Sequence[Ending]) -> list[str]:
    """In what the others differ from the independent subscriber, and replicas from one another."""
    told: list[str] = []
    for other in others:
        if other.sequence != witness.sequence:
            told.append(
                f"{other.name} ended at sequence number {other.sequence}, "
                f"the subscriber at {witness.sequence}"
            )
        elif other.list_digest is None:
            told.append(f"{other.name} does not hold the list from its beginning")
        elif other.list_digest != witness.list_digest:
            told.append(f"{other.name} has another list than the subscriber")
        elif other.book_digest not in (None, witness.book_digest):
            told.append(f"{other.name} has other books than the subscriber")
    replicas = [each for each in others if each.state_digest is not None]
    for replica in replicas[1:]:
        first = replicas[0]
        if (replica.sequence, replica.state_digest) != (first.sequence, first.state_digest):
            told.append(f"{replica.name} has another state than {first.name}")
    return told


def shrinking_epochs(epochs: Sequence[int]) -> list[str]:
    """Which epochs of a list do not follow on a smaller one."""
    return [
        f"epoch {after} follows epoch {before} in the list"
        for before, after in pairwise(epochs)
        if after <= before
    ]
