"""The listener for a holder: what it does at the end of each turn, and when it is woken."""

import asyncio
import time
from contextlib import closing

import pytest

from feed.gap import Nak
from feed.listener import Listener
from feed.multicast import FeedSender, open_unicast
from tests.feed.listening import Chronicle, Recorded, Recorder, run
from tests.feed.sockets import LOOPBACK, Inbox, address_of, arriving, multicast_settings

SOON_NS = 5_000_000


def test_each_turn_ends_with_the_same_call_whatever_it_brought() -> None:
    settings = multicast_settings()

    async def scenario() -> None:
        ends: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
        inbox = Inbox[Recorded]()
        recorder = Recorder()

        def after() -> None:
            ends.put_nowait((len(inbox.items), len(recorder.called_ns)))

        with closing(open_unicast(LOOPBACK)) as retransmitter:
            listener = Listener(settings, recorder, [address_of(retransmitter)], inbox, after=after)
            with closing(listener), closing(FeedSender(settings)) as sender:
                listener.start()
                sender.send([b"delivered"])
                assert await ends.get() == (1, 0)
                sender.send([b""])  # a heartbeat: nothing to deliver
                assert await ends.get() == (1, 0)
                retransmitter.sendto(b"an answer", listener.address)
                assert await ends.get() == (2, 0)
                recorder.deadline_ns = time.monotonic_ns() + SOON_NS
                listener.wake()
                assert await ends.get() == (2, 1), "the time that was due"
                assert ends.empty()

    assert run(scenario) == []


def test_a_receiver_that_keeps_all_for_itself_needs_nobody_to_deliver_to() -> None:
    settings = multicast_settings()

    async def scenario() -> None:
        chronicle = Chronicle()
        turns: asyncio.Queue[None] = asyncio.Queue()
        with closing(open_unicast(LOOPBACK)) as retransmitter:
            retransmitters = [address_of(retransmitter)]
            listener = Listener(
                settings, chronicle, retransmitters, after=lambda: turns.put_nowait(None)
            )
            with closing(listener), closing(FeedSender(settings)) as sender:
                listener.start()
                sender.send([b"from the group"])
                await turns.get()
                retransmitter.sendto(b"an answer", listener.address)
                await turns.get()
                assert chronicle.events == [b"from the group", b"an answer"]

    assert run(scenario) == []


def test_what_ends_a_turn_may_move_the_deadline() -> None:
    settings = multicast_settings()

    async def scenario() -> None:
        recorder = Recorder()
        called = asyncio.Event()

        def after() -> None:
            if recorder.called_ns:
                called.set()
            else:
                recorder.deadline_ns = time.monotonic_ns() + SOON_NS

        listener = Listener(settings, recorder, [], Inbox[Recorded](), after=after)
        with closing(listener), closing(FeedSender(settings)) as sender:
            listener.start()
            sender.send([b""])
            await called.wait()

    assert run(scenario) == []


def test_an_error_at_the_end_of_a_turn_closes_the_listener_and_is_handed_on() -> None:
    settings = multicast_settings()
    error = RuntimeError("the holder is broken")

    async def scenario() -> None:
        def after() -> None:
            raise error

        listener = Listener(settings, Recorder(), [], Inbox[Recorded](), after=after)
        with closing(listener), closing(FeedSender(settings)) as sender:
            listener.start()
            sender.send([b""])
            with pytest.raises(RuntimeError, match="the holder is broken"):
                await listener.failed
            with pytest.raises(OSError, match="Bad file descriptor"):
                _ = listener.address

    assert [report["exception"] for report in run(scenario)] == [error]


def test_woken_it_looks_at_a_deadline_that_no_datagram_has_moved() -> None:
    settings = multicast_settings()

    async def scenario() -> None:
        recorder = Recorder()
        recorder.deadline_ns = time.monotonic_ns() + 3600 * 10**9
        called = asyncio.Event()

        def after() -> None:
            called.set()

        listener = Listener(settings, recorder, [], Inbox[Recorded](), after=after)
        with closing(listener):
            listener.start()
            due_ns = recorder.deadline_ns = time.monotonic_ns() + SOON_NS
            listener.wake()
            await called.wait()
            assert [called_ns >= due_ns for called_ns in recorder.called_ns] == [True]

    assert run(scenario) == []


def test_before_the_start_and_after_the_end_nothing_wakes_it() -> None:
    settings = multicast_settings()

    async def scenario() -> None:
        recorder = Recorder()
        recorder.deadline_ns = time.monotonic_ns()
        listener = Listener(settings, recorder, [], Inbox[Recorded]())
        listener.wake()
        listener.start()
        listener.close()
        listener.wake()
        assert listener._timer is None
        assert recorder.called_ns == []

    assert run(scenario) == []


def test_naks_that_are_held_back_stay_here_while_time_goes_on() -> None:
    settings = multicast_settings()

    async def scenario() -> None:
        with closing(open_unicast(LOOPBACK)) as retransmitter:
            recorder = Recorder()
            listener = Listener(settings, recorder, [address_of(retransmitter)])
            with closing(listener):
                listener.start()
                listener.holds_naks_back = True
                for count in (1, 2):
                    recorder.naks = [Nak(0, b"held back")]
                    recorder.deadline_ns = time.monotonic_ns()
                    listener.wake()
                    while len(recorder.called_ns) < count:
                        await asyncio.sleep(0)
                listener.holds_naks_back = False
                recorder.naks = [Nak(0, b"goes out")]
                recorder.deadline_ns = time.monotonic_ns()
                listener.wake()
                assert (await arriving(retransmitter))[0] == b"goes out"
                assert (listener.counters.naks, len(recorder.called_ns)) == (1, 3)

    assert run(scenario) == []
