"""Free ports and groups for an exchange of one's own."""

import socket

import pytest

from feed.settings import Address
from tools import ports
from tools.ports import free_addresses, free_group, multicast_works


def test_free_addresses_differ_and_can_be_bound_by_tcp_and_udp() -> None:
    addresses = free_addresses(20)
    assert len(set(addresses)) == 20
    for address in addresses:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(socket.AF_INET, kind) as trial:
                trial.bind(address)


def test_free_ports_lie_below_those_that_the_kernel_gives_out() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as given:
        given.bind((ports.HOST, 0))
        given_port = given.getsockname()[1]
    assert all(20_000 <= address.port < given_port for address in free_addresses(20))


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_taken_port_is_not_free(kind: socket.SocketKind, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, free = (address.port for address in free_addresses(2))
    monkeypatch.setattr(ports, "_ports_to_draw_from", lambda: [taken, free])
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind((ports.HOST, taken))
        assert free_addresses(1) == [Address(ports.HOST, free)]
        with pytest.raises(OSError, match="2 free ports are needed"):
            free_addresses(2)


def test_group_is_of_the_local_scope() -> None:
    assert all(str(free_group()).startswith("239.255.") for _ in range(20))


def test_multicast_is_found_not_to_work_where_packets_do_not_arrive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Mute:
        def __init__(self, settings: object) -> None: ...
        def send(self, packets: list[bytes]) -> None: ...
        def close(self) -> None: ...

    monkeypatch.setattr(ports, "_PROBE_WITHIN_S", 0.01)
    monkeypatch.setattr(ports, "FeedSender", Mute)
    assert multicast_works() is False


def test_multicast_is_found_not_to_work_where_no_group_can_be_joined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(settings: object) -> socket.socket:
        raise OSError("No such device")

    monkeypatch.setattr(ports, "open_receiver", refuse)
    assert multicast_works() is False


def test_multicast_works_where_packets_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    receiving = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiving.bind((ports.HOST, 0))

    class Arriving:
        def __init__(self, settings: object) -> None:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

        def send(self, packets: list[bytes]) -> None:
            for packet in packets:
                self._socket.sendto(packet, receiving.getsockname())

        def close(self) -> None:
            self._socket.close()

    monkeypatch.setattr(ports, "open_receiver", lambda settings: receiving)
    monkeypatch.setattr(ports, "FeedSender", Arriving)
    assert multicast_works() is True
