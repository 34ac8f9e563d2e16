"""The feed's sockets: who gets what is sent, what stays on the machine, what goes wrong."""

import asyncio
import errno
import gc
import socket
from contextlib import closing
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from feed.multicast import (
    DATAGRAMS_PER_WAKE_UP,
    FeedSender,
    PacketReader,
    drain,
    open_receiver,
    open_unicast,
    resolve,
)
from feed.settings import Address
from tests.feed.sockets import (
    LOOPBACK,
    address_of,
    arriving,
    free_addresses,
    multicast_settings,
    unicast_settings,
)

IP_MULTICAST_ALL = 49  # linux/in.h
ELSEWHERE = IPv4Address("203.0.113.1")  # for documentation only (RFC 5737): no interface has it


def test_each_packet_to_the_group_arrives_at_every_receiver_in_order() -> None:
    async def scenario() -> None:
        settings = multicast_settings()
        with (
            closing(open_receiver(settings)) as first,
            closing(open_receiver(settings)) as second,
            closing(FeedSender(settings)) as sender,
        ):
            sender.send([b"one", b"two"])
            sender.send([b"three"])
            for receiver in (first, second):
                arrived = [await arriving(receiver) for _ in range(3)]
                assert [data for data, _ in arrived] == [b"one", b"two", b"three"]
                assert {sender.host for _, sender in arrived} == {"127.0.0.1"}
            assert (sender.packets_sent, sender.bytes_sent, sender.send_errors) == (3, 11, 0)

    asyncio.run(scenario())


def test_a_receiver_hears_its_own_group_alone_even_at_the_same_port() -> None:
    async def scenario() -> None:
        settings = multicast_settings()
        other = settings.model_copy(update={"group": settings.group + 1})
        with (
            closing(open_receiver(settings)) as receiver,
            closing(open_receiver(other)),
            closing(FeedSender(settings)) as sender,
            closing(FeedSender(other)) as other_sender,
        ):
            # Else it would also hear what others on this machine joined on other interfaces.
            assert receiver.getsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL) == 0
            other_sender.send([b"for the others"])
            sender.send([b"for us"])
            assert [data for data, _ in drain(receiver, 100)] == [b"for us"]

    asyncio.run(scenario())


def test_what_is_sent_to_the_port_but_not_to_the_group_is_not_received() -> None:
    settings = multicast_settings()
    with (
        closing(open_receiver(settings)) as receiver,
        closing(open_unicast(LOOPBACK)) as neighbour,
        closing(FeedSender(settings)) as sender,
    ):
        neighbour.sendto(b"to the port alone", (LOOPBACK.host, settings.port))
        sender.send([b"to the group"])
        assert [data for data, _ in drain(receiver, 100)] == [b"to the group"]


def test_interface_and_ttl_are_set_on_the_sender_and_keep_packets_on_the_machine() -> None:
    settings = multicast_settings()
    with closing(FeedSender(settings)) as sender:
        option = sender._socket.getsockopt
        assert option(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == 0
        assert option(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP) == 1
        interface = option(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, 4)
        assert socket.inet_ntoa(interface) == "127.0.0.1"
    with closing(FeedSender(settings.model_copy(update={"ttl": 3}))) as sender:
        assert sender._socket.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == 3


def test_without_multicast_each_receiver_in_the_list_gets_each_packet() -> None:
    async def scenario() -> None:
        settings = unicast_settings(3)
        first, second, nobody = settings.receivers
        with (
            closing(open_receiver(settings, first)) as one,
            closing(open_receiver(settings, second)) as two,
            closing(FeedSender(settings)) as sender,
        ):
            sender.send([b"one", b"two"])
            sender.send([b"three"])  # behind the refusals that came back from where nobody is
            for receiver in (one, two):
                arrived = [(await arriving(receiver))[0] for _ in range(3)]
                assert arrived == [b"one", b"two", b"three"]
            assert nobody not in (address_of(one), address_of(two))
            assert (sender.packets_sent, sender.send_errors) == (9, 0)

    asyncio.run(scenario())


def test_unicast_needs_the_receivers_own_address() -> None:
    with pytest.raises(ValueError, match="own address"):
        open_receiver(unicast_settings(1))


def test_a_packet_that_the_kernel_refuses_is_counted_and_the_next_one_is_sent() -> None:
    settings = multicast_settings()
    with closing(open_receiver(settings)) as receiver, closing(FeedSender(settings)) as sender:
        sender.send([bytes(70_000), b"small"])
        assert [data for data, _ in drain(receiver, 100)] == [b"small"]
        assert (sender.packets_sent, sender.bytes_sent, sender.send_errors) == (1, 5, 1)
        assert sender.last_error is not None
        assert sender.last_error.errno == errno.EMSGSIZE


def test_an_address_that_is_taken_is_named() -> None:
    with closing(open_unicast(LOOPBACK)) as taken:
        address = address_of(taken)
        with pytest.raises(OSError, match=f"can't listen at {address}: Address already in use"):
            open_unicast(address)
    gc.collect()  # a socket left open would warn here


def test_an_interface_that_is_not_there_is_named() -> None:
    settings = multicast_settings(interface=ELSEWHERE)
    with pytest.raises(OSError, match=f"can't join group {settings.group} on interface"):
        open_receiver(settings)
    with pytest.raises(OSError, match=r"can't send on interface 203\.0\.113\.1"):
        FeedSender(settings)
    gc.collect()


def test_names_are_resolved_to_the_addresses_that_senders_show() -> None:
    assert resolve(Address("localhost", 5)) == Address("127.0.0.1", 5)
    assert resolve(Address("127.0.0.2", 6)) == Address("127.0.0.2", 6)
    with pytest.raises(OSError, match="has no IPv4 address"):
        resolve(Address("x" * 64, 5))


def test_draining_takes_a_bounded_number_of_datagrams_and_cuts_off_long_ones() -> None:
    with closing(open_unicast(LOOPBACK)) as receiver, closing(open_unicast(LOOPBACK)) as sender:
        sent = [b"%d" % number for number in range(DATAGRAMS_PER_WAKE_UP + 6)]
        for data in (*sent[:-1], sent[-1] + b" and more"):
            sender.sendto(data, address_of(receiver))
        first, rest, none = ([*drain(receiver, 2)] for _ in range(3))
        assert [data for data, _ in first + rest] == sent
        assert [len(first), len(rest), none] == [DATAGRAMS_PER_WAKE_UP, 6, []]
        assert {origin for _, origin in first} == {address_of(sender)}


def test_a_packet_reader_takes_a_bounded_number_in_one_call_and_cuts_off_long_ones() -> None:
    settings = multicast_settings()
    with closing(open_receiver(settings)) as receiver, closing(FeedSender(settings)) as sender:
        sent = [b"%d" % number for number in range(DATAGRAMS_PER_WAKE_UP + 6)]
        sender.send([*sent[:-1], sent[-1] + b" and more"])
        assert (sender.packets_sent, sender.send_errors) == (len(sent), 0)
        reader = PacketReader(receiver, 2)
        first, rest, none = (reader.read() for _ in range(3))
        assert first + rest == sent
        assert [len(first), len(rest), none] == [DATAGRAMS_PER_WAKE_UP, 6, []]


def test_packets_lost_on_the_way_to_one_of_the_receivers_are_counted_by_destination() -> None:
    settings = unicast_settings(2)
    with (
        closing(open_receiver(settings, settings.receivers[0])) as first,
        closing(open_receiver(settings, settings.receivers[1])) as second,
        closing(FeedSender(settings)) as sender,
    ):
        sender.send([b"one", bytes(70_000), b"two"])
        for receiver in (first, second):
            assert PacketReader(receiver, 100).read() == [b"one", b"two"]
        assert (sender.packets_sent, sender.bytes_sent, sender.send_errors) == (4, 12, 2)


@pytest.mark.parametrize("transport", ["multicast", "unicast"])
def test_the_receive_buffer_is_as_large_as_asked_for_or_as_the_machine_allows(
    transport: str,
) -> None:
    allowed = int(Path("/proc/sys/net/core/rmem_max").read_text())
    (address,) = free_addresses(1)
    settings = multicast_settings(transport=transport, receive_buffer_bytes=3 << 20)
    with closing(open_receiver(settings, address)) as receiver:
        size = receiver.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert size >= min(allowed, 3 << 20)
