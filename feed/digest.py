"""The digest of a list: equal for all who have the same frames in the same order.

It goes in blocks, so that it can be kept and gone on with: the digest of a list that ends with a
block is the SHA-256 of the digest before that block and the block's frames, as they stand on the
wire; before the first block it is 32 zero bytes. Within a block it is that of the frames so far.
"""

import hashlib
from collections import deque

from feed.messages import DIGEST_BYTES
from feed.run import Run

BLOCK_FRAMES = 1024  # block k ends with the frame of sequence number k * BLOCK_FRAMES
_REMEMBERED_BLOCKS = 128  # twice as many as there are while a primary has most frames uncommitted


class ListDigest:
    """The digest of a list's frames, from the first one on."""

    __slots__ = ("_blocks", "_hash", "next_sequence")

    def __init__(self, sequence: int = 0, digest: bytes = bytes(DIGEST_BYTES)) -> None:
        """Go on after frame `sequence`, the last of a block, at which the digest is `digest`."""
        assert sequence % BLOCK_FRAMES == 0, "a digest goes on at the end of a block"
        self._blocks = deque([(sequence, digest)], _REMEMBERED_BLOCKS)
        self.next_sequence = sequence + 1
        self._hash = hashlib.sha256(digest)

    @property
    def block(self) -> tuple[int, bytes]:
        """The end of the last whole block, and the digest there."""
        return self._blocks[-1]

    def block_before(self, sequence: int) -> tuple[int, bytes] | None:
        """The same of the last block that ends at or before a frame; None for an old one."""
        return next((block for block in reversed(self._blocks) if block[0] <= sequence), None)

    def update(self, run: Run) -> None:
        """Add the next frames of the list; raises ValueError when they don't follow."""
        if not run:
            return
        if run.first_sequence != self.next_sequence:
            raise ValueError(f"frame {run.first_sequence} does not follow {self.next_sequence - 1}")
        while run:
            end = self.block[0] + BLOCK_FRAMES
            part = run.part(self.next_sequence, end)
            self._hash.update(part.data)
            self.next_sequence = part.next_sequence
            if self.next_sequence > end:
                self._blocks.append((end, self._hash.digest()))
                self._hash = hashlib.sha256(self.block[1])
            run = run.part(self.next_sequence, run.last_sequence)

    def copy(self) -> "ListDigest":
        """Another digest of the same frames, to go on with apart from this one."""
        copied = ListDigest(*self.block)
        copied._blocks = self._blocks.copy()
        copied.next_sequence = self.next_sequence
        copied._hash = self._hash.copy()
        return copied

    def hex(self) -> str:
        """The digest of all frames so far, as 64 hexadecimal digits."""
        sequence, digest = self.block
        is_at_its_end = self.next_sequence - 1 == sequence
        return (digest if is_at_its_end else self._hash.digest()).hex()
