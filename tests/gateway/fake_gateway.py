"""An exchange with gateways on loopback sockets, in this process: what a client's tests talk to.

It keeps one client's stream and takes each order once; what goes wrong, and when, a test says.
"""

import asyncio
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Self

from feed.settings import Address
from gateway import ouch
from gateway.ouch_codec import decode_inbound
from gateway.soup import (
    ClientHeartbeat,
    ClientPacket,
    LoginRejectReason,
    LoginRequest,
    LogoutRequest,
    UnsequencedData,
    client_packets,
)
from tests.gateway.exchange_side import (
    accept,
    accepted,
    account,
    canceled,
    mass_canceled,
    numbered,
    reject,
    replaced,
)


class FakeExchange:
    """The list, as far as one client's stream shows it."""

    def __init__(self) -> None:
        self.stream: list[ouch.Outbound] = []
        self.last_user_ref_num = 0
        self.commands: list[ouch.Inbound] = []  # those that took effect
        self.repeats = 0
        self.answers = True  # else commands take effect, but nothing is sent

    def take(self, message: ouch.Inbound) -> list[ouch.Outbound]:
        """What a message adds to the stream."""
        match message:
            case ouch.EnterOrder(user_ref_num=number, quantity=quantity):
                return self._add(message, number, accepted(number, quantity))
            case ouch.ReplaceOrder(original_user_ref_num=original, user_ref_num=number):
                return self._add(message, number, replaced(original, number, message.quantity))
            case ouch.MassCancel(user_ref_num=number):
                return self._add(message, number, mass_canceled(number))
            case ouch.CancelOrder(user_ref_num=number):
                return self._add(message, None, canceled(number, 100 - message.quantity))
            case ouch.AccountQuery():
                return []

    def _add(
        self, command: ouch.Inbound, number: int | None, answer: ouch.Outbound
    ) -> list[ouch.Outbound]:
        if number is not None:
            if number <= self.last_user_ref_num:
                self.repeats += 1
                return []
            self.last_user_ref_num = number
        self.commands.append(command)
        self.stream.append(answer)
        return [answer]


class FakeGateway:
    """One gateway of the exchange; a context manager that listens on a port of its own."""

    def __init__(self, exchange: FakeExchange, tls: ssl.SSLContext | None = None) -> None:
        self.exchange = exchange
        self.log_ins: list[LoginRequest] = []
        self.heartbeats = 0
        self.log_outs = 0
        self.refusal: bytes | None = None  # what a log-in is answered with instead
        self.repeats_the_stream = False
        self.answers_log_ins = True
        self.answers_log_outs = True
        self.spoil: Callable[[bytes], bytes | None] = bytes  # what is sent of an answer; None: drop
        self.connections: set[_Connection] = set()
        self.logged_in = asyncio.Event()
        self._tls = tls
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", 0, ssl=self._tls
        )
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.drop()
        await self._server.wait_closed()
        await asyncio.sleep(0)  # for the transports to tell that they are closed

    @property
    def address(self) -> Address:
        assert self._server is not None
        return Address(*self._server.sockets[0].getsockname()[:2])

    def send(self, data: bytes) -> None:
        """Bytes to whoever is connected."""
        for connection in self.connections:
            connection.transport.write(data)

    def drop(self) -> None:
        """Breaks all connections."""
        for connection in self.connections:
            connection.transport.abort()


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, gateway: FakeGateway) -> None:
        self._gateway = gateway
        self._reader = client_packets()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._gateway.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._gateway.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        for packet in self._reader.take(data):
            self._on_packet(packet)

    def _on_packet(self, packet: ClientPacket) -> None:
        gateway = self._gateway
        match packet:
            case LoginRequest():
                gateway.log_ins.append(packet)
                self._log_in(packet.sequence)
            case UnsequencedData(payload):
                self._on_message(decode_inbound(payload))
            case ClientHeartbeat():
                gateway.heartbeats += 1
            case LogoutRequest():
                gateway.log_outs += 1
                if gateway.answers_log_outs:
                    self.transport.close()

    def _log_in(self, asked: int) -> None:
        gateway = self._gateway
        stream = gateway.exchange.stream
        if not gateway.answers_log_ins:
            return
        if gateway.refusal is not None:
            self.transport.write(gateway.refusal)
            self.transport.close()
            return
        first = 1 if gateway.repeats_the_stream else asked or len(stream) + 1
        if first > len(stream) + 1:
            self.transport.write(reject(LoginRejectReason.NO_SUCH_SESSION))
            self.transport.close()
            return
        self.transport.write(accept(first) + numbered(*stream[first - 1 :]))
        gateway.logged_in.set()

    def _on_message(self, message: ouch.Inbound) -> None:
        gateway = self._gateway
        if isinstance(message, ouch.AccountQuery):
            self.transport.write(account(gateway.exchange.last_user_ref_num + 1))
            return
        answers = gateway.exchange.take(message)
        if not gateway.exchange.answers or not answers:
            return
        data = gateway.spoil(numbered(*answers))
        if data is None:
            self.transport.abort()
        else:
            self.transport.write(data)
