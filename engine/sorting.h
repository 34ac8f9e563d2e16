/* Records sorted by a number, one byte after the other, the least first (Knuth, volume 3, section
   5.2.5). Bytes that are the same in all keys are passed over. */
#ifndef LOCKSTEP_SORTING_H
#define LOCKSTEP_SORTING_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint64_t key;
    uint32_t index; /* of the record */
    uint32_t place; /* what else is to be known of it */
} Keyed;

/* Sort records; those of one key stay in their order. `spare` has room for as many. It is seldom
   needed, and so made no part of functions that are needed often. */
__attribute__((noinline, cold))
static void sort_by_key(Keyed *records, Keyed *spare, size_t count) {
    Keyed *source = records;
    Keyed *target = spare;
    uint64_t differing = 0;
    for (size_t at = 1; at < count; at++)
        differing |= records[at].key ^ records[0].key;
    for (int shift = 0; shift < 64; shift += 8) {
        if (!((differing >> shift) & 0xff))
            continue;
        size_t places[256] = {0};
        size_t following = 0;
        for (size_t at = 0; at < count; at++)
            places[(source[at].key >> shift) & 0xff]++;
        for (int digit = 0; digit < 256; digit++) {
            size_t begin = following;
            following += places[digit];
            places[digit] = begin;
        }
        for (size_t at = 0; at < count; at++)
            target[places[(source[at].key >> shift) & 0xff]++] = source[at];
        Keyed *sorted = target;
        target = source;
        source = sorted;
    }
    if (source != records)
        memcpy(records, source, count * sizeof(Keyed));
}

#endif
