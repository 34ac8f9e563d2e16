"""What several tests of the gateway's logic ask of its world."""

from gateway.closing import ClosingReason
from gateway.settings import GatewaySettings
from gateway.soup import (
    Debug,
    LoginRejected,
    ServerPacket,
)
from tests.gateway.exchange import (
    CLIENTS,
    Exchange,
)


def refused(reason: ClosingReason) -> list[ServerPacket]:
    assert reason.login_reject is not None
    return [Debug(reason.text), LoginRejected(reason.login_reject)]


def limited(**limits: dict[str, int]) -> GatewaySettings:
    return GatewaySettings.model_validate(
        {"listen": "127.0.0.1:0", "clients": "clients.toml", **limits}
    )


def cancels_on_disconnect(exchange: Exchange, name: str = "ALICE") -> None:
    for node in exchange.gateways:
        client = CLIENTS[name].model_copy(update={"cancel_on_disconnect": True})
        node.clients = {**node.clients, name: client}


def live_orders(exchange: Exchange) -> int:
    exchange.market.check()
    return len(exchange.market.orders)
