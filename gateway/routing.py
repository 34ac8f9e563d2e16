"""Where each of a session's commands goes: orders by their symbols, the others after their orders.

A number that a client has used is used in all shards. A command that comes again, on another
connection, is dropped where it was used, as the machine of one shard would do; one whose number was
passed over in its shard never took effect and never will, and is refused.

The commands stay as they are encoded: a gateway does this for each one that goes through it.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from feed import schema
from feed.datagrams import decode_submissions
from feed.messages import (
    ALL_SYMBOLS,
    NO_CLIENT_ORDER_ID,
    SYMBOL_BYTES,
    CancelReason,
    EnterOrder,
    MassCancel,
    ReplaceOrder,
    unpad,
)
from feed.schema import BODIES, FrameType
from gateway.numbers import Numbers
from gateway.rejects import GatewayReject
from gateway.seats import Seats
from gateway.translate import Refusal
from zk.directory import Directory


def _place(frame_type: FrameType, name: str) -> int:
    """Where in a submission of this type a field begins."""
    return schema.SUBMISSION_HEADER.sizeof() + schema.field_offset(BODIES[frame_type], name)


_LENGTH_AND_TYPE = struct.Struct(">HB")
_NUMBER = struct.Struct(">I")
_LOGIN = struct.Struct(">Q")
_LOGIN_AT = schema.field_offset(schema.SUBMISSION_HEADER, "login")
_LOGIN_END = _LOGIN_AT + _LOGIN.size
_NUMBER_AT = {
    int(each): _place(each, "user_ref_num")
    for each in (
        FrameType.ENTER_ORDER,
        FrameType.REPLACE_ORDER,
        FrameType.CANCEL_ORDER,
        FrameType.MASS_CANCEL,
    )
}
_SYMBOL_AT = {
    int(each): _place(each, "symbol") for each in (FrameType.ENTER_ORDER, FrameType.MASS_CANCEL)
}
# Of those that were asked for, which may be whatever clients send; each costs some 150 bytes.
KNOWN_SYMBOLS = 100_000
_ORIGINAL_AT = _place(FrameType.REPLACE_ORDER, "original_user_ref_num")
_ORDERS = frozenset(map(int, (FrameType.ENTER_ORDER, FrameType.REPLACE_ORDER)))
_CANCEL = int(FrameType.CANCEL_ORDER)
_REPLACE = int(FrameType.REPLACE_ORDER)
_MASS_CANCEL = int(FrameType.MASS_CANCEL)
_OF_ALL = ALL_SYMBOLS + bytes([CancelReason.USER])  # how one of all symbols ends


class Routed(NamedTuple):
    """A command as it was submitted, and the shard that it goes to."""

    shard: int
    submission: bytes


Route: TypeAlias = Routed | Refusal


class Router:
    """Routes the commands of all clients."""

    def __init__(self, directory: Directory, numbers: Numbers) -> None:
        self._numbers = numbers
        self._directory = directory
        self._shards: dict[bytes, tuple[int, ...]] = {}  # by the symbol's field

    def on_directory(self, directory: Directory) -> None:
        """Symbols may be elsewhere."""
        self._directory = directory
        self._shards.clear()

    def routes(self, client: int, submissions: bytes, seats: Seats) -> Iterator[Route]:
        """Where each of these whole submissions of a client's session goes.

        Leaves out what is a repeat; has a mass cancel of all symbols once for every shard.
        """
        at = 0
        while at < len(submissions):
            length, frame_type = _LENGTH_AND_TYPE.unpack_from(submissions, at)
            submission = submissions[at : at + length]
            at += length
            (number,) = _NUMBER.unpack_from(submission, _NUMBER_AT[frame_type])
            if frame_type == _CANCEL:
                seats.cancels.add(number, submission)
                yield Routed(self._shard_of(client, number, seats), submission)
                continue
            found = list(self._numbered(client, number, frame_type, submission, seats))
            is_refused = any(isinstance(each, Refusal) for each in found)
            if frame_type == _MASS_CANCEL and not is_refused:
                seats.cancels.add_mass_cancel(number, submission[_symbol_of(frame_type)])
            yield from found

    def is_repeat(self, client: int, submission: bytes) -> bool:
        """Whether an order that has waited since it was routed was used meanwhile."""
        _, frame_type = _LENGTH_AND_TYPE.unpack_from(submission)
        if frame_type not in _ORDERS:
            return False
        (number,) = _NUMBER.unpack_from(submission, _NUMBER_AT[frame_type])
        return self._numbers.is_used(client, number)

    def _numbered(
        self, client: int, number: int, frame_type: int, submission: bytes, seats: Seats
    ) -> Iterator[Route]:
        """Where a command goes that brings a number of its own."""
        numbers = self._numbers
        if frame_type == _MASS_CANCEL and submission[_symbol_of(frame_type)] == ALL_SYMBOLS:
            yield from self._everywhere(client, number, submission, seats)
            return
        earlier: list[int] = []
        if frame_type == _REPLACE:
            (original,) = _NUMBER.unpack_from(submission, _ORIGINAL_AT)
            shard = self._shard_of(client, original, seats)
        else:
            *earlier, shard = self._shards_of_symbol(submission[_symbol_of(frame_type)])
        if number <= max(seats.last_number, numbers.last(client)):
            if numbers.is_used(client, number) or numbers.is_sent(client, number):
                return
            # What was used before the gateway's time was told then: the client has that, or not.
            may_be = any(numbers.may_be_used_in(client, number, each) for each in (*earlier, shard))
            is_past = number <= max(numbers.last_in(client, shard), seats.last_sent(shard))
            if may_be or is_past:
                yield _passed(number, submission)
                return
        else:
            seats.is_fresh = True
        seats.send(shard, number)
        numbers.send(client, number, shard)
        yield Routed(shard, submission)

    def _everywhere(
        self, client: int, number: int, submission: bytes, seats: Seats
    ) -> Iterator[Route]:
        """A mass cancel of all symbols goes to every shard that has not had it."""
        numbers, home = self._numbers, seats.home
        is_past = number <= max(numbers.last_in(client, home), seats.last_sent(home))
        may_be_used = numbers.is_used_in(client, number, home) or numbers.may_be_used_in(
            client, number, home
        )
        if is_past and not may_be_used:
            yield _passed(number, submission)  # the home would never answer it
            return
        for shard in (home, *seats.by_shard):
            if number > max(numbers.last_in(client, shard), seats.last_sent(shard)):
                seats.send(shard, number)
                yield Routed(shard, submission)

    def _shard_of(self, client: int, number: int, seats: Seats) -> int:
        """Where an order is; for one that nobody knows the home, which says so."""
        return self._numbers.shard_of(client, number) or seats.home

    def _shards_of_symbol(self, field: bytes) -> tuple[int, ...]:
        """Those where a symbol has been, the last one where it is."""
        shards = self._shards.get(field)
        if shards is None:
            symbol, directory = unpad(field), self._directory
            shards = (*directory.earlier_shards(symbol), directory.shard_of(symbol))
            if len(self._shards) >= KNOWN_SYMBOLS:
                self._shards.clear()
            self._shards[field] = shards
        return shards


def remember_mass_cancels(submissions: bytes, seats: Seats) -> None:
    """Keeps in mind which of these whole submissions cancel in all symbols.

    They are read only where one may be among them, since all that a client sends comes by here.
    """
    if _OF_ALL not in submissions:
        return
    for _, command in decode_submissions(submissions):
        if isinstance(command, MassCancel) and command.symbol == ALL_SYMBOLS:
            seats.cancels.add_mass_cancel(command.user_ref_num, command.symbol)


def relabeled(submission: bytes, login: int) -> bytes:
    """A submission under another log-in."""
    return submission[:_LOGIN_AT] + _LOGIN.pack(login) + submission[_LOGIN_END:]


def _symbol_of(frame_type: int) -> slice:
    at = _SYMBOL_AT[frame_type]
    return slice(at, at + SYMBOL_BYTES)


def _passed(number: int, submission: bytes) -> Refusal:
    (decoded,) = decode_submissions(submission)
    match decoded.command:
        case EnterOrder() | ReplaceOrder() as command:
            client_order_id = command.client_order_id
        case _:
            client_order_id = NO_CLIENT_ORDER_ID
    return Refusal(number, GatewayReject.NUMBER_PASSED, client_order_id)
