"""What a list tells a client, in parts that may come into its stream at different places."""

from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from feed.messages import ALL_SYMBOLS
from gateway.kernel import Told
from gateway.ouch import MassCancelResponse, OutboundType
from gateway.ouch_codec import decode_outbound
from gateway.soup import HEADER

_HEADER_BYTES = HEADER.sizeof()
_MASS_CANCEL_RESPONSE = int(OutboundType.MASS_CANCEL_RESPONSE)


class ToldPart(NamedTuple):
    """Messages of a client that follow one another."""

    told: Told
    # They are one, which answers the mass cancel of all symbols with this user_ref_num; else 0.
    mass_cancel: int = 0

    @property
    def size_bytes(self) -> int:
        """How much is to be told."""
        return len(self.told.packets)

    @property
    def last_sequence(self) -> int:
        """The last frame that they tell of."""
        return self.told.sequences[-1]


def part_of(told: Told, begin: int, end: int) -> Told:
    """The messages from one index up to another, without it; not none."""
    if begin == 0 and end == len(told.ends):
        return told
    offset = told.ends[begin - 1] if begin else 0
    ends = array("I", [each - offset for each in told.ends[begin:end]])
    packets = told.packets[offset : offset + ends[-1]]
    return Told(told.client, packets, ends, told.sequences[begin:end], told.spent[:0])


def with_answers_apart(all_told: Iterable[Told]) -> list[ToldPart]:
    """The same, with each answer to a mass cancel of all symbols by itself."""
    parts: list[ToldPart] = []
    for told in all_told:
        begin = 0
        for index, number in _mass_cancel_answers(told):
            if begin < index:
                parts.append(ToldPart(part_of(told, begin, index)))
            parts.append(ToldPart(part_of(told, index, index + 1), number))
            begin = index + 1
        if begin < len(told.ends):
            parts.append(ToldPart(part_of(told, begin, len(told.ends))))
    return parts


def _mass_cancel_answers(told: Told) -> Iterator[tuple[int, int]]:
    """Which of the messages are such answers, and to what."""
    begin = 0
    for index, end in enumerate(told.ends):
        payload = told.packets[begin + _HEADER_BYTES : end]
        begin = end
        if payload[0] == _MASS_CANCEL_RESPONSE:
            answer = decode_outbound(payload)
            if isinstance(answer, MassCancelResponse) and answer.symbol == ALL_SYMBOLS:
                yield index, answer.user_ref_num
