"""What groups tell their clients, in plain Python: what `gateway._streams_c` has to do alike."""

from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from feed.codec import Frame
from feed.frames import read_frames
from gateway.soup import SequencedData
from gateway.translate import client_messages, spent_user_ref_num


class Told(NamedTuple):
    """What some groups tell one client, and that it used up a number."""

    client: int
    packets: bytes  # its messages with the next numbers, as SoupBinTCP packets back to back
    ends: "array[int]"  # where in them each one ends
    spent: int  # the last user_ref_num that it used up; 0 for none


def tell(groups: bytes) -> list[Told]:
    """What these verified frames, whole committed groups, tell each client.

    Each one whom they concern is there once, in the order in which they come to it.
    """
    packets: dict[int, bytearray] = {}
    ends: dict[int, array[int]] = {}
    spent_by: dict[int, int] = {}

    def concern(client: int) -> None:
        packets.setdefault(client, bytearray())
        ends.setdefault(client, array("I"))

    for group in _groups(read_frames(groups)):
        spent = spent_user_ref_num(group[0].message())
        if spent is not None:
            client, number = spent
            concern(client)
            spent_by[client] = number
        for client, payload in client_messages(group):
            concern(client)
            packets[client] += SequencedData(payload).encode()
            ends[client].append(len(packets[client]))
    return [
        Told(client, bytes(data), ends[client], spent_by.get(client, 0))
        for client, data in packets.items()
    ]


def _groups(frames: Sequence[Frame]) -> Iterator[Sequence[Frame]]:
    begin = 0
    for after, frame in enumerate(frames, 1):
        if frame.is_end:
            yield frames[begin:after]
            begin = after
