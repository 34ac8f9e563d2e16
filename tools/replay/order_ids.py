"""The ids of a file's orders and the lines that gave them, on the disk: a file may have millions.

It is SQLite's temporary database: in memory while it is small, then in a file that nobody else
sees and that goes with the process.
"""

import sqlite3
from typing import NamedTuple

_CACHE_KIB = 16_384


class Named(NamedTuple):
    """The line that gave an id."""

    ordinal: int  # of the line among those that do something, from 0
    line: int
    client: str | None  # None when the line did not make it clear


class OrderIds:
    """Each id stands for the first line that gave it."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(
            "CREATE TABLE ids (id TEXT PRIMARY KEY, ordinal INTEGER, line INTEGER, client TEXT)"
            " WITHOUT ROWID"
        )
        self._database.execute("BEGIN")  # never to be committed: it all goes in the end

    def add(self, id: str, named: Named) -> Named | None:
        """Keep an id; the line that gave it before, if one did."""
        insert = "INSERT OR IGNORE INTO ids VALUES (?, ?, ?, ?)"
        added = self._database.execute(insert, (id, *named)).rowcount
        return None if added else self.find(id)

    def find(self, id: str) -> Named | None:
        """The line that gave an id."""
        query = "SELECT ordinal, line, client FROM ids WHERE id = ?"
        row = self._database.execute(query, (id,)).fetchone()
        return None if row is None else Named(*row)

    def close(self) -> None:
        """Remove it all."""
        self._database.close()
