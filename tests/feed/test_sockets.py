"""Many datagrams in one call: in order, in bounds, and past those that the kernel refuses."""

import errno
import gc
import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from socket import socket
from typing import Any

import pytest

from feed import _sockets_py, sockets
from feed.kernel import KERNEL_WANTED
from feed.multicast import open_unicast
from feed.sockets import Sent
from tests.feed.sockets import LOOPBACK, address_of, free_addresses

IS_BUILT = importlib.util.find_spec("feed._sockets_c") is not None
TWINS: list[Any] = [_sockets_py]
if IS_BUILT:
    TWINS.append(importlib.import_module("feed._sockets_c"))
both = pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.__name__)

TOO_LONG = bytes(65_508)  # one byte more than UDP over IPv4 carries
NUMBERED = [b"%d" % number for number in range(200)]


@pytest.fixture
def receiver() -> Iterator[socket]:
    with closing(open_unicast(LOOPBACK)) as opened:
        yield opened


@pytest.fixture
def sender() -> Iterator[socket]:
    with closing(open_unicast(LOOPBACK)) as opened:
        yield opened


def test_the_compiled_twin_is_in_use_where_it_was_built_unless_it_is_not_wanted() -> None:
    used = "feed._sockets_c" if IS_BUILT and KERNEL_WANTED else "feed._sockets_py"
    assert used == sockets.IN_USE
    assert (sockets.send_datagrams is _sockets_py.send_datagrams) is (used == "feed._sockets_py")
    ask = [sys.executable, "-c", "from feed import sockets; print(sockets.IN_USE)"]
    environment = {**os.environ, "LOCKSTEP_KERNEL": "0"}
    told = subprocess.run(ask, env=environment, capture_output=True, text=True, check=True)
    assert told.stdout == "feed._sockets_py\n"


@both
def test_datagrams_arrive_in_order_and_are_taken_in_bounds(
    twin: Any, receiver: socket, sender: socket
) -> None:
    sent = twin.send_datagrams(sender, NUMBERED, address_of(receiver))
    assert sent == Sent(len(NUMBERED), len(b"".join(NUMBERED)), 0)
    assert type(sent) is Sent
    reader = twin.DatagramReader(150, 100)
    assert [reader.read(receiver) for _ in range(3)] == [NUMBERED[:150], NUMBERED[150:], []]


@both
def test_a_long_datagram_is_cut_off_and_one_without_bytes_is_a_datagram(
    twin: Any, receiver: socket, sender: socket
) -> None:
    reader = twin.DatagramReader(8, 4)
    twin.send_datagrams(sender, [b"", b"four", b"longer", b"end"], address_of(receiver))
    first = reader.read(receiver)
    assert first == [b"", b"four", b"long", b"end"]
    twin.send_datagrams(sender, [b"next"], address_of(receiver))
    assert reader.read(receiver) == [b"next"]
    assert first == [b"", b"four", b"long", b"end"]  # what was read stays what it was


@both
def test_one_reader_serves_several_sockets(twin: Any, receiver: socket, sender: socket) -> None:
    reader = twin.DatagramReader(8, 100)
    twin.send_datagrams(sender, [b"to the receiver"], address_of(receiver))
    twin.send_datagrams(receiver, [b"and back"], address_of(sender))
    assert reader.read(sender) == [b"and back"]
    assert reader.read(receiver) == [b"to the receiver"]


@both
@pytest.mark.parametrize("places", [{0}, {199}, {63, 64, 65}, {0, 1, 100, 127, 128, 199}])
def test_what_the_kernel_refuses_is_lost_and_the_next_one_is_sent(
    twin: Any, receiver: socket, sender: socket, places: set[int]
) -> None:
    datagrams = [TOO_LONG if i in places else data for i, data in enumerate(NUMBERED)]
    kept = [data for data in datagrams if data is not TOO_LONG]
    sent = twin.send_datagrams(sender, datagrams, address_of(receiver))
    assert sent == (len(kept), len(b"".join(kept)), errno.EMSGSIZE)
    assert twin.DatagramReader(200, 100).read(receiver) == kept


@both
def test_nothing_to_send_is_no_error(twin: Any, sender: socket) -> None:
    assert twin.send_datagrams(sender, [], LOOPBACK) == (0, 0, 0)


@both
def test_where_nothing_can_be_sent_to_all_is_lost(twin: Any, sender: socket) -> None:
    # The port 0 is nobody's: the kernel refuses to send there.
    assert twin.send_datagrams(sender, NUMBERED, ("127.0.0.1", 0)) == (0, 0, errno.EINVAL)


@both
def test_an_error_of_the_socket_is_raised(twin: Any, sender: socket) -> None:
    (nobody,) = free_addresses(1)
    reader = twin.DatagramReader(8, 100)
    sender.connect(nobody)
    sender.send(b"is anybody there?")
    with pytest.raises(ConnectionRefusedError):
        reader.read(sender)
    assert reader.read(sender) == []
    sender.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        reader.read(sender)
    assert twin.send_datagrams(sender, [b"?"], nobody) == (0, 0, errno.EBADF)


@both
@pytest.mark.parametrize("sizes", [(0, 1), (1, 0), (-1, 1), (1, -1)])
def test_a_reader_has_room_for_something(twin: Any, sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="room for a datagram"):
        twin.DatagramReader(*sizes)
    gc.collect()  # what was half made is given back


@both
def test_what_is_no_datagram_is_not_sent(twin: Any, receiver: socket, sender: socket) -> None:
    for wrong in (None, "text", 5):
        with pytest.raises(TypeError):
            twin.send_datagrams(sender, [wrong], address_of(receiver))
    assert twin.DatagramReader(8, 100).read(receiver) == []
