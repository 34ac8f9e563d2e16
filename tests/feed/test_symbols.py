"""Which symbol fields name one instrument, and which look like several."""

import pytest

from feed.symbols import names_several


@pytest.mark.parametrize("field", [b"A", b"AAPL    ", b"BRK.B   ", b"BF-A    ", b"  AAPL  ", b" "])
def test_one_symbol_is_one_however_it_is_padded(field: bytes) -> None:
    assert not names_several(field)


@pytest.mark.parametrize("separator", list("/,+&;|: "))
def test_what_stands_between_several_tells_them_apart(separator: str) -> None:
    assert names_several(f"A{separator}B     ".encode())


@pytest.mark.parametrize("field", [b"AAPL/   ", b"/MSFT   ", b"ABCDEFG&"])
def test_such_a_character_at_an_end_is_enough(field: bytes) -> None:
    assert names_several(field)
