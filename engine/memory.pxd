"""Pages for the kernel's arenas and tables."""


cdef extern from "memory.h" nogil:
    void *memory_grow(void *old, size_t old_bytes, size_t new_bytes)
    void memory_free(void *memory, size_t bytes)
    void memory_prefetch(const void *at)
