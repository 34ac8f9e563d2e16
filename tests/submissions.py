"""What a primary reads from a gateway's connection, for tests that play one."""

from feed.datagrams import Submission, decode_submissions
from feed.frames import whole_submissions


def take_submissions(buffer: bytearray) -> list[Submission]:
    """The whole submissions at the front of `buffer`, which are taken off it.

    Raises WireError when the bytes can't be submissions.
    """
    size, _ = whole_submissions(bytes(buffer))
    taken = decode_submissions(bytes(buffer[:size]))
    del buffer[:size]
    return taken
