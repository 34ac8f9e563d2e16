"""What the system need not wake a process for: a filter on the socket that packets come in at.

Each packet that a process is woken for costs more than to read it. A primary would hear all that it
multicasts itself; and holders need no word of each commit, which the next packet tells as well. The
filter is a program of classic BPF (socket(7), SO_ATTACH_FILTER); where the system refuses it,
everything is heard, and nothing else changes.
"""

import contextlib
import ctypes
import socket
import struct
from typing import NamedTuple

from feed.schema import PACKET_MAGIC, WIRE_VERSION, PacketFlag
from feed.settings import Address

# Linux's numbers (asm-generic/socket.h, linux/filter.h), which Python's socket module has not got.
_SO_ATTACH_FILTER = 26
_LOAD_WORD, _LOAD_HALF, _LOAD_LENGTH = 0x20, 0x28, 0x80
_JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST = 0x15, 0x35
_RETURN = 0x06
_SOURCE_ADDRESS_AT = 0xFFF00000 + 12  # SKF_NET_OFF, and there in the IPv4 header
_SOURCE_PORT_AT = 0  # of the UDP header, which the socket's data begins with
_UDP_HEADER_BYTES = 8
# How such a packet begins: what only looks like it has to be heard, and counted.
_COMMIT = int.from_bytes(
    PACKET_MAGIC + bytes((WIRE_VERSION, PacketFlag.HEARTBEAT | PacketFlag.COMMIT)), "big"
)
_ALL = 0xFFFFFFFF
_INSTRUCTION = struct.Struct("=HBBI")  # code, jump when true, jump when false, operand
_PROGRAM = struct.Struct("@HP")  # how many instructions, and where


class Unheard(NamedTuple):
    """Packets that a process does not want."""

    sender: Address | None = None  # those that come from here
    commits: bool = False  # heartbeats that only tell of a commit

    def keep_from(self, opened: socket.socket) -> None:
        """Have the system drop such packets before they come to this socket."""
        program = self._program()
        if not program:
            return
        instructions = ctypes.create_string_buffer(b"".join(program))
        value = _PROGRAM.pack(len(program), ctypes.addressof(instructions))
        with contextlib.suppress(OSError):
            opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, value)

    def _program(self) -> list[bytes]:
        drop, keep = _INSTRUCTION.pack(_RETURN, 0, 0, 0), _INSTRUCTION.pack(_RETURN, 0, 0, _ALL)
        program = []
        if self.sender is not None:
            (host,) = struct.unpack("!I", socket.inet_aton(self.sender.host))
            program += [
                _INSTRUCTION.pack(_LOAD_HALF, 0, 0, _SOURCE_PORT_AT),
                _INSTRUCTION.pack(_JUMP_IF_EQUAL, 0, 3, self.sender.port),
                _INSTRUCTION.pack(_LOAD_WORD, 0, 0, _SOURCE_ADDRESS_AT),
                _INSTRUCTION.pack(_JUMP_IF_EQUAL, 0, 1, host),
                drop,
            ]
        if self.commits:
            program += [
                _INSTRUCTION.pack(_LOAD_LENGTH, 0, 0, 0),
                _INSTRUCTION.pack(_JUMP_IF_AT_LEAST, 0, 3, _UDP_HEADER_BYTES + 4),
                _INSTRUCTION.pack(_LOAD_WORD, 0, 0, _UDP_HEADER_BYTES),
                _INSTRUCTION.pack(_JUMP_IF_EQUAL, 0, 1, _COMMIT),
                drop,
            ]
        return [*program, keep] if program else []


HEARS_ALL = Unheard()
