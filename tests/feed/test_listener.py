"""The listener on real sockets: what reaches the receiver, what goes out and when, how it ends."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing

import pytest

from feed.datagrams import Repair, decode_repair
from feed.gap import GapFailure, Nak
from feed.listener import TURNS_BEFORE_NAKS, Listener, ListenerCounters
from feed.multicast import DATAGRAMS_PER_WAKE_UP, FeedSender, open_receiver, open_unicast
from feed.schema import RepairKind
from feed.settings import Address
from feed.subscriber import Group
from tests.feed.listening import Chronicle, Recorded, Recorder, run, sequences, subscriber
from tests.feed.lists import SHARD, answer, frames_up_to, packet
from tests.feed.sockets import (
    LOOPBACK,
    Inbox,
    address_of,
    arriving,
    multicast_settings,
    unicast_settings,
)


@pytest.mark.parametrize("transport", ["multicast", "unicast"])
def test_what_the_feed_carries_is_delivered_in_order(transport: str) -> None:
    settings = multicast_settings() if transport == "multicast" else unicast_settings(2)
    receive = settings.receivers[0] if settings.receivers else None
    frames = frames_up_to(6)

    async def scenario() -> None:
        inbox = Inbox[Group]()
        listener = Listener(settings, subscriber(), [], inbox, receive=receive)
        with closing(listener), closing(FeedSender(settings)) as sender:
            listener.start()
            sender.send([packet(frames[:2], 1), packet(frames[2:], 3)])
            assert sequences(await inbox.holds(6)) == [1, 2, 3, 4, 5, 6]
            assert listener.counters == ListenerCounters(packets=2)
            assert not listener.failed.done()

    assert run(scenario) == []


def test_a_lost_packet_is_asked_for_and_its_answer_delivered() -> None:
    frames = frames_up_to(3)
    settings = multicast_settings()

    async def scenario() -> None:
        inbox = Inbox[Group]()
        with closing(open_unicast(LOOPBACK)) as retransmitter:
            listener = Listener(settings, subscriber(1), [address_of(retransmitter)], inbox)
            with closing(listener), closing(FeedSender(settings)) as sender:
                listener.start()
                sender.send([packet(frames[:1], 1), packet(frames[2:], 3)])
                data, requester = await arriving(retransmitter)
                assert (decode_repair(data), requester) == (
                    *(Repair(RepairKind.NAK, SHARD, 1, 2, 2), listener.address),
                )
                assert sequences(inbox.items) == [1]
                retransmitter.sendto(answer(frames, 2, 2), requester)
                assert sequences(await inbox.holds(3)) == [1, 2, 3]
                assert listener.counters == ListenerCounters(packets=2, answers=1, naks=1)

    assert run(scenario) == []


def test_each_source_is_known_by_its_address_and_strangers_are_counted_and_dropped() -> None:
    settings = multicast_settings()

    async def scenario() -> None:
        inbox = Inbox[Recorded]()
        with ExitStack() as sockets:
            first, second, stranger = (
                sockets.enter_context(closing(open_unicast(LOOPBACK))) for _ in range(3)
            )
            retransmitters = [address_of(first), address_of(second)]
            listener = Listener(settings, Recorder(), retransmitters, inbox)
            sender = sockets.enter_context(closing(FeedSender(settings)))
            sockets.enter_context(closing(listener))
            listener.start()
            stranger.sendto(b"mine counts too", listener.address)
            second.sendto(b"from the second", listener.address)
            first.sendto(b"from the first", listener.address)
            await inbox.holds(2)
            stranger.sendto(b"does it not?", listener.address)
            first.sendto(b"again", listener.address)
            await inbox.holds(3)
            sender.send([b"to all"])
            assert await inbox.holds(4) == [
                *[(b"from the second", 1), (b"from the first", 0), (b"again", 0)],
                (b"to all", None),
            ]
            assert listener.counters == ListenerCounters(packets=1, answers=3, foreign_answers=2)

    assert run(scenario) == []


def test_a_nak_goes_to_the_retransmitter_that_it_names_when_its_time_has_come() -> None:
    settings = multicast_settings()

    async def scenario() -> None:
        with (
            closing(open_unicast(LOOPBACK)) as first,
            closing(open_unicast(LOOPBACK)) as second,
            closing(FeedSender(settings)) as sender,
        ):
            recorder = Recorder()
            inbox = Inbox[Recorded]()
            listener = Listener(settings, recorder, [address_of(first), address_of(second)], inbox)
            with closing(listener):
                listener.start()
                recorder.naks = [Nak(1, b"to the second"), Nak(0, b"to the first")]
                due_ns = recorder.deadline_ns = time.monotonic_ns() + 30_000_000
                sender.send([b""])  # nothing to deliver, but it makes the receiver wait
                assert await arriving(first) == (b"to the first", listener.address)
                assert await arriving(second) == (b"to the second", listener.address)
                assert [called_ns >= due_ns for called_ns in recorder.called_ns][-1]
                assert listener.counters == ListenerCounters(packets=1, naks=2)
                assert inbox.items == []

    assert run(scenario) == []


def test_a_timer_moves_forward_when_something_becomes_due_earlier() -> None:
    settings = multicast_settings()

    async def scenario() -> None:
        with (
            closing(open_unicast(LOOPBACK)) as retransmitter,
            closing(FeedSender(settings)) as sender,
        ):
            recorder = Recorder()
            recorder.deadline_ns = time.monotonic_ns() + 3600 * 10**9
            inbox = Inbox[Recorded]()
            listener = Listener(settings, recorder, [address_of(retransmitter)], inbox)
            with closing(listener):
                listener.start()
                sender.send([b"not due yet"])
                await inbox.holds(1)
                assert recorder.called_ns == []
                recorder.deadline_ns = time.monotonic_ns()
                recorder.naks = [Nak(0, b"due")]
                sender.send([b"due now"])
                assert (await arriving(retransmitter))[0] == b"due"

    assert run(scenario) == []


def test_a_timer_that_is_too_early_waits_for_the_rest() -> None:
    settings = multicast_settings()

    async def scenario() -> None:
        class Patient(Recorder):
            def on_time(self, now_ns: int) -> list[Nak]:
                self.called_ns.append(now_ns)
                return []

        recorder = Patient()
        inbox = Inbox[Recorded]()
        listener = Listener(settings, recorder, [], inbox)
        with closing(listener), closing(FeedSender(settings)) as sender:
            recorder.deadline_ns = time.monotonic_ns() + 20_000_000
            listener.start()
            later_ns = recorder.deadline_ns = recorder.deadline_ns + 3600 * 10**9
            sender.send([b"the deadline has moved"])
            await inbox.holds(1)
            while not recorder.called_ns:
                sender.send([b"time goes by"])
                await inbox.holds(len(inbox.items) + 1)
            for _ in range(20):
                sender.send([b"and by"])
                await inbox.holds(len(inbox.items) + 1)
            assert [called_ns < later_ns for called_ns in recorder.called_ns] == [True]

    assert run(scenario) == []


def test_nobody_is_called_at_a_deadline_that_is_gone() -> None:
    settings = multicast_settings()

    async def scenario() -> None:
        recorder = Recorder()
        inbox = Inbox[Recorded]()
        listener = Listener(settings, recorder, [], inbox)
        with closing(listener), closing(FeedSender(settings)) as sender:
            due_ns = recorder.deadline_ns = time.monotonic_ns() + 20_000_000
            listener.start()
            recorder.deadline_ns = None
            while time.monotonic_ns() < due_ns + 10_000_000:
                sender.send([b"time goes by"])
                await inbox.holds(len(inbox.items) + 1)
            assert recorder.called_ns == []

    assert run(scenario) == []


def test_a_flood_is_taken_in_bounded_turns_of_the_event_loop() -> None:
    settings = multicast_settings()
    count = 3 * DATAGRAMS_PER_WAKE_UP + 5

    async def scenario() -> None:
        inbox = Inbox[Recorded]()
        listener = Listener(settings, Recorder(), [], inbox)
        with closing(listener), closing(FeedSender(settings)) as sender:
            listener.start()
            sender.send([b"%d" % number for number in range(count)])
            arrived = await inbox.holds(count)
            assert [data for data, _ in arrived] == [b"%d" % number for number in range(count)]
            assert inbox.batches == [DATAGRAMS_PER_WAKE_UP] * 3 + [5]

    assert run(scenario) == []


def test_what_has_arrived_already_is_read_before_anything_is_asked_for_again() -> None:
    settings = multicast_settings()
    sent = [b"%d" % number for number in range(3 * DATAGRAMS_PER_WAKE_UP)]

    async def scenario() -> None:
        with closing(open_unicast(LOOPBACK)) as retransmitter:
            chronicle = Chronicle()
            chronicle.naks = [Nak(0, b"send it again")]
            chronicle.deadline_ns = time.monotonic_ns()
            retransmitters = [address_of(retransmitter)]
            listener = Listener(settings, chronicle, retransmitters, Inbox[Recorded]())
            with closing(listener), closing(FeedSender(settings)) as sender:
                listener.start()
                sender.send(sent)
                await arriving(retransmitter)
                assert chronicle.events == [*sent, b"time"]

    assert run(scenario) == []


def test_each_time_that_something_is_due_there_is_as_much_patience_as_before() -> None:
    settings = multicast_settings()
    rounds, datagrams = 4, TURNS_BEFORE_NAKS * DATAGRAMS_PER_WAKE_UP * 3 // 4

    async def scenario() -> None:
        class Refilled(Chronicle):
            """Something is due until the last datagram has been read."""

            def on_datagram(
                self, data: bytes, now_ns: int, source: int | None = None
            ) -> list[Recorded]:
                self.deadline_ns = None if data == b"last" else now_ns
                return super().on_datagram(data, now_ns, source)

        inbox = Inbox[Recorded]()
        chronicle = Refilled()
        listener = Listener(settings, chronicle, [], inbox)
        with closing(listener), closing(FeedSender(settings)) as sender:
            listener.start()
            for done in range(1, rounds + 1):
                sender.send([b"more"] * (datagrams - 1) + [b"last"])
                await inbox.holds(done * datagrams)
            assert b"time" not in chronicle.events

    assert run(scenario) == []


def test_a_flood_without_end_delays_what_is_due_but_does_not_prevent_it() -> None:
    settings = multicast_settings()

    async def scenario() -> None:
        with closing(open_unicast(LOOPBACK)) as retransmitter:
            chronicle = Chronicle()
            chronicle.naks = [Nak(0, b"send it again")]
            chronicle.deadline_ns = time.monotonic_ns()

            def flood(taken: list[Recorded]) -> None:
                sender.send([b"more"] * len(taken))

            listener = Listener(settings, chronicle, [address_of(retransmitter)], flood)
            with closing(listener), closing(FeedSender(settings)) as sender:
                listener.start()
                sender.send([b"more"] * 2 * DATAGRAMS_PER_WAKE_UP)
                await arriving(retransmitter)
                taken = chronicle.events.index(b"time")
                assert taken >= TURNS_BEFORE_NAKS * DATAGRAMS_PER_WAKE_UP

    assert run(scenario) == []


def test_giving_up_is_reported_and_the_listener_is_still_to_be_closed() -> None:
    frames = frames_up_to(3)
    settings = multicast_settings()

    async def scenario() -> None:
        inbox = Inbox[Group]()
        listener = Listener(settings, subscriber(0), [], inbox)
        with closing(listener), closing(FeedSender(settings)) as sender:
            listener.start()
            sender.send([packet(frames[:1], 1), packet(frames[2:], 3)])
            failure = await listener.failed
            assert failure == GapFailure(2, 2, "no retransmitter is configured")
            assert sequences(inbox.items) == [1]

    assert run(scenario) == []


def test_an_error_in_what_takes_the_deliveries_closes_the_listener_and_is_handed_on() -> None:
    settings = multicast_settings()
    error = RuntimeError("the book is broken")

    async def scenario() -> None:
        def deliver(_: Sequence[Group]) -> None:
            raise error

        listener = Listener(settings, subscriber(), [], deliver)
        with closing(listener), closing(FeedSender(settings)) as sender:
            listener.start()
            sender.send([packet(frames_up_to(1), 1)])
            with pytest.raises(RuntimeError, match="the book is broken"):
                await listener.failed
            with pytest.raises(OSError, match="Bad file descriptor"):
                _ = listener.address

    assert [report["exception"] for report in run(scenario)] == [error]


def test_whoever_takes_the_deliveries_may_close_the_listener() -> None:
    settings = multicast_settings()

    async def scenario() -> None:
        closed = asyncio.Event()
        recorder = Recorder()

        def deliver(_: object) -> None:
            recorder.deadline_ns = time.monotonic_ns() + 3600 * 10**9
            listener.close()
            closed.set()

        listener = Listener(settings, recorder, [], deliver)
        with closing(FeedSender(settings)) as sender:
            listener.start()
            sender.send([b"one", b"two"])
            await closed.wait()
            assert listener.counters.packets == 2
            assert listener._timer is None

    assert run(scenario) == []


def test_closing_frees_everything_and_may_be_done_twice_or_before_the_start() -> None:
    settings = unicast_settings(1)

    async def scenario() -> None:
        receive = settings.receivers[0]
        for _ in range(2):
            listener = Listener(settings, Recorder(), [], Inbox[Recorded](), receive=receive)
            listener.close()
            listener.start()
            listener.close()
            listener.close()
        open_receiver(settings, receive).close()

    assert run(scenario) == []


def test_what_cannot_work_is_refused_at_the_start_and_leaves_no_socket_open() -> None:
    async def scenario() -> None:
        twice = [Address("127.0.0.1", 5), Address("localhost", 5)]
        with pytest.raises(ValueError, match="listed twice"):
            Listener(multicast_settings(), Recorder(), twice, Inbox[Recorded]()).start()
        with pytest.raises(ValueError, match="own address"):
            Listener(unicast_settings(1), Recorder(), [], Inbox[Recorded]()).start()
        with closing(open_unicast(LOOPBACK)) as taken:
            settings = unicast_settings(1)
            receive = address_of(taken)
            with pytest.raises(OSError, match="already in use"):
                Listener(settings, Recorder(), [], Inbox[Recorded](), receive=receive).start()

    assert run(scenario) == []


def test_a_nak_that_cannot_be_sent_is_counted() -> None:
    settings = multicast_settings()

    async def scenario() -> None:
        recorder = Recorder()
        recorder.naks = [Nak(0, b"to nowhere")]
        recorder.deadline_ns = time.monotonic_ns()
        inbox = Inbox[Recorded]()
        listener = Listener(settings, recorder, [Address("127.0.0.1", 0)], inbox)
        with closing(listener), closing(FeedSender(settings)) as sender:
            listener.start()
            while not recorder.called_ns:
                sender.send([b"time goes by"])
                await inbox.holds(len(inbox.items) + 1)
            assert (listener.counters.naks, listener.counters.send_errors) == (0, 1)

    assert run(scenario) == []
