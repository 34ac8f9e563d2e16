"""Retransmitters as processes run them, on real sockets, between a lossy feed and its receivers."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from random import Random
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from feed.cache import FrameCache
from feed.datagrams import is_repair
from feed.faults import Faults, FaultShares
from feed.listener import Listener
from feed.multicast import FeedSender, open_unicast
from feed.repair import RepairLimits, RepairResponder
from feed.repair_port import RepairPort
from feed.run import run_of_frames
from feed.settings import (
    Address,
    FailoverSettings,
    FeedSettings,
    HolderSettings,
    ShardSettings,
)
from feed.subscriber import Group, Subscriber
from retransmitter import process
from retransmitter.retransmitter import Retransmitter
from retransmitter.settings import RetransmitterSettings
from tests.feed.lists import SHARD, frames_up_to, missing, nak, packet
from tests.feed.sockets import (
    LOOPBACK,
    PATIENCE_SECONDS,
    Inbox,
    arriving,
    free_addresses,
    multicast_settings,
    unicast_settings,
)
from zk.settings import ZooKeeperSettings

BAD_NETWORK = FaultShares.parse("drop=5,duplicate=5,reorder=10,corrupt=1")


class Primary:
    """The sending end: it publishes frames, loses what it is told to, and holds them all."""

    def __init__(self, feed: FeedSettings, frames: list[bytes]) -> None:
        self.frames = frames
        self._cache = FrameCache(1 << 20)
        self._cache.append(run_of_frames(1, frames))
        self.responder = RepairResponder(shard=SHARD, held=self._cache)
        self._sender = FeedSender(feed)
        self._port = RepairPort(LOOPBACK, self._answer)
        self.address = self._port.address

    def start(self) -> None:
        self._port.start()

    def close(self) -> None:
        self._port.close()
        self._sender.close()

    def publish(self, first: int, last: int) -> None:
        """Send the frames `first` to `last`, in packets of four, and the word that they exist."""
        for at in range(first, last + 1, 4):
            self._sender.send([packet(self.frames[at - 1 : min(at + 3, last)], at)])
        self.announce(last)

    def announce(self, last: int) -> None:
        """Send heartbeats, of which one at least arrives, that tell of the frames up to `last`."""
        self._sender.send([packet([], last + 1, committed=last)] * 20)

    def _answer(self, data: bytes, requester: Address, now_ns: int) -> list[bytes]:
        return self.responder.on_nak(data, requester, now_ns, 1, len(self.frames))


class Running:
    """A retransmitter that runs, and what it said at its end."""

    def __init__(self, repair: Address) -> None:
        self.repair = repair
        self.stop = asyncio.Event()
        self.summary: dict[str, Any] = {}


def start(
    feed: FeedSettings,
    settings: RetransmitterSettings,
    peers: list[Address],
    stop: asyncio.Event,
    ready: Callable[[], None],
    faults: Faults | None = None,
) -> Coroutine[Any, Any, dict[str, object]]:
    """A retransmitter's process. The last of its peers is the replica of the shard, the others are
    retransmitters; there is no ZooKeeper, so that it never learns whether it has a vote."""
    unused = free_addresses(len(peers) + 1)
    holders = [
        HolderSettings(repair=peer, replication=address)
        for peer, address in zip(peers, unused, strict=False)
    ]
    others = {f"r{i + 2}": holder for i, holder in enumerate(holders[:-1])}
    shard = ShardSettings(
        feed,
        FailoverSettings(),
        replicas={"e1": holders[-1]} if holders else {},
        retransmitters={"r1": settings, **others},
    )
    zookeeper = ZooKeeperSettings(hosts=str(unused[-1]))
    return process.run("r1", "DEMO", shard, zookeeper, settings, stop, ready, faults)


@asynccontextmanager
async def running(
    feed: FeedSettings,
    peers: list[Address],
    *,
    repair: Address | None = None,
    receive: Address | None = None,
    faults: Faults | None = None,
) -> AsyncIterator[Running]:
    """A retransmitter's process, as a task; stopped at the end of the context."""
    repair = free_addresses(1)[0] if repair is None else repair
    made = Running(repair)
    ready = asyncio.Event()
    settings = RetransmitterSettings(repair=repair, replication=LOOPBACK, receive=receive)
    task = asyncio.create_task(start(feed, settings, peers, made.stop, ready.set, faults))
    is_ready = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait({task, is_ready}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield made
    finally:
        is_ready.cancel()
        made.stop.set()
        made.summary = await task


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await scenario()

    asyncio.run(limited())
    gc.collect()  # a socket left open would warn here


async def ask(address: Address, first: int, last: int) -> bytes:
    """Ask a retransmitter for a range until it sends some of it; its first packet."""
    with closing(open_unicast(LOOPBACK)) as requester:
        while True:
            requester.sendto(nak(first, last), address)
            with suppress(TimeoutError):  # a NAK that is repeated too soon is not answered
                async with asyncio.timeout(0.01):
                    answer, _ = await arriving(requester)
                    if not is_repair(answer):
                        return answer


@pytest.mark.parametrize("transport", ["multicast", "unicast"])
def test_subscribers_on_a_bad_network_get_every_group_through_two_retransmitters(
    transport: str,
) -> None:
    frames = frames_up_to(600)

    async def scenario() -> None:
        feed = multicast_settings() if transport == "multicast" else unicast_settings(3)
        receive = dict(enumerate(feed.receivers))
        first, second = free_addresses(2)
        inbox = Inbox[Group]()
        async with AsyncExitStack() as stack:
            primary = stack.enter_context(closing(Primary(feed, frames)))
            primary.start()
            one, two = [
                await stack.enter_async_context(
                    running(
                        feed,
                        [peer, primary.address],
                        repair=repair,
                        receive=receive.get(place),
                        faults=BAD_NETWORK.faults(Random(place)),
                    )
                )
                for place, (repair, peer) in enumerate([(first, second), (second, first)])
            ]
            subscriber = Subscriber(shard=SHARD, source_count=2, random=Random(3))
            listener = Listener(
                feed,
                subscriber,
                [first, second],
                inbox,
                receive=receive.get(2),
                faults=BAD_NETWORK.faults(Random(4)),
            )
            stack.enter_context(closing(listener))
            listener.start()
            primary.publish(1, 600)
            groups = await inbox.holds(600)
            assert [frame.data for group in groups for frame in group.frames] == frames
            counters = subscriber.counters
            assert counters.gaps_detected > 0
            assert counters.gaps_filled == counters.gaps_detected
            assert subscriber.failure is None
            for retransmitter in (one, two):
                await ask(retransmitter.repair, 600, 600)
        for retransmitter in (one, two):
            summary = retransmitter.summary
            assert (summary["first_sequence"], summary["next_sequence"]) == (1, 601)
            assert summary["gaps_detected"] == summary["gaps_filled"] > 0
            assert (summary["committed_sequence"], summary["failure"]) == (600, None)
        served = one.summary["frames_retransmitted"] + two.summary["frames_retransmitted"]
        assert served >= counters.frames_recovered > 0

    run(scenario)


def test_a_retransmitter_that_starts_late_fetches_the_day_from_its_peers() -> None:
    frames = frames_up_to(300)

    async def scenario() -> None:
        feed = multicast_settings()
        with closing(Primary(feed, frames)) as primary:
            primary.start()
            async with running(feed, [primary.address]) as early:
                primary.publish(1, 300)
                await ask(early.repair, 300, 300)
                asked_before = primary.responder.counters.naks_answered
                async with running(feed, [early.repair, primary.address]) as late:
                    primary.announce(300)
                    await ask(late.repair, 300, 300)
                assert primary.responder.counters.naks_answered == asked_before
            assert late.summary["received"]["frames_recovered"] == 300
            assert early.summary["replay_port"]["answered"] >= 1

    run(scenario)


def test_what_its_peer_lacks_it_gets_from_a_replica() -> None:
    frames = frames_up_to(10)

    async def scenario() -> None:
        feed = multicast_settings()
        with closing(Primary(feed, frames)) as primary:
            primary.start()
            # A peer that has heard nothing yet, since it listens to another group.
            async with (
                running(multicast_settings(), []) as peer,
                running(feed, [peer.repair, primary.address]) as made,
            ):
                primary.announce(10)
                await ask(made.repair, 1, 10)
            assert peer.summary["frames_retransmitted"] == 0
            assert made.summary["received"]["frames_recovered"] == 10

    run(scenario)


def test_hostile_bytes_at_the_group_and_at_the_nak_port_move_nothing_and_are_counted() -> None:
    frames = frames_up_to(8)
    random = Random(5)

    async def scenario() -> None:
        feed = multicast_settings()
        good_packet, good_nak = packet(frames[:4], 1), nak(1, 4)
        hostile = [
            *(random.randbytes(random.randrange(1500)) for _ in range(100)),
            *(good_packet[:size] for size in range(0, len(good_packet), 7)),
            *(good_nak[:size] for size in range(len(good_nak))),
            *(b"LR" + random.randbytes(28) for _ in range(100)),
            *(b"LS" + random.randbytes(40) for _ in range(100)),
            bytes(9000),
        ]
        with (
            closing(Primary(feed, frames)) as primary,
            closing(FeedSender(feed)) as attacker,
            closing(open_unicast(LOOPBACK)) as requester,
        ):
            primary.start()
            async with running(feed, [primary.address]) as made:
                for data in hostile:
                    attacker.send([data])
                    requester.sendto(data, made.repair)
                requester.sendto(good_packet, made.repair)  # not the place for packets
                primary.publish(1, 8)
                await ask(made.repair, 8, 8)
                assert (await ask(made.repair, 1, 8)).endswith(b"".join(frames))
            summary = made.summary
            assert summary["repairs"]["naks_corrupt"] == len(hostile) + 1
            received = summary["received"]
            assert received["foreign"] + received["corrupt"] == len(hostile)
            assert (received["frames"], received["gaps_detected"]) == (8, 0)
            assert (summary["next_sequence"], summary["failure"]) == (9, None)

    run(scenario)


def test_a_frame_that_nobody_has_is_told_loudly_and_the_rest_is_still_served() -> None:
    frames = frames_up_to(8)

    async def scenario() -> None:
        feed = multicast_settings()
        with closing(Primary(feed, frames)) as primary, capture_logs() as logs:
            primary.start()
            async with running(feed, []) as made:
                primary.publish(1, 4)
                await ask(made.repair, 1, 4)
                primary.announce(8)
                while not any(entry["log_level"] == "error" for entry in logs):
                    await ask(made.repair, 1, 4)
                with closing(open_unicast(LOOPBACK)) as requester:
                    requester.sendto(nak(5, 8), made.repair)
                    assert (await arriving(requester))[0] == missing(5, 8)
        assert made.summary["failure"] == {
            "first_sequence": 5,
            "last_sequence": 8,
            "reason": "no retransmitter is configured",
        }
        assert [entry for entry in logs if entry["log_level"] == "error"] == [
            {
                "event": "nobody has these frames: nothing after them is kept, "
                "what came before is served",
                "log_level": "error",
                "first_sequence": 5,
                "last_sequence": 8,
                "reason": "no retransmitter is configured",
            }
        ]

    run(scenario)


def test_the_summary_is_one_that_json_can_carry() -> None:
    async def scenario() -> None:
        async with running(multicast_settings(), []) as made:
            pass
        assert json.loads(json.dumps(made.summary)) == made.summary
        assert {key: made.summary[key] for key in ("role", "name", "naks", "epoch")} == {
            "role": "retransmitter",
            "name": "r1",
            "naks": 0,
            "epoch": 0,
        }

    run(scenario)


def test_an_address_that_is_taken_is_named_and_nothing_stays_open() -> None:
    async def scenario() -> None:
        with closing(open_unicast(LOOPBACK)) as taken:
            address = Address(*taken.getsockname())
            settings = RetransmitterSettings(repair=address, replication=LOOPBACK)
            with pytest.raises(OSError, match=f"can't listen at {address}"):
                await start(multicast_settings(), settings, [], asyncio.Event(), lambda: None)

    run(scenario)


def test_a_broken_invariant_ends_the_process_with_its_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise AssertionError("frames do not follow each other")

    monkeypatch.setattr(Retransmitter, "on_datagrams", broken)

    async def scenario() -> None:
        feed = multicast_settings()
        with closing(FeedSender(feed)) as sender:
            never = asyncio.Event()
            repair, replication = free_addresses(2)
            settings = RetransmitterSettings(repair=repair, replication=replication)
            with pytest.raises(AssertionError, match="do not follow"):
                await start(feed, settings, [], never, lambda: sender.send([b"anything"]))

    run(scenario)


def test_settings_limit_what_is_sent_and_refuse_what_makes_no_sense() -> None:
    settings = RetransmitterSettings(repair=LOOPBACK, replication=LOOPBACK)
    assert settings.limits() == RepairLimits()
    assert settings.cache_bytes == 256 << 20
    slow = RetransmitterSettings(
        repair=LOOPBACK,
        replication=LOOPBACK,
        bytes_per_second=1000,
        requester_bytes_per_second=500,
    )
    assert slow.limits() == RepairLimits(bytes_per_second=1000, requester_bytes_per_second=500)
    right = {"repair": "127.0.0.1:1", "replication": "127.0.0.1:2"}
    for wrong in ({"cache_bytes": 1000}, {"bytes_per_second": 0}, {"repair": "here"}, {"port": 1}):
        with pytest.raises(ValidationError):
            RetransmitterSettings.model_validate({**right, **wrong})
