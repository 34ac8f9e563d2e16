"""Clients' connections that end at a bad moment."""

import asyncio
from random import Random

from gateway.client_connections import ClientConnections
from gateway.closing import ClosingReason
from gateway.gateway import Gateway
from gateway.soup import LoginRequest
from tests.gateway.exchange import SETTINGS
from zk.directory import Directory


class Transport(asyncio.Transport):
    """A connection whose client is gone, which nobody has said yet."""

    def __init__(self) -> None:
        super().__init__()
        self.is_aborted = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.is_aborted

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        raise OSError("Transport endpoint is not connected")

    def abort(self) -> None:
        self.is_aborted = True


class Alarm:
    def cancel(self) -> None:
        pass


def test_a_session_ends_though_its_client_is_gone_without_a_word() -> None:
    gateway = Gateway("DEMO", SETTINGS, Random(1), lambda: 0, Directory.alone(1))
    connections = ClientConnections(
        gateway, SETTINGS, lambda: None, lambda: 0, lambda seconds, act: Alarm()
    )
    connection, transport = connections.make(), Transport()
    connection.connection_made(transport)
    connection.data_received(LoginRequest("ALICE", "alice-pass", "", 1).encode())
    gateway.stop(ClosingReason.GATEWAY_STOPS, 0)
    connections.flush(0)
    assert transport.is_aborted
    connection.connection_lost(None)
    assert connections.count == 0
