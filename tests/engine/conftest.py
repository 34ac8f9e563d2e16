"""The examples run on every machine: the real one, and the naive model that judges it elsewhere."""

from collections.abc import Callable

import pytest

from engine.market import Market
from tests.engine.floor import Floor
from tests.model.naive_market import NaiveMarket


@pytest.fixture(params=[Market, NaiveMarket])
def floor(request: pytest.FixtureRequest) -> Floor:
    """A floor on which nothing has been entered yet."""
    return Floor(request.param())


@pytest.fixture
def limit_orders(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many live orders the floor's market has room for."""

    def limit(orders: int) -> None:
        monkeypatch.setattr("engine.market.MAX_LIVE_ORDERS", orders)
        if isinstance(floor.market, NaiveMarket):
            floor.market.order_limit = orders

    return limit
