# cython: language_level=3
"""A hint for the compiler: which branches are seldom taken, and so are to be out of the way."""


cdef extern from *:
    """
    #define LOCKSTEP_IS_SELDOM(condition) __builtin_expect(!!(condition), 0)
    """
    bint is_seldom "LOCKSTEP_IS_SELDOM"(bint condition) noexcept nogil
