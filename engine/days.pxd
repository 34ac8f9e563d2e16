# cython: language_level=3
"""Days as numbers that read YYYYMMDD. As in `engine.days`."""

from libc.stdint cimport uint32_t


cdef inline bint is_day(uint32_t day) noexcept nogil:
    """Whether a number is a date of eight digits, by the Gregorian calendar."""
    cdef uint32_t year = day // 10000
    cdef uint32_t month = day // 100 % 100
    cdef uint32_t day_of_month = day % 100
    cdef uint32_t days = 31
    if year < 1000 or year > 9999 or month < 1 or month > 12:
        return False
    if month == 4 or month == 6 or month == 9 or month == 11:
        days = 30
    elif month == 2:
        days = 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 1 <= day_of_month <= days
