"""CRC-32C, the checksum of every packet, frame and repair datagram (RFC 3720, appendix B.4)."""

from typing import TYPE_CHECKING, Protocol

from feed.kernel import KERNEL_WANTED

if TYPE_CHECKING or not KERNEL_WANTED:
    from feed._checksum_py import crc32c as _crc32c
else:
    try:
        from feed._checksum_c import crc32c as _crc32c
    except ImportError:
        from feed._checksum_py import crc32c as _crc32c


class ChecksumFunction(Protocol):
    """The CRC-32C of `data`, continued from the checksum `crc` of what stands before it."""

    def __call__(self, data: bytes | memoryview, crc: int = 0, /) -> int: ...


crc32c: ChecksumFunction = _crc32c

CHECKSUM_BYTES = 4


def checksum_around(data: bytes, offset: int) -> int:
    """The checksum of `data` but for the field at `offset` that is to hold it."""
    return crc32c(data[offset + CHECKSUM_BYTES :], crc32c(data[:offset]))
