"""SoupBinTCP 3.00: the packets of a session, to bytes and back, in both directions.

A packet is a length (2 bytes, without itself), a type letter and a payload. Each packet type here
is a tuple with `encode()`; a `PacketReader` cuts a TCP stream into packets:

    reader = client_packets()                     # what clients send; server_packets() for clients
    for packet in reader.take(received_bytes):    # SoupError: the stream can't be read any further
        match packet:
            case LoginRequest(user, password, session, sequence): ...
            case UnsequencedData(payload): ...
    send(LoginAccepted("DEMO", 1).encode())

Packets that came before a bad one are given out before the error is raised. Sequenced data carries
no number: both ends count it, from the number in `LoginAccepted`.
"""

import struct
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Generic, NamedTuple, TypeAlias, TypeVar

import construct as cs

from feed.messages import pad, unpad
from feed.schema import struct_format

USER_BYTES = 6
PASSWORD_BYTES = 10
SESSION_BYTES = 10
SEQUENCE_DIGITS = 20
LARGEST_SEQUENCE = 2**64 - 1  # what the exchange counts with, though 20 digits hold more

HEARTBEAT_INTERVAL_NS = 1_000_000_000  # of silence, then either end says that it is there
DEAD_LINK_NS = 15_000_000_000  # of silence, then the other end is taken for dead

# An OUCH message with every appendage fits in a tenth of this; a text for people fits in the rest.
# It bounds what one connection makes its reader hold.
PAYLOAD_LIMIT_BYTES = 1024


class PacketType(IntEnum):
    """The letter that names a packet; what a payload of it is, the packet classes say."""

    LOGIN_REQUEST = ord("L")
    LOGIN_ACCEPTED = ord("A")
    LOGIN_REJECTED = ord("J")
    SEQUENCED_DATA = ord("S")
    UNSEQUENCED_DATA = ord("U")
    DEBUG = ord("+")
    CLIENT_HEARTBEAT = ord("R")
    SERVER_HEARTBEAT = ord("H")
    LOGOUT_REQUEST = ord("O")
    END_OF_SESSION = ord("Z")


HEADER = cs.Struct("length" / cs.Int16ub, "type" / cs.Enum(cs.Int8ub, PacketType))
LOGIN_REQUEST = cs.Struct(
    "user" / cs.Bytes(USER_BYTES),
    "password" / cs.Bytes(PASSWORD_BYTES),
    "session" / cs.Bytes(SESSION_BYTES),
    "sequence" / cs.Bytes(SEQUENCE_DIGITS),
)
LOGIN_ACCEPTED = cs.Struct(
    "session" / cs.Bytes(SESSION_BYTES),
    "sequence" / cs.Bytes(SEQUENCE_DIGITS),
)

_HEADER = struct.Struct(">" + struct_format(HEADER))
_LOGIN_REQUEST = struct.Struct(">" + struct_format(LOGIN_REQUEST))
_LOGIN_ACCEPTED = struct.Struct(">" + struct_format(LOGIN_ACCEPTED))


class SoupError(ValueError):
    """Bytes that are no SoupBinTCP packet, or one that has no place here; the text says why."""


class LoginRejectReason(StrEnum):
    """Why a log-in was refused."""

    NOT_AUTHORISED = "A"
    NO_SUCH_SESSION = "S"

    @property
    def text(self) -> str:
        """The reason in words."""
        if self is LoginRejectReason.NOT_AUTHORISED:
            return "not authorised: no such client, or not its secret"
        return "no such session, or its stream does not have the requested sequence number yet"


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """Client: who it is, and the first sequence number that it wants.

    An empty session means the current one; sequence 0 means the next number that comes. Names and
    passwords are ASCII without blanks at their ends. The password does not show in `repr`.
    """

    user: str
    password: str = field(repr=False)
    session: str
    sequence: int

    def encode(self) -> bytes:
        """The packet's bytes; raises ValueError for a text that does not fit its field."""
        return _packet(
            PacketType.LOGIN_REQUEST,
            _LOGIN_REQUEST.pack(
                pad(self.user, USER_BYTES),
                pad(self.password, PASSWORD_BYTES),
                pad(self.session, SESSION_BYTES),
                _number_field(self.sequence),
            ),
        )


class LoginAccepted(NamedTuple):
    """Server: the session, and the sequence number of the next sequenced data."""

    session: str
    sequence: int

    def encode(self) -> bytes:
        """The packet's bytes; raises ValueError for a session name that does not fit."""
        body = _LOGIN_ACCEPTED.pack(pad(self.session, SESSION_BYTES), _number_field(self.sequence))
        return _packet(PacketType.LOGIN_ACCEPTED, body)


class LoginRejected(NamedTuple):
    """Server: no, and why; it closes the connection after this."""

    reason: LoginRejectReason

    def encode(self) -> bytes:
        """The packet's bytes."""
        return _packet(PacketType.LOGIN_REJECTED, self.reason.value.encode())


class SequencedData(NamedTuple):
    """Server: the message with the next sequence number."""

    payload: bytes

    def encode(self) -> bytes:
        """The packet's bytes."""
        return _packet(PacketType.SEQUENCED_DATA, self.payload)


class UnsequencedData(NamedTuple):
    """Either end: a message outside the numbered stream; all that a client sends is."""

    payload: bytes

    def encode(self) -> bytes:
        """The packet's bytes."""
        return _packet(PacketType.UNSEQUENCED_DATA, self.payload)


class Debug(NamedTuple):
    """Either end: a text for people, without effect."""

    text: str

    def encode(self) -> bytes:
        """The packet's bytes: ASCII, cut to what a packet holds."""
        text = self.text.encode("ascii", "backslashreplace")
        return _packet(PacketType.DEBUG, text[:PAYLOAD_LIMIT_BYTES])


class ClientHeartbeat(NamedTuple):
    """Client: still here."""

    def encode(self) -> bytes:
        """The packet's bytes."""
        return _packet(PacketType.CLIENT_HEARTBEAT)


class ServerHeartbeat(NamedTuple):
    """Server: still here."""

    def encode(self) -> bytes:
        """The packet's bytes."""
        return _packet(PacketType.SERVER_HEARTBEAT)


class LogoutRequest(NamedTuple):
    """Client: goodbye."""

    def encode(self) -> bytes:
        """The packet's bytes."""
        return _packet(PacketType.LOGOUT_REQUEST)


class EndOfSession(NamedTuple):
    """Server: the session is over for good; there is nothing to resume."""

    def encode(self) -> bytes:
        """The packet's bytes."""
        return _packet(PacketType.END_OF_SESSION)


ClientPacket: TypeAlias = LoginRequest | UnsequencedData | Debug | ClientHeartbeat | LogoutRequest
ServerPacket: TypeAlias = (
    LoginAccepted
    | LoginRejected
    | SequencedData
    | UnsequencedData
    | Debug
    | ServerHeartbeat
    | EndOfSession
)
Packet: TypeAlias = ClientPacket | ServerPacket
P = TypeVar("P")


class PacketReader(Generic[P]):
    """Cuts one direction of a TCP stream into packets.

    It never holds more than one unfinished packet beyond what it was just given; a packet over
    `PAYLOAD_LIMIT_BYTES` is refused when its length arrives.
    """

    def __init__(self, parsers: Mapping[int, Callable[[bytes], P]]) -> None:
        self._parsers = parsers
        self._buffer = bytearray()

    def take(self, data: bytes) -> Generator[P, None, None]:
        """The packets that `data` completes, in order; the rest of it is kept for the next call.

        So are packets that the caller does not draw. Raises SoupError, after the packets before
        it, at the first that is none.
        """
        self._buffer += data
        return self._packets()

    def _packets(self) -> Generator[P, None, None]:
        buffer = self._buffer
        offset = 0
        try:
            while (found := _find_packet(self._parsers, buffer, offset)) is not None:
                parse, end = found
                payload = bytes(buffer[offset + _HEADER.size : end])
                offset = end
                yield parse(payload)
        finally:
            del buffer[:offset]


def client_packets() -> PacketReader[ClientPacket]:
    """A reader of what a client sends, for a server."""
    return PacketReader(_CLIENT_PARSERS)


def server_packets() -> PacketReader[ServerPacket]:
    """A reader of what a server sends, for a client."""
    return PacketReader(_SERVER_PARSERS)


def client_packet_at(data: bytes, offset: int) -> tuple[ClientPacket, int] | None:
    """The packet that begins at `offset` of what a client sent, and where it ends.

    None when it is not whole yet. Raises SoupError when it is none.
    """
    found = _find_packet(_CLIENT_PARSERS, data, offset)
    if found is None:
        return None
    parse, end = found
    return parse(data[offset + _HEADER.size : end]), end


def _find_packet(
    parsers: Mapping[int, Callable[[bytes], P]], data: bytes | bytearray, offset: int
) -> tuple[Callable[[bytes], P], int] | None:
    """What parses the packet at `offset`, and where that ends; None when it is not whole."""
    if len(data) - offset < _HEADER.size:
        return None
    length, packet_type = _HEADER.unpack_from(data, offset)
    parse = parsers.get(packet_type)
    if parse is None:
        raise SoupError(f"no packet here has type {bytes((packet_type,))!r}")
    if not 1 <= length <= PAYLOAD_LIMIT_BYTES + 1:
        raise SoupError(f"no packet has length {length}")
    end = offset + _HEADER.size + length - 1
    return None if end > len(data) else (parse, end)


def _packet(packet_type: PacketType, payload: bytes = b"") -> bytes:
    if len(payload) > PAYLOAD_LIMIT_BYTES:
        raise ValueError(f"a payload of {len(payload)} bytes is over {PAYLOAD_LIMIT_BYTES}")
    return _HEADER.pack(len(payload) + 1, packet_type) + payload


def _number_field(number: int) -> bytes:
    if not 0 <= number <= LARGEST_SEQUENCE:
        raise ValueError(f"{number} is not a sequence number")
    return str(number).rjust(SEQUENCE_DIGITS).encode()


def _number(digits: bytes) -> int:
    text = digits.strip(b" ")
    if not text.isdigit() or int(text) > LARGEST_SEQUENCE:
        raise SoupError(f"{text!r} is not a sequence number")
    return int(text)


def _text(name: str, padded: bytes) -> str:
    text = unpad(padded)
    if not (padded.isascii() and text.isprintable()):
        raise SoupError(f"the {name} is not printable ASCII")
    return text


def _parse_login_request(payload: bytes) -> LoginRequest:
    if len(payload) != _LOGIN_REQUEST.size:
        raise SoupError(f"a login request of {len(payload)} bytes, not {_LOGIN_REQUEST.size}")
    user, password, session, sequence = _LOGIN_REQUEST.unpack(payload)
    return LoginRequest(
        _text("user", user),
        _text("password", password),
        _text("session", session),
        _number(sequence),
    )


def _parse_login_accepted(payload: bytes) -> LoginAccepted:
    if len(payload) != _LOGIN_ACCEPTED.size:
        raise SoupError(f"a login answer of {len(payload)} bytes, not {_LOGIN_ACCEPTED.size}")
    session, sequence = _LOGIN_ACCEPTED.unpack(payload)
    return LoginAccepted(_text("session", session), _number(sequence))


def _parse_login_rejected(payload: bytes) -> LoginRejected:
    if payload not in (b"A", b"S"):
        raise SoupError(f"{payload!r} is not a reason to refuse a log-in")
    return LoginRejected(LoginRejectReason(payload.decode()))


def _parse_debug(payload: bytes) -> Debug:
    return Debug(payload.decode("ascii", "backslashreplace"))


def _without_payload(kind: Callable[[], P]) -> Callable[[bytes], P]:
    def parse(payload: bytes) -> P:
        if payload:
            raise SoupError(f"a {kind.__name__} with {len(payload)} bytes of payload")
        return kind()

    return parse


_CLIENT_PARSERS: dict[int, Callable[[bytes], ClientPacket]] = {
    PacketType.LOGIN_REQUEST: _parse_login_request,
    PacketType.UNSEQUENCED_DATA: UnsequencedData,
    PacketType.DEBUG: _parse_debug,
    PacketType.CLIENT_HEARTBEAT: _without_payload(ClientHeartbeat),
    PacketType.LOGOUT_REQUEST: _without_payload(LogoutRequest),
}
_SERVER_PARSERS: dict[int, Callable[[bytes], ServerPacket]] = {
    PacketType.LOGIN_ACCEPTED: _parse_login_accepted,
    PacketType.LOGIN_REJECTED: _parse_login_rejected,
    PacketType.SEQUENCED_DATA: SequencedData,
    PacketType.UNSEQUENCED_DATA: UnsequencedData,
    PacketType.DEBUG: _parse_debug,
    PacketType.SERVER_HEARTBEAT: _without_payload(ServerHeartbeat),
    PacketType.END_OF_SESSION: _without_payload(EndOfSession),
}
