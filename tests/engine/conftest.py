"""The examples run on every market: each machine, and the naive model that judges them."""

from collections.abc import Callable
from functools import partial

import pytest

from engine.market import Market
from tests.engine.driving import AnyMarket
from tests.engine.floor import Floor
from tests.engine.machines import MACHINES, ByBytes
from tests.model.naive_market import NaiveMarket

MARKETS: dict[str, Callable[[], AnyMarket]] = {
    "rules": Market,
    "model": NaiveMarket,
    **{name: partial(ByBytes, build) for name, build in MACHINES.items()},
}


@pytest.fixture(params=MARKETS)
def build_market(request: pytest.FixtureRequest) -> Callable[[], AnyMarket]:
    """Makes an empty market."""
    return MARKETS[request.param]


@pytest.fixture
def floor(build_market: Callable[[], AnyMarket]) -> Floor:
    """A floor on which nothing has been entered yet."""
    return Floor(build_market())


@pytest.fixture
def small_floor(
    build_market: Callable[[], AnyMarket], monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], Floor]:
    """Makes a floor whose market has room for so many live orders only."""

    def build(orders: int) -> Floor:
        monkeypatch.setattr("engine.market.MAX_LIVE_ORDERS", orders)
        market = build_market()
        if isinstance(market, NaiveMarket):
            market.order_limit = orders
        return Floor(market)

    return build
