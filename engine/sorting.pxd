"""Records sorted by a number: orders and clients by theirs, instruments by their symbols."""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t


cdef extern from "sorting.h" nogil:
    ctypedef struct Keyed:
        uint64_t key
        uint32_t index
        uint32_t place

    void sort_by_key(Keyed *records, Keyed *spare, size_t count)
