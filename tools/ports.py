"""Free ports and a free multicast group, for an exchange that must not meet another one."""

import contextlib
import random
import select
import socket
from ipaddress import IPv4Address
from pathlib import Path

from feed.multicast import FeedSender, open_receiver
from feed.settings import Address, FeedSettings

HOST = "127.0.0.1"
_FIRST_PORT = 20_000  # below are the ports of well-known services
_FEWEST_PORTS = 1_000  # fewer to draw from, and two exchanges would often draw the same one
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_DEFAULT_EPHEMERAL_PORT = 32_768  # where Linux begins its range unless told otherwise
_DRAWS_PER_PORT = 100  # all taken by others: something is wrong with the machine
_PROBE_WITHIN_S = 1.0  # the loopback takes microseconds


def free_addresses(count: int) -> list[Address]:
    """`count` different addresses of this machine whose ports nobody has, by TCP nor UDP.

    They lie below the range from which the kernel gives ports to outgoing connections, so that none
    is taken between this trial and its use. Raises OSError when too few are free.
    """
    ports = _ports_to_draw_from()
    with contextlib.ExitStack() as held:
        found: list[Address] = []
        for _ in range(count * _DRAWS_PER_PORT):
            if len(found) == count:
                break
            address = Address(HOST, random.choice(ports))
            if _take(address, held):
                found.append(address)
    if len(found) < count:
        raise OSError(
            f"{count} free ports are needed from {ports[0]} to {ports[-1]}; end something"
        )
    return found


def free_group() -> IPv4Address:
    """A multicast group of the local scope (RFC 2365), drawn at random."""
    return IPv4Address(f"239.255.{random.randint(1, 254)}.{random.randint(1, 254)}")


def multicast_works() -> bool:
    """Whether a packet sent to a group on the loopback interface arrives.

    In some containers and clouds it does not; the unicast transport is for them.
    """
    settings = FeedSettings(group=free_group(), port=free_addresses(1)[0].port)
    try:
        with open_receiver(settings) as receiver:
            sender = FeedSender(settings)
            try:
                sender.send([b"does multicast work here?"])
            finally:
                sender.close()
            readable, _, _ = select.select([receiver], [], [], _PROBE_WITHIN_S)
    except OSError:
        return False
    return bool(readable)


def _ports_to_draw_from() -> range:
    try:
        end = int(_EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        end = _DEFAULT_EPHEMERAL_PORT
    if end - _FIRST_PORT < _FEWEST_PORTS:
        end = _DEFAULT_EPHEMERAL_PORT
    return range(_FIRST_PORT, end)


def _take(address: Address, held: contextlib.ExitStack) -> bool:
    """Bind `address` for TCP and UDP until `held` ends; False when somebody has it."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        trial = held.enter_context(socket.socket(socket.AF_INET, kind))
        try:
            trial.bind(address)
        except OSError:
            return False
    return True
