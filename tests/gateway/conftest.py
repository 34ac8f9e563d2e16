"""What the gateway's tests share."""

from collections.abc import Iterator

import pytest

from tests.gateway.twins import NAMES, ORDER_TWINS, STREAM_TWINS


@pytest.fixture(params=range(len(NAMES)), ids=NAMES, scope="module")
def kernel_in_use(request: pytest.FixtureRequest) -> Iterator[None]:
    """Has a module's gateways use one twin of the kernel, and then the other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.session.take_orders", ORDER_TWINS[request.param].take_orders)
        patch.setattr("gateway.shards.tell", STREAM_TWINS[request.param].tell)
        yield
