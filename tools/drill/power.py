"""What a power cut leaves of a journal: what had been synced, and not a byte more.

A killed process loses nothing that it has written, for the operating system has it and writes it to
the disk later. To cut the power of the computer is not for a drill to do. But journals whose
exchange allows drills note after each sync how much of which file is on the disk, so that the rest
can be taken away while nobody runs.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from feed.keeping import SYNCED_FILE


class Loss(NamedTuple):
    """What a power cut took."""

    size: int  # bytes that were written and not synced
    files: int  # of which nothing was synced


def cut_power(journals: Iterable[Path]) -> Loss:
    """Take from each journal's folder what had not been synced.

    Snapshots are in a folder of their own: they are synced before they have their names.
    """
    losses = [loss for folder in journals for loss in _cut(folder)]
    return Loss(sum(loss.size for loss in losses), sum(loss.files for loss in losses))


def _cut(folder: Path) -> Iterator[Loss]:
    noted = folder / SYNCED_FILE
    # Where nothing was ever noted, nothing was ever synced.
    synced: dict[str, int] = json.loads(noted.read_text()) if noted.exists() else {}
    for path in sorted(folder.glob("[!.]*")):  # hidden ones are nobody's data: a lock, and drafts
        if path == noted or not path.is_file():
            continue
        size, kept = path.stat().st_size, synced.get(path.name)
        if kept is None:
            path.unlink()
            yield Loss(size, 1)
        elif kept < size:
            with path.open("rb+") as file:
                file.truncate(kept)
            yield Loss(size - kept, 0)
