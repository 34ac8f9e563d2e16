"""What the system keeps from a process, on real sockets."""

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from feed.codec import COMMIT, HEARTBEAT, PacketHeader, encode_packet
from feed.multicast import FeedSender, PacketReader, open_receiver
from feed.settings import FeedSettings
from feed.unheard import HEARS_ALL, Unheard
from tests.feed.lists import frames_up_to
from tests.feed.sockets import multicast_settings

READ_BYTES = 1401
DATA = encode_packet(PacketHeader(0, 1, 1, 1, 0), frames_up_to(3))
ALIVE = encode_packet(PacketHeader(HEARTBEAT, 1, 1, 4, 0))
COMMITTED = encode_packet(PacketHeader(HEARTBEAT | COMMIT, 1, 1, 4, 3))
ALL = [DATA, ALIVE, COMMITTED]


@pytest.fixture
def feed() -> FeedSettings:
    return multicast_settings()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def sender(stack: ExitStack, feed: FeedSettings) -> FeedSender:
    return stack.enter_context(closing(FeedSender(feed)))


def reader(stack: ExitStack, feed: FeedSettings, unheard: Unheard) -> PacketReader:
    opened = stack.enter_context(closing(open_receiver(feed)))
    unheard.keep_from(opened)
    return PacketReader(opened, READ_BYTES)


def test_who_hears_all_hears_all(stack: ExitStack, feed: FeedSettings) -> None:
    from_primary, to_reader = sender(stack, feed), reader(stack, feed, HEARS_ALL)
    from_primary.send(ALL)  # on the loopback they have arrived when this returns
    assert to_reader.read() == ALL


def test_a_holder_hears_no_word_of_commits_alone(stack: ExitStack, feed: FeedSettings) -> None:
    from_primary = sender(stack, feed)
    to_holder = reader(stack, feed, Unheard(commits=True))
    from_primary.send(ALL)
    assert to_holder.read() == [DATA, ALIVE]


def test_a_primary_hears_others_and_not_itself(stack: ExitStack, feed: FeedSettings) -> None:
    own, other = sender(stack, feed), sender(stack, feed)
    to_primary = reader(stack, feed, Unheard(own.address))
    to_replica = reader(stack, feed, Unheard(own.address, commits=True))
    own.send(ALL)
    assert to_primary.read() == to_replica.read() == []
    other.send(ALL)
    assert to_primary.read() == ALL
    assert to_replica.read() == [DATA, ALIVE]


def test_the_same_port_of_another_host_is_heard(stack: ExitStack, feed: FeedSettings) -> None:
    own = sender(stack, feed)
    assert own.address is not None
    elsewhere = own.address._replace(host="192.0.2.1")
    to_primary = reader(stack, feed, Unheard(elsewhere))
    own.send(ALL)
    assert to_primary.read() == ALL


@pytest.mark.parametrize("size", [0, 1, 3, 4, 31])
def test_what_is_no_packet_is_heard_and_can_be_counted(
    stack: ExitStack, feed: FeedSettings, size: int
) -> None:
    own, other = sender(stack, feed), sender(stack, feed)
    to_replica = reader(stack, feed, Unheard(own.address, commits=True))
    rubbish = [bytes(size), b"\xff" * size, DATA[:size]]
    other.send(rubbish)
    assert to_replica.read() == rubbish
