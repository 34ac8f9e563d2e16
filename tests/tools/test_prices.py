import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.prices import format_price, parse_price


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("187.25", 1_872_500),
        ("187", 1_870_000),
        (" 0.0001 ", 1),
        ("0.07", 700),  # 0.07 * 10_000 is 700.0000000000001 in floats
        ("1.1", 11_000),
        ("199999.99", 1_999_999_900),
    ],
)
def test_decimal_currency_becomes_an_exact_integer(text: str, price: int) -> None:
    assert parse_price(text) == price


@pytest.mark.parametrize(
    "text",
    ["", "abc", "-1", "+1", "1e3", "1.", ".5", "1.23456", "1,5", "nan", "0", "0.0000", "\u0661"],
)
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="price"):
        parse_price(text)


@pytest.mark.parametrize(
    ("price", "text"),
    [(1_872_500, "187.25"), (1_870_000, "187.00"), (1, "0.0001"), (12_340, "1.234")],
)
def test_a_price_shows_two_decimals_or_as_many_as_it_has(price: int, text: str) -> None:
    assert format_price(price) == text


@given(st.integers(1, 1_999_999_900))
def test_a_price_that_was_shown_is_read_back_the_same(price: int) -> None:
    assert parse_price(format_price(price)) == price
