"""Big-endian numbers and CRC-32C, for all kernels."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "wire.h" nogil:
    uint16_t load_u16(const uint8_t *at)
    uint32_t load_u32(const uint8_t *at)
    uint64_t load_u64(const uint8_t *at)
    void store_u16(uint8_t *at, uint16_t value)
    void store_u32(uint8_t *at, uint32_t value)
    void store_u64(uint8_t *at, uint64_t value)
    void crc32c_prepare()
    uint32_t crc32c(uint32_t crc, const uint8_t *at, size_t size)
