# cython: language_level=3
"""The compiled twin of `feed._checksum_py`."""

from libc.stdint cimport uint8_t, uint32_t

from feed cimport wire

wire.crc32c_prepare()


def crc32c(const uint8_t[::1] data not None, uint32_t crc=0, /):
    """The CRC-32C of `data`, continued from the checksum `crc` of what stands before it."""
    if not data.shape[0]:
        return crc
    return wire.crc32c(crc, &data[0], data.shape[0])
