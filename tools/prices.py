"""Prices as people write them, in currency with a decimal point, and as the exchange keeps them."""

import re

PRICE_UNITS = 10_000  # of the currency's unit; a price is an integer in 1/10,000
_DECIMALS = 4
_PRICE = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,4}))?", re.ASCII)


def parse_price(text: str) -> int:
    """The price written as in "187.25", in 1/10,000: exact, never by way of a float.

    Raises ValueError when it is not a decimal number above 0 with at most four decimals.
    """
    match = _PRICE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a price; write it like 187.25, at most four decimals")
    whole, decimals = match.group(1), match.group(2) or ""
    price = int(whole) * PRICE_UNITS + int(decimals.ljust(_DECIMALS, "0"))
    if price == 0:
        raise ValueError("a price must be above 0")
    return price


def format_price(price: int) -> str:
    """A price as people write it: at least two decimals, and no more than it needs."""
    whole, part = divmod(price, PRICE_UNITS)
    decimals = f"{part:0{_DECIMALS}}"
    return f"{whole}.{decimals[:2]}{decimals[2:].rstrip('0')}"
