"""Names as they stand in frames: padded, and only what can be told apart and read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.messages import HOLDER_NAME_BYTES, holder_field, unpad

names = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=HOLDER_NAME_BYTES
).filter(lambda name: name == name.strip())


@given(names)
def test_a_holders_name_stands_in_sixteen_bytes_and_comes_back(name: str) -> None:
    field = holder_field(name)
    assert field == name.encode() + b" " * (16 - len(name))
    assert unpad(field) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "not a holder's name"),
        (" e1", "not a holder's name"),
        ("e1 ", "not a holder's name"),
        ("a-name-of-17-chars", "longer than 16 characters"),
        ("é1", "not printable ASCII"),
        ("e\t1", "not printable ASCII"),
    ],
)
def test_a_name_that_cannot_be_told_apart_or_read_is_refused(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        holder_field(name)
