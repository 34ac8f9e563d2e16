"""The engine's part of the configuration: which instruments there can be."""

import pytest
from pydantic import ValidationError

from engine.settings import InstrumentSettings


@pytest.mark.parametrize("symbol", ["AAPL", "BRK.B", "BF-A"])
def test_a_symbol_may_have_dots_and_dashes(symbol: str) -> None:
    assert InstrumentSettings(symbol=symbol).symbol == symbol


@pytest.mark.parametrize("symbol", ["AAPL/MS", "AAPL MS", "A,B", "A:B", "A+"])
def test_an_instrument_whose_symbol_looks_like_several_is_refused(symbol: str) -> None:
    with pytest.raises(ValidationError, match=r"is not a symbol: it looks like several"):
        InstrumentSettings(symbol=symbol)
