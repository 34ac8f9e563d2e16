"""An endless stream of commands as bytes, and what has to come of each piece of it.

A tape is one cycle of commands that begins and ends with an empty book: it fills the book, plays
the mix, and cancels what is left. It is encoded once. The next cycle is the same bytes with every
user_ref_num raised: as one large integer, the cycle's bytes plus so many times another, which has
a one in each of those fields.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from feed import schema
from feed.datagrams import Submission, encode_submission
from feed.messages import LogIn, SelfTradePrevention
from feed.schema import BODIES, FrameType
from tools.bench.plain_book import PlainBook
from tools.bench.workload import CLIENTS, ClientCommand, Generator, Operation, commands

_HEADER_BYTES = schema.SUBMISSION_HEADER.sizeof()
_FRAMES_OF_CANCEL = 2
_FIRST_LOGIN = 1_000
_LARGEST_USER_REF_NUM = 2**32 - 1


class Piece(NamedTuple):
    """Consecutive submissions, and what there has to be of their kind since the tape began."""

    data: bytes
    commands: int
    frames: int


class Tape:
    """A cycle of so many commands of the mix, between the filling and the emptying of the book."""

    def __init__(self, depth: int, operations: int, piece: int, seed: int) -> None:
        generator = Generator(seed, depth=depth)
        cycle = [generator.rest() for _ in range(depth)]
        cycle += [generator.mixed() for _ in range(operations)]
        cycle += generator.cancel_all()
        self._span = max(operation.number for operation in cycle)
        timed = iter(zip(commands(cycle), _frame_counts(cycle), strict=True))
        self._pieces: list[_EncodedPiece] = []
        while part := list(islice(timed, piece)):
            self._pieces.append(_encode([command for command, _ in part], sum(f for _, f in part)))

    def pieces(self) -> Iterator[Piece]:
        """The stream, until the numbers that clients count with are used up."""
        command_count = frame_count = 0
        for cycle in range(_LARGEST_USER_REF_NUM // self._span):
            for each in self._pieces:
                command_count += each.commands
                frame_count += each.frames
                raised = each.base + each.ones * (cycle * self._span)
                data = raised.to_bytes(each.size, "big")
                yield Piece(data, command_count, frame_count)


def log_ins() -> bytes:
    """The submissions that log in all clients of a tape, each under a number of its own."""
    return b"".join(
        encode_submission(
            Submission(_login(client), LogIn(client, _login(client), SelfTradePrevention.OFF))
        )
        for client in range(1, CLIENTS + 1)
    )


class _EncodedPiece(NamedTuple):
    """A piece of the first cycle as one integer, and where its user_ref_nums are."""

    base: int
    ones: int
    size: int
    commands: int
    frames: int


def _encode(timed: Sequence[ClientCommand], frames: int) -> _EncodedPiece:
    data = bytearray()
    ones = bytearray()
    for command in timed:
        encoded = encode_submission(Submission(_login(command.client), command))
        one = bytearray(len(encoded))
        one[_end_of_user_ref_num(encoded[_TYPE_AT]) - 1] = 1
        data += encoded
        ones += one
    base, mask = int.from_bytes(data, "big"), int.from_bytes(ones, "big")
    return _EncodedPiece(base, mask, len(data), len(timed), frames)


_TYPE_AT = schema.field_offset(schema.SUBMISSION_HEADER, "type")


def _end_of_user_ref_num(frame_type: int) -> int:
    """Where that field ends in a submission of this type."""
    body = BODIES[FrameType(frame_type)]
    offset = schema.field_offset(body, "user_ref_num")
    return int(_HEADER_BYTES + offset + body.user_ref_num.sizeof())


def _frame_counts(cycle: Sequence[Operation]) -> Iterator[int]:
    """How many frames the group of each operation has to have."""
    book = PlainBook()
    for number, enters, is_buy, price, quantity in cycle:
        if enters:
            before = len(book.trades)
            book.enter(number, is_buy, price, quantity)
            yield 1 + len(book.trades) - before
        else:
            book.cancel(number)
            yield _FRAMES_OF_CANCEL


def _login(client: int) -> int:
    return _FIRST_LOGIN + client
