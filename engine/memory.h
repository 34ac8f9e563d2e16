/* Memory for the kernel's arenas and tables: whole pages, zeroed, and grown by moving them, not their bytes.

   Pages that nothing has touched cost nothing, so that capacity may double. Elsewhere than on Linux,
   and under AddressSanitizer, which sees no errors within mapped pages, it comes from the heap. */
#ifndef LOCKSTEP_MEMORY_H
#define LOCKSTEP_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)

#include <sys/mman.h>

/* From this size on, memory lies in large pages, where the system has them: else most accesses to a
   deep book would first have to look for the page. Smaller ones live in the processor's caches. */
#define MEMORY_LARGE_BYTES ((size_t)4 << 20)
#define MEMORY_LARGE_PAGE_BYTES ((size_t)2 << 20)

/* Addresses for `bytes` that begin with a large page, and that nothing else has; NULL without. */
static inline char *memory_aligned_place(size_t bytes) {
    size_t slack = MEMORY_LARGE_PAGE_BYTES;
    char *begin = mmap(NULL, bytes + slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                       -1, 0);
    if (begin == MAP_FAILED)
        return NULL;
    size_t before = (slack - (uintptr_t)begin % slack) % slack;
    if (before)
        munmap(begin, before);
    if (slack - before)
        munmap(begin + before + bytes, slack - before);
    return begin + before;
}

/* What `old` holds, in `new_bytes`, the rest of it zero; NULL when there is not so much memory, and
   `old` stays as it is. `old` is NULL for new memory. Both sizes are powers of two times the size of
   a page, or smaller than one. */
static inline void *memory_grow(void *old, size_t old_bytes, size_t new_bytes) {
    int moves = old && (old_bytes >= MEMORY_LARGE_BYTES || new_bytes < MEMORY_LARGE_BYTES);
    void *place = NULL;
    int fixed = 0;
    void *memory;
    if (new_bytes >= MEMORY_LARGE_BYTES) {
        place = memory_aligned_place(new_bytes);
        if (!place)
            return NULL;
        fixed = 1;
    }
    if (moves)
        memory = mremap(old, old_bytes, new_bytes, MREMAP_MAYMOVE | (fixed ? MREMAP_FIXED : 0),
                        place);
    else
        memory = mmap(place, new_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | (fixed ? MAP_FIXED : 0), -1, 0);
    if (memory == MAP_FAILED) {
        if (fixed)
            munmap(place, new_bytes);
        return NULL;
    }
    if (fixed)
        madvise(memory, new_bytes, MADV_HUGEPAGE); /* advice: it may be declined */
    if (old && !moves) {
        memcpy(memory, old, old_bytes); /* once: the small pages stay behind */
        munmap(old, old_bytes);
    }
    return memory;
}

static inline void memory_free(void *memory, size_t bytes) {
    if (memory)
        munmap(memory, bytes);
}

#else

#define MEMORY_LINE_BYTES 64

static inline void *memory_grow(void *old, size_t old_bytes, size_t new_bytes) {
    size_t lines = (new_bytes + MEMORY_LINE_BYTES - 1) / MEMORY_LINE_BYTES;
    char *memory = aligned_alloc(MEMORY_LINE_BYTES, lines * MEMORY_LINE_BYTES);
    if (!memory)
        return NULL;
    if (old)
        memcpy(memory, old, old_bytes);
    memset(memory + old_bytes, 0, new_bytes - old_bytes);
    free(old);
    return memory;
}

static inline void memory_free(void *memory, size_t bytes) {
    (void)bytes;
    free(memory);
}

#endif

/* Ask for a cache line ahead of its use; any address will do. */
static inline void memory_prefetch(const void *at) {
    __builtin_prefetch(at);
    __asm__ volatile(""); /* GCC takes a function that does nothing else for one that does nothing */
}

#endif
