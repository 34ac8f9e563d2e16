"""Days as numbers that read YYYYMMDD, by integers alone: the machine knows no other calendar."""

_DAYS_OF_MONTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FEBRUARY = 2


def is_day(day: int) -> bool:
    """Whether a number is a date of eight digits, as 20240229 is; by the Gregorian calendar."""
    year, month, day_of_month = day // 10_000, day // 100 % 100, day % 100
    if not (1000 <= year <= 9999 and 1 <= month <= 12):
        return False
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    leap_day = 1 if month == _FEBRUARY and is_leap else 0
    return 1 <= day_of_month <= _DAYS_OF_MONTHS[month - 1] + leap_day
