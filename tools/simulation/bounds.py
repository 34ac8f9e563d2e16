"""Bounds of production made small, so that a list of some hundred frames meets with all of them.

In production a block of the digest, a segment's marks or a piece of a replay are of a size that
runs here never come to.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from engine import takeover
from feed import (
    cache,
    commit_marks,
    digest,
    held_list,
    holder,
    replay,
    segment_reader,
    segments,
    snapshot,
    snapshot_folder,
)

SMALL_CACHE_BYTES = 16 << 10
_BLOCK_FRAMES = 64
_CHUNK_BYTES = 700  # no frame ends there
_FETCH_FRAMES = 48
_MARK_BYTES = 512
# Whoever has imported a name has it for itself.
_SMALL: tuple[tuple[ModuleType, str, int], ...] = (
    (cache, "LONG_RUN_FRAMES", 32),
    (cache, "SHORT_RUN_BYTES", 256),
    (cache, "MINIMUM_BYTES", SMALL_CACHE_BYTES),
    (commit_marks, "EVERY_FRAMES", 20),
    (commit_marks, "LIMIT_BYTES", 200),
    (digest, "BLOCK_FRAMES", _BLOCK_FRAMES),
    (snapshot, "BLOCK_FRAMES", _BLOCK_FRAMES),
    (held_list, "REMEMBERED_FRAMES", 400),
    (held_list, "PIECE_FRAMES", 50),
    (holder, "FETCH_FRAMES", _FETCH_FRAMES),
    (takeover, "FETCH_FRAMES", _FETCH_FRAMES),
    (replay, "PIECE_FRAMES", 40),
    (replay, "SNAPSHOT_WORTH_FRAMES", 150),
    (segments, "MARK_BYTES", _MARK_BYTES),
    (segment_reader, "MARK_BYTES", _MARK_BYTES),
    (segment_reader, "READ_BYTES", 2000),
    (segment_reader, "KEPT_MARKS", 2),
    (snapshot, "CHUNK_BYTES", _CHUNK_BYTES),
    (snapshot_folder, "CHUNK_BYTES", _CHUNK_BYTES),
)


@contextmanager
def small_bounds() -> Iterator[None]:
    """Have small bounds meanwhile."""
    originals = [(module, name, getattr(module, name)) for module, name, _ in _SMALL]
    try:
        for module, name, value in _SMALL:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in originals:
            setattr(module, name, value)
