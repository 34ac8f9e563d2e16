/* What all kernels need of the wire: big-endian numbers, and CRC-32C (RFC 3720, appendix B.4), by the
   processor's instruction where it has one, else by eight tables (Kounavis and Berry 2005). */
#ifndef LOCKSTEP_WIRE_H
#define LOCKSTEP_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t load_u16(const uint8_t *at) {
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return __builtin_bswap16(value);
}

static inline uint32_t load_u32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return __builtin_bswap32(value);
}

static inline uint64_t load_u64(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return __builtin_bswap64(value);
}

static inline void store_u16(uint8_t *at, uint16_t value) {
    value = __builtin_bswap16(value);
    memcpy(at, &value, sizeof value);
}

static inline void store_u32(uint8_t *at, uint32_t value) {
    value = __builtin_bswap32(value);
    memcpy(at, &value, sizeof value);
}

static inline void store_u64(uint8_t *at, uint64_t value) {
    value = __builtin_bswap64(value);
    memcpy(at, &value, sizeof value);
}

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the kernels are written for little-endian processors; the reference runs on all"
#endif

static uint32_t crc32c_tables[8][256];

static inline uint32_t crc32c_by_tables(uint32_t crc, const uint8_t *at, size_t size) {
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        word ^= crc;
        crc = 0;
        for (int i = 0; i < 8; i++)
            crc ^= crc32c_tables[7 - i][(word >> (8 * i)) & 0xff];
    }
    for (; size; at++, size--)
        crc = (crc >> 8) ^ crc32c_tables[0][(crc ^ *at) & 0xff];
    return crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

static int crc32c_has_instruction;

__attribute__((target("sse4.2"))) static inline uint32_t crc32c_by_instruction(
    uint32_t crc, const uint8_t *at, size_t size) {
    uint64_t wide = crc;
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    if (size & 4) {
        uint32_t word;
        memcpy(&word, at, 4);
        crc = _mm_crc32_u32(crc, word);
        at += 4;
    }
    for (size &= 3; size; at++, size--)
        crc = _mm_crc32_u8(crc, *at);
    return crc;
}
#endif

/* Each module that uses the checksum calls this once, before anything else. */
static inline void crc32c_prepare(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0);
        crc32c_tables[0][byte] = crc;
    }
    for (int table = 1; table < 8; table++)
        for (int byte = 0; byte < 256; byte++) {
            uint32_t crc = crc32c_tables[table - 1][byte];
            crc32c_tables[table][byte] = (crc >> 8) ^ crc32c_tables[0][crc & 0xff];
        }
#if defined(__x86_64__)
    crc32c_has_instruction = __builtin_cpu_supports("sse4.2");
#endif
}

/* The CRC-32C of `size` bytes, continued from the checksum `crc` of what stands before them. */
static inline uint32_t crc32c(uint32_t crc, const uint8_t *at, size_t size) {
#if defined(__x86_64__)
    if (__builtin_expect(crc32c_has_instruction, 1))
        return ~crc32c_by_instruction(~crc, at, size);
#endif
    return ~crc32c_by_tables(~crc, at, size);
}

#endif
