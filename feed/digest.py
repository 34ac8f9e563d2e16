"""The digest of a list: equal for all who have the same frames in the same order."""

import hashlib
from collections.abc import Iterable


class ListDigest:
    """The SHA-256 of a list's frames, from the first one on, as they stand on the wire."""

    __slots__ = ("_hash",)

    def __init__(self, frames: Iterable[bytes] = ()) -> None:
        self._hash = hashlib.sha256()
        for frame in frames:
            self._hash.update(frame)

    def update(self, frames: bytes) -> None:
        """Add the next frames of the list, back to back."""
        self._hash.update(frames)

    def copy(self) -> "ListDigest":
        """Another digest of the same frames, to go on with apart from this one."""
        copied = ListDigest()
        copied._hash = self._hash.copy()
        return copied

    def hex(self) -> str:
        """The digest of all frames so far, as 64 hexadecimal digits."""
        return self._hash.hexdigest()
