"""A subscriber that begins at any time, on real sockets, while the list goes on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, closing
from random import Random

import pytest

from engine.market import Market
from engine.reference import Reference
from feed.book import Books
from feed.catch_up import CatchUpPolicy
from feed.codec import WireError
from feed.datagrams import decode_repair
from feed.digest import ListDigest
from feed.faults import FaultShares
from feed.messages import Snapshot, holder_field
from feed.multicast import FeedSender
from feed.repair_port import RepairPort
from feed.replay import ReplayLimits, SourceSnapshot
from feed.replay_port import ReplayPort
from feed.run import run_of_frames
from feed.schema import ReplayKind
from feed.settings import FeedSettings
from feed.snapshot import SnapshotError, WholeSnapshot, encode_snapshot
from feed.subscriber import Groups
from feed.subscription import Subscription
from tests.engine.agreement import day, groups
from tests.feed.listening import run
from tests.feed.lists import answer, packet
from tests.feed.replays import EPOCH, Source, pieces
from tests.feed.sockets import LOOPBACK, PATIENCE_SECONDS, multicast_settings

DAY = groups(day(seed=5, count=1500))
FRAMES = [frame for group in DAY for frame in group.split()]
POLICY = CatchUpPolicy(long_gap_frames=200, retry_after_ns=5_000_000)


def snapshot_after(group_count: int) -> tuple[int, bytes]:
    """The snapshot of a market that has carried out so many groups of the day."""
    market, digest = Reference(Market()), ListDigest()
    for group in DAY[:group_count]:
        assert market.follow(group) == (len(group), None)
        digest.update(group)
    sequence, time_ns = group.last_sequence, group[-1].time_ns
    at, list_digest = digest.block
    head = Snapshot(sequence, EPOCH, 1, holder_field("e1"), at, list_digest)
    tail = run_of_frames(at + 1, FRAMES[at:sequence])
    state = market.snapshot(2, time_ns)
    return sequence, b"".join(encode_snapshot(head, state, market.digest(), tail, time_ns))


EARLY, MIDDAY, LATE = (snapshot_after(len(DAY) * part // 10) for part in (1, 5, 9))


class Keeper:
    """Keeps the books, as a subscriber's program would."""

    def __init__(self) -> None:
        self.books = Books()
        self.begun: list[int] = []  # where each snapshot that it began with ends
        self.digest = ListDigest()
        self.refuses: list[int] = []

    def take(self, delivered: Groups) -> None:
        for group in delivered:
            self.books.apply(group)
        self.digest.update(delivered.run)

    def begin(self, snapshot: WholeSnapshot) -> None:
        head = snapshot.head
        if head.sequence in self.refuses:
            raise SnapshotError("not this one")
        self.books = Books.from_snapshot(snapshot)
        self.begun.append(head.sequence)
        self.digest = ListDigest(head.digest_sequence, head.list_digest)
        self.digest.update(snapshot.tail)


WITNESS = Keeper()
for whole in DAY:
    WITNESS.take(Groups(whole))
EXPECTED = WITNESS.books.digest(), WITNESS.digest.hex()


class Feed:
    """A primary and one holder in one: it multicasts the day, and answers NAKs and replays."""

    def __init__(self, stack: ExitStack, *, limits: ReplayLimits | None = None) -> None:
        self.settings: FeedSettings = multicast_settings()
        self.source = Source(FRAMES, committed=0)
        self.port = ReplayPort(LOOPBACK, self.source, limits or ReplayLimits())
        self.sender = stack.enter_context(closing(FeedSender(self.settings)))
        self.repairs = stack.enter_context(closing(RepairPort(self.port.address, self._repair)))
        self.published = 0
        self.first_repaired = 1
        self.naks: list[int] = []

    def start(self) -> None:
        self.port.start()
        self.repairs.start()

    def hold(self, group_count: int) -> None:
        """The first groups of the day have been published before anybody listened."""
        self.published = group_count
        self.source.committed_sequence = DAY[group_count - 1].last_sequence

    def publish(self, *, heard: bool = True) -> None:
        """Multicast the next group, which is committed at once."""
        group = DAY[self.published]
        self.published += 1
        self.source.committed_sequence = group.last_sequence
        if heard:
            self.sender.send([packet(group.split(), group.first_sequence, epoch=EPOCH)])

    async def publish_rest(self, *, at_once: int = 8) -> None:
        while self.published < len(DAY):
            for _ in range(min(at_once, len(DAY) - self.published)):
                self.publish()
            await asyncio.sleep(0)

    def _repair(self, data: bytes, *_: object) -> list[bytes]:
        try:
            nak = decode_repair(data)
        except WireError:
            return []
        self.naks.append(nak.first_sequence)
        first, last = nak.first_sequence, min(nak.last_sequence, self.source.committed_sequence)
        if first < self.first_repaired or first > last:
            return []
        return [
            answer(FRAMES, at, min(at + 9, last), committed=last, epoch=EPOCH)
            for at in range(first, last + 1, 10)
        ]


@asynccontextmanager
async def feed(limits: ReplayLimits | None = None) -> AsyncIterator[Feed]:
    with ExitStack() as stack:
        opened = Feed(stack, limits=limits)
        opened.start()
        try:
            yield opened
        finally:
            await opened.port.stop()


def subscription(
    to: Feed,
    keeper: Keeper,
    begin: ReplayKind | None = ReplayKind.STATE,
    *,
    shares: str = "",
    policy: CatchUpPolicy = POLICY,
) -> Subscription:
    return Subscription(
        to.settings,
        [to.port.address],
        keeper.take,
        begin=begin,
        on_snapshot=keeper.begin,
        faults=FaultShares.parse(shares).faults(Random(1)),
        random=Random(1),
        policy=policy,
    )


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(0)


def given(source: Source, snapshot: tuple[int, bytes]) -> SourceSnapshot:
    sequence, data = snapshot
    return SourceSnapshot(sequence, lambda: pieces(data, 4000))


def assert_exact(keeper: Keeper) -> None:
    keeper.books.check()
    assert keeper.books.sequence == len(FRAMES)
    assert (keeper.books.digest(), keeper.digest.hex()) == EXPECTED


@pytest.mark.parametrize("shares", ["", "drop=5,duplicate=5,reorder=10,corrupt=1"])
@pytest.mark.parametrize("kind", [ReplayKind.STATE, ReplayKind.DAY])
def test_who_comes_late_begins_with_a_snapshot_and_reads_on_without_a_hole(
    kind: ReplayKind, shares: str
) -> None:
    async def scenario() -> None:
        async with feed() as opened:
            opened.hold(len(DAY) * 6 // 10)
            opened.source.first_sequence = MIDDAY[0] - 50
            opened.source.newest = opened.source.day = given(opened.source, MIDDAY)
            keeper = Keeper()
            subscribed = subscription(opened, keeper, kind, shares=shares)
            with closing(subscribed):
                subscribed.start()
                await opened.publish_rest()
                await until(lambda: keeper.books.sequence >= len(FRAMES) - 100)
                while keeper.books.sequence < len(FRAMES):
                    opened.sender.send([packet((), len(FRAMES) + 1, epoch=EPOCH, flags=1)])
                    await asyncio.sleep(0)
                assert not subscribed.failed.done()
            assert keeper.begun == [MIDDAY[0]]
            assert_exact(keeper)

    assert run(scenario) == []


def test_who_reads_the_list_from_its_beginning_gets_it_over_tcp() -> None:
    async def scenario() -> None:
        async with feed() as opened:
            opened.hold(len(DAY) * 6 // 10)
            opened.first_repaired = opened.source.committed_sequence
            keeper = Keeper()
            subscribed = subscription(opened, keeper, ReplayKind.LIST)
            with closing(subscribed):
                subscribed.start()
                await opened.publish_rest()
                await until(lambda: keeper.books.sequence == len(FRAMES))
            assert keeper.begun == []
            assert_exact(keeper)

    assert run(scenario) == []


def test_a_short_list_is_had_by_naks_without_any_replay() -> None:
    async def scenario() -> None:
        async with feed() as opened:
            opened.hold(20)
            keeper = Keeper()
            policy = CatchUpPolicy(long_gap_frames=len(FRAMES))
            subscribed = subscription(opened, keeper, ReplayKind.LIST, policy=policy)
            with closing(subscribed):
                subscribed.start()
                opened.publish()
                await until(lambda: keeper.books.sequence == DAY[20].last_sequence)
            assert opened.port.counters.connections == 0
            assert opened.naks != []

    assert run(scenario) == []


def test_a_live_subscriber_waits_for_the_next_group() -> None:
    async def scenario() -> None:
        async with feed() as opened:
            opened.hold(len(DAY) - 20)
            seen: list[int] = []
            subscribed = Subscription(
                opened.settings,
                [opened.port.address],
                lambda delivered: seen.extend(group.first_sequence for group in delivered),
                begin=None,
            )
            with closing(subscribed):
                subscribed.start()
                await opened.publish_rest()
                await until(lambda: len(seen) == 20)
            assert seen == [group.first_sequence for group in DAY[-20:]]
            assert opened.port.counters.connections == 0

    assert run(scenario) == []


def test_a_long_stall_in_mid_day_is_caught_up_with_from_a_newer_snapshot() -> None:
    async def scenario() -> None:
        async with feed() as opened:
            opened.hold(len(DAY) * 2 // 10)
            opened.source.day = given(opened.source, EARLY)
            opened.source.first_sequence = EARLY[0]
            keeper = Keeper()
            subscribed = subscription(opened, keeper, ReplayKind.DAY)
            with closing(subscribed):
                subscribed.start()
                opened.publish()
                await until(lambda: keeper.books.sequence == opened.source.committed_sequence)
                await until(lambda: not subscribed.catch_up.is_under_way)
                while opened.published < len(DAY) - 1:
                    opened.publish(heard=False)
                opened.source.first_sequence = LATE[0]
                opened.source.day = given(opened.source, LATE)
                opened.publish()
                await until(lambda: keeper.books.sequence == len(FRAMES))
            assert keeper.begun == [EARLY[0], LATE[0]]
            assert_exact(keeper)

    assert run(scenario) == []


def test_naks_are_held_back_while_a_replay_is_on_its_way_and_go_out_when_there_is_none() -> None:
    async def scenario() -> None:
        slow = ReplayLimits(bytes_per_second=1_000_000)
        async with feed(slow) as opened:
            opened.hold(len(DAY) * 6 // 10)
            keeper = Keeper()
            subscribed = subscription(opened, keeper, ReplayKind.DAY)
            with closing(subscribed):
                subscribed.start()
                await until(lambda: keeper.books.sequence > 0)
                opened.publish()
                await until(lambda: subscribed.subscriber.highest_sequence > 0)
                is_held = subscribed.subscriber.deadline_ns is None
                assert is_held or not subscribed.catch_up.is_under_way
                await opened.publish_rest()
                await until(lambda: not subscribed.catch_up.is_under_way)
                assert min(opened.naks, default=len(FRAMES)) > DAY[len(DAY) // 2].last_sequence
                await until(lambda: keeper.books.sequence == len(FRAMES))
            assert_exact(keeper)

    assert run(scenario) == []


def test_what_is_still_missing_after_a_replay_is_asked_for_though_nothing_more_comes() -> None:
    async def scenario() -> None:
        slow = ReplayLimits(bytes_per_second=1_000_000)
        async with feed(slow) as opened:
            opened.hold(len(DAY) * 6 // 10)
            keeper = Keeper()
            subscribed = subscription(opened, keeper, ReplayKind.DAY)
            with closing(subscribed):
                subscribed.start()
                await until(lambda: keeper.books.sequence > 0)
                later = DAY[opened.published + 5]
                opened.sender.send([packet(later.split(), later.first_sequence, epoch=EPOCH)])
                await until(lambda: opened.naks != [])
                assert opened.naks[0] == DAY[opened.published].first_sequence
            assert not subscribed.catch_up.is_under_way

    assert run(scenario) == []


def test_without_a_source_for_replays_it_is_as_without_them() -> None:
    async def scenario() -> None:
        async with feed() as opened:
            await opened.port.stop()
            opened.hold(len(DAY) // 2)
            keeper = Keeper()
            subscribed = subscription(opened, keeper)
            with closing(subscribed):
                subscribed.start()
                await opened.publish_rest()
                await until(lambda: keeper.books.sequence == len(FRAMES))
            assert subscribed.catch_up.counters.failures > 0
            assert_exact(keeper)

    assert run(scenario) == []


def test_a_snapshot_that_its_reader_refuses_is_not_begun_with() -> None:
    async def scenario() -> None:
        async with feed() as opened:
            opened.hold(len(DAY) // 2 + 10)
            opened.source.day = given(opened.source, MIDDAY)
            keeper = Keeper()
            keeper.refuses = [MIDDAY[0]]
            subscribed = subscription(opened, keeper, ReplayKind.DAY)
            with closing(subscribed):
                subscribed.start()
                await opened.publish_rest()
                await until(lambda: keeper.books.sequence == len(FRAMES))
            assert keeper.begun == []
            assert_exact(keeper)

    assert run(scenario) == []


def test_an_error_of_its_reader_ends_it_whichever_way_the_groups_came() -> None:
    async def scenario() -> None:
        async with feed() as opened:
            opened.hold(len(DAY) // 2)

            def fail(_: Groups) -> None:
                raise ZeroDivisionError("the reader's own trouble")

            subscribed = Subscription(
                opened.settings,
                [opened.port.address],
                fail,
                begin=ReplayKind.STATE,
                on_snapshot=lambda _: None,
                policy=POLICY,
            )
            with closing(subscribed):
                subscribed.start()
                with pytest.raises(ZeroDivisionError):
                    await subscribed.failed

    assert run(scenario) == []


def test_who_begins_with_a_snapshot_has_to_take_it() -> None:
    for kind in (ReplayKind.STATE, ReplayKind.DAY):
        with pytest.raises(ValueError, match="has to take it"):
            Subscription(FeedSettings(), [], lambda _: None, begin=kind)
