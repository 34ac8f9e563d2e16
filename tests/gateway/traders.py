"""Clients of the library on the lines of the virtual exchange: they resume where they are told."""

from feed.messages import Side, TimeInForce
from gateway import ouch
from gateway.client_errors import ClientError, LinkFault
from gateway.client_session import ClientSession, Phase
from gateway.events import Accepted, Event
from gateway.session import Phase as SessionPhase
from tests.gateway.exchange import SECRETS, Exchange, GatewayNode, Line
from tests.gateway.groups import SYMBOL


class Trader:
    """A client's session, over one line after the other, and all the events that it gave out."""

    def __init__(self, exchange: Exchange, name: str = "ALICE", gateway_count: int = 1) -> None:
        self.session = ClientSession(name, SECRETS[name], gateway_count=gateway_count)
        self.events: list[Event] = []
        self.entered: list[int] = []
        self.failure: ClientError | None = None
        self._exchange = exchange
        self._line: Line | None = None

    @property
    def is_open(self) -> bool:
        return self.session.phase is Phase.OPEN

    @property
    def line(self) -> Line | None:
        """Its connection, while there is one."""
        return self._line

    def is_connected_to(self, gateway: GatewayNode) -> bool:
        return self._line is not None and self._line.gateway is gateway

    @property
    def accepted(self) -> list[int]:
        """The user_ref_nums of the orders that were accepted, as they came."""
        return [event.user_ref_num for event in self.events if isinstance(event, Accepted)]

    def connect(self, gateway: int = 0) -> None:
        """A new connection, to one of the gateways."""
        self.leave()
        self._line = self._exchange.line(gateway)
        self.session.connected(self._exchange.now_ns)
        self.pump()

    def leave(self) -> None:
        """The connection breaks, and the gateway knows it."""
        if self._line is not None:
            self._line.hang_up()
            self.cut_off()

    def cut_off(self) -> None:
        """The connection is gone; the gateway does not know it, or is gone itself."""
        self._line = None
        self.session.disconnected()

    def enter(
        self,
        count: int = 1,
        side: Side = Side.BUY,
        price: int = 10_000,
        time_in_force: TimeInForce = TimeInForce.DAY,
        symbol: bytes = SYMBOL,
    ) -> None:
        """Enters orders; what comes of them is to be pumped in."""
        for _ in range(count):
            number = self.session.next_user_ref_num()
            order = ouch.EnterOrder(number, side, 100, symbol, price, time_in_force)
            self.session.submit(order)
            self.entered.append(number)
        self.pump()

    def pump(self) -> None:
        """Moves bytes both ways until nothing moves; drops the line when it is of no more use."""
        while self._line is not None:
            line, now_ns = self._line, self._exchange.now_ns
            output = self.session.take_output(now_ns)
            if output:
                line.send(output)
            packets, line.packets = line.packets, []
            try:
                for packet in packets:
                    self.events += self.session.receive(packet.encode(), now_ns)
            except LinkFault:
                self.leave()
            except ClientError as error:
                self.failure = error
                self.leave()
            else:
                if line.session.phase is SessionPhase.CLOSED:
                    self.leave()
                elif not output and not packets:
                    return
