"""What the codecs are judged by: any message, and a checksum worked out a bit at a time."""

import re
import struct
from collections.abc import Iterable

from hypothesis import strategies as st

from feed.codec import MESSAGE_TYPES
from feed.messages import Message
from feed.schema import BODIES, FrameType, struct_format

numbers = st.integers(0, 2**32 - 1)
words = st.integers(0, 2**64 - 1)
sequences = st.integers(1, 2**63)


@st.composite
def messages(draw: st.DrawFn, types: Iterable[FrameType] = FrameType) -> Message:
    """Any message whose fields fit the wire, with codes known or not."""
    frame_type = draw(st.sampled_from(sorted(types)))
    fields = [
        st.binary(min_size=int(size), max_size=int(size))
        if size
        else st.integers(0, 256 ** struct.calcsize(">" + letter) - 1)
        for size, letter in re.findall(r"(\d*)([a-zA-Z])", struct_format(BODIES[frame_type]))
    ]
    return MESSAGE_TYPES[frame_type]._make(draw(st.tuples(*fields)))


def reference_crc32c(data: bytes) -> int:
    """CRC-32C a bit at a time, from its polynomial alone."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF
