"""The listener among strangers, noise and faults: nothing moves, everything is counted."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from random import Random

from feed.faults import Faults, FaultShares
from feed.listener import Listener
from feed.multicast import FeedSender, open_unicast
from feed.subscriber import Group
from tests.feed.listening import Chronicle, Recorded, Recorder, run, sequences, subscriber
from tests.feed.lists import answer, frames_up_to, missing, packet
from tests.feed.sockets import (
    LOOPBACK,
    Inbox,
    address_of,
    arriving,
    multicast_settings,
)


def test_a_strangers_word_that_frames_are_missing_or_here_moves_nothing() -> None:
    frames = frames_up_to(3)
    settings = multicast_settings()

    async def scenario() -> None:
        inbox = Inbox[Group]()
        with (
            closing(open_unicast(LOOPBACK)) as retransmitter,
            closing(open_unicast(LOOPBACK)) as stranger,
            closing(FeedSender(settings)) as sender,
        ):
            receiver = subscriber(1)
            listener = Listener(settings, receiver, [address_of(retransmitter)], inbox)
            with closing(listener):
                listener.start()
                sender.send([packet(frames[:1], 1), packet(frames[2:], 3)])
                _, requester = await arriving(retransmitter)
                stranger.sendto(missing(2, 2), requester)
                stranger.sendto(answer(frames, 2, 2), requester)
                retransmitter.sendto(missing(2, 2), requester)
                await arriving(retransmitter)  # asked again, for it alone has refused
                assert sequences(inbox.items) == [1]
                assert listener.counters.foreign_answers == 2
                assert receiver.counters.missing_answers == 1

    assert run(scenario) == []


def hostile_datagrams(random: Random, packets: list[bytes], count: int) -> Iterator[bytes]:
    """Noise, damaged packets, and packets with something behind or missing."""
    for _ in range(count):
        data = random.choice(packets)
        place = random.randrange(len(data))
        yield from (
            random.randbytes(random.randrange(1, 1500)),
            b"LS" + random.randbytes(random.randrange(60)),
            b"LR" + random.randbytes(28),
            data[:place],
            data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :],
            data + random.randbytes(random.randrange(1, 3000)),
        )


def test_hostile_bytes_at_the_group_and_the_nak_socket_move_nothing_and_are_counted() -> None:
    settings = multicast_settings()
    frames = frames_up_to(40)
    packets = [packet(frames[at : at + 4], at + 1) for at in range(0, 40, 4)]

    async def scenario() -> None:
        random = Random(7)
        inbox = Inbox[Group]()
        receiver = subscriber(1)
        with (
            closing(open_unicast(LOOPBACK)) as retransmitter,
            closing(FeedSender(settings)) as sender,
        ):
            listener = Listener(settings, receiver, [address_of(retransmitter)], inbox)
            with closing(listener):
                listener.start()
                hostile = 0
                for place, data in enumerate(packets, 1):
                    for bad in hostile_datagrams(random, packets, 5):
                        sender.send([bad])
                        retransmitter.sendto(bad, listener.address)
                        hostile += 2
                    retransmitter.sendto(data, listener.address)
                    await inbox.holds(4 * place)
                    sender.send([data])
                sender.send([packet([], 41, committed=40), packet(frames_up_to(41)[40:], 41)])
                assert sequences(await inbox.holds(41)) == list(range(1, 42))
                counters = receiver.counters
                assert counters.foreign + counters.corrupt == hostile
                assert (counters.packets, counters.duplicates) == (22, 40)
                assert (counters.gaps_detected, counters.naks_sent) == (0, 0)
                assert counters.after_failure == 0
                assert listener.counters.packets == hostile // 2 + 12
                assert listener.counters.answers == hostile // 2 + 10
                assert listener.counters.foreign_answers == 0
                receiver.check()

    assert run(scenario) == []


def test_a_datagram_longer_than_any_packet_is_not_taken_for_the_packet_it_begins_with() -> None:
    settings = multicast_settings(payload_limit_bytes=256)
    frames = frames_up_to(1)

    async def scenario() -> None:
        inbox = Inbox[Group]()
        receiver = subscriber()
        listener = Listener(settings, receiver, [], inbox)
        with closing(listener), closing(FeedSender(settings)) as sender:
            listener.start()
            whole = packet(frames, 1)
            sender.send([whole + bytes(256 - len(whole) + 1), whole + bytes(5000), whole])
            assert sequences(await inbox.holds(1)) == [1]
            assert (receiver.counters.corrupt, receiver.counters.packets) == (2, 1)

    assert run(scenario) == []


def test_faults_befall_what_comes_in_and_answers_are_still_told_apart() -> None:
    settings = multicast_settings()

    async def scenario() -> None:
        inbox = Inbox[Recorded]()
        faults = Faults(reorder=1.0, random=Random(1))
        with closing(open_unicast(LOOPBACK)) as retransmitter:
            retransmitters = [address_of(retransmitter)]
            listener = Listener(settings, Recorder(), retransmitters, inbox, faults=faults)
            with closing(listener):
                listener.start()
                for number in range(4):
                    retransmitter.sendto(b"%d" % number, listener.address)
                # All are held back, and come out behind later ones as if nobody had sent them.
                assert (await inbox.holds(1))[0][1] is None
                assert faults.counters.reordered == 4

    assert run(scenario) == []


def test_faults_befall_each_datagram_of_the_group_and_what_is_left_is_taken_together() -> None:
    settings = multicast_settings()

    async def scenario() -> None:
        inbox = Inbox[Recorded]()
        faults = FaultShares(duplicate=1.0).faults(Random(1))
        listener = Listener(settings, Recorder(), [], inbox, faults=faults)
        with closing(listener), closing(FeedSender(settings)) as sender:
            listener.start()
            sender.send([b"one", b"two"])
            assert [data for data, _ in await inbox.holds(4)] == [b"one"] * 2 + [b"two"] * 2
            assert (inbox.batches, listener.counters.packets) == ([4], 2)

    assert run(scenario) == []


def test_when_nothing_is_left_of_what_came_nobody_is_told() -> None:
    settings = multicast_settings()

    async def scenario() -> None:
        chronicle = Chronicle()
        turns: asyncio.Queue[int] = asyncio.Queue()
        faults = FaultShares(drop=1.0).faults(Random(1))
        listener = Listener(
            settings,
            chronicle,
            [],
            Inbox[Recorded](),
            faults=faults,
            after=lambda: turns.put_nowait(listener.counters.packets),
        )
        with closing(listener), closing(FeedSender(settings)) as sender:
            listener.start()
            sender.send([b"one", b"two"])
            assert await turns.get() == 2
            assert chronicle.batches == []

    assert run(scenario) == []


def test_with_duplicates_every_copy_is_taken_for_what_it_is() -> None:
    settings = multicast_settings()

    async def scenario() -> None:
        inbox = Inbox[Recorded]()
        faults = FaultShares(duplicate=1.0).faults(Random(1))
        with closing(open_unicast(LOOPBACK)) as retransmitter:
            retransmitters = [address_of(retransmitter)]
            listener = Listener(settings, Recorder(), retransmitters, inbox, faults=faults)
            with closing(listener):
                listener.start()
                retransmitter.sendto(b"twice", listener.address)
                assert await inbox.holds(2) == [(b"twice", 0), (b"twice", 0)]
                assert listener.counters.answers == 1

    assert run(scenario) == []
