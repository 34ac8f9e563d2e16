"""The same packet over and over, in plain Python: what `tools.bench._raw_c` does without calls.

It is far from the limit of the network, so ratios to it say little.
"""

import select
import socket
import time

from feed.sockets import DatagramReader, send_datagrams

BATCH = 32  # packets handed to the kernel at once
_READ_BATCH = 64
_WAIT_S = 50e-6


def send_packets(
    opened: socket.socket,
    packet: bytes,
    count: int,
    address: tuple[str, int],
    progress: memoryview,
    window: int,
    patience_s: float,
) -> int:
    """Send `packet` so many times, and never more than `window` ahead of the slowest receiver.

    `progress` is memory shared with the receivers: how many packets each has. Gives up when there
    is no room for `patience_s`. How many packets were sent.
    """
    batch = [packet] * BATCH
    sent = 0
    deadline = time.monotonic() + patience_s
    while sent < count:
        if sent + BATCH - min(progress) > window:
            if time.monotonic() > deadline:
                break
            time.sleep(_WAIT_S)
            continue
        sent += send_datagrams(opened, batch[: count - sent], address).datagrams
        deadline = time.monotonic() + patience_s
    return sent


def receive_packets(
    opened: socket.socket,
    count: int,
    read_bytes: int,
    progress: memoryview,
    place: int,
    patience_s: float,
) -> int:
    """Receive so many packets, and keep `progress[place]` up to date; how many there were.

    Gives up when none comes for `patience_s`.
    """
    reader = DatagramReader(_READ_BATCH, read_bytes)
    received = 0
    while received < count:
        if not select.select([opened], [], [], patience_s)[0]:
            break
        received += len(reader.read(opened))
        progress[place] = received
    return received
