"""What groups tell their clients, in plain Python: what `gateway._streams_c` has to do alike."""

from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from feed.codec import Frame
from feed.frames import read_frames
from gateway.soup import SequencedData
from gateway.translate import messages_by_frame, spent_user_ref_num


class Told(NamedTuple):
    """What some groups tell one client, and which numbers of its own they used up."""

    client: int
    packets: bytes  # its messages with the next numbers, as SoupBinTCP packets back to back
    ends: "array[int]"  # where in them each one ends
    sequences: "array[int]"  # of the list's frame that each one tells of
    spent: "array[int]"  # the user_ref_nums that it used up, in their order


def tell(groups: bytes) -> list[Told]:
    """What these verified frames, whole committed groups, tell each client.

    Each one whom they concern is there once, in the order in which they come to it.
    """
    packets: dict[int, bytearray] = {}
    told: dict[int, Told] = {}

    def concerning(client: int) -> Told:
        if client not in told:
            packets[client] = bytearray()
            told[client] = Told(client, b"", array("I"), array("Q"), array("I"))
        return told[client]

    for group in _groups(read_frames(groups)):
        spent = spent_user_ref_num(group[0].message())
        if spent is not None:
            client, number = spent
            concerning(client).spent.append(number)
        for sequence, (client, payload) in messages_by_frame(group):
            concerned = concerning(client)
            packets[client] += SequencedData(payload).encode()
            concerned.ends.append(len(packets[client]))
            concerned.sequences.append(sequence)
    return [each._replace(packets=bytes(packets[client])) for client, each in told.items()]


def _groups(frames: Sequence[Frame]) -> Iterator[Sequence[Frame]]:
    begin = 0
    for after, frame in enumerate(frames, 1):
        if frame.is_end:
            yield frames[begin:after]
            begin = after
