"""The suite `feed` on few frames: what it counts and what it refuses. Speeds are not looked at."""

import importlib
import importlib.util
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest

from feed.checksum import crc32c
from feed.codec import COMMAND, END
from feed.multicast import FeedSender, destinations, open_receiver, open_sender
from feed.publisher import Publisher
from feed.run import joined
from tests.feed.sockets import multicast_settings
from tools.bench import _raw_py, feed
from tools.bench.feed import SUBSCRIBERS, measure_feed
from tools.bench.feed_list import PublishedList, published_list
from tools.bench.figures import BenchmarkError

RAW_TWINS: list[Any] = [_raw_py]
if importlib.util.find_spec("tools.bench._raw_c") is not None:
    RAW_TWINS.append(importlib.import_module("tools.bench._raw_c"))
both = pytest.mark.parametrize("raw", RAW_TWINS, ids=lambda raw: raw.__name__)

GROUPS = 500


def test_every_number_of_subscribers_has_rates_and_cpu_beside_the_limit() -> None:
    measurements = measure_feed(0, groups=GROUPS)
    assert [(each.suite, each.name, each.unit) for each in measurements] == [
        ("feed", name.format(count), unit)
        for count in SUBSCRIBERS
        for name, unit in (
            ("frames to {}", "frames/s"),
            ("bytes to {}", "bytes/s"),
            ("CPU of each of {}", "ns/packet"),
        )
    ]
    assert all(min(each.value, each.baseline, each.ratio) > 0 for each in measurements)
    published = published_list(GROUPS, 1400, 32)
    for frames, size in zip(measurements[::3], measurements[1::3], strict=True):
        # One round is behind both, and the figures have four digits.
        assert size.value / frames.value == pytest.approx(published.size / published.frames, 0.01)
        assert size.ratio == frames.ratio


def test_a_list_that_arrives_otherwise_has_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    def expecting_another(*arguments: int) -> PublishedList:
        published = published_list(*arguments)
        return published._replace(digest=published.digest ^ 1)

    monkeypatch.setattr(feed, "published_list", expecting_another)
    with pytest.raises(BenchmarkError, match="other frames than were sent"):
        measure_feed(0, groups=GROUPS)


def test_a_lost_packet_leaves_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    class Losing(FeedSender):
        def send(self, packets: Sequence[bytes]) -> None:
            super().send([*packets[:3], *packets[4:]])

    monkeypatch.setattr(feed, "FeedSender", Losing)
    monkeypatch.setattr(feed, "_PATIENCE_S", 1.0)
    with pytest.raises(BenchmarkError, match="a receiver is stuck"):
        measure_feed(0, groups=GROUPS)


def test_the_list_is_of_whole_groups_in_runs_that_fill_their_packets() -> None:
    published = published_list(GROUPS, 1400, 4)
    whole = joined(published.runs)
    assert (whole.first_sequence, len(whole)) == (1, published.frames)
    assert crc32c(whole.data) == published.digest
    frames = list(whole)
    assert sum(frame.is_command for frame in frames) == GROUPS
    assert sum(frame.is_end for frame in frames) == GROUPS
    assert (frames[0].flags & COMMAND, frames[-1].flags & END) == (COMMAND, END)
    publisher = Publisher(shard=1, epoch=1)
    packets = [publisher.publish(run, 0, 0) for run in published.runs]
    assert {len(each) for each in packets[:-1]} == {4}
    assert sum(map(len, packets)) == published.packets
    assert sum(len(packet) for each in packets for packet in each) == published.size


@both
def test_the_limit_is_taken_with_packets_that_all_arrive(raw: Any) -> None:
    settings = multicast_settings()
    progress = memoryview(bytearray(16)).cast("Q")
    with closing(open_receiver(settings)) as receiver, closing(open_sender(settings)) as sender:
        (address,) = destinations(settings)
        assert raw.send_packets(sender, b"a packet", 70, address, progress, 200, 1.0) == 70
        assert raw.receive_packets(receiver, 70, 100, progress, 1, 1.0) == 70
        assert progress.tolist() == [0, 70]


@both
def test_the_sender_never_runs_farther_ahead_than_it_may(raw: Any) -> None:
    settings = multicast_settings()
    progress = memoryview(bytearray(16)).cast("Q")
    progress[0], progress[1] = 90, 10  # the second receiver is the slower one
    with closing(open_receiver(settings)) as receiver, closing(open_sender(settings)) as sender:
        (address,) = destinations(settings)
        sent = raw.send_packets(sender, b"a packet", 500, address, progress, 64, 0.01)
        assert 74 - raw.BATCH < sent <= 74
        assert raw.receive_packets(receiver, 500, 100, progress, 1, 0.01) == sent


def test_there_is_always_room_for_two_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = multicast_settings(receive_buffer_bytes=4096)
    assert feed._packets_ahead(settings) == 2 * _raw_py.BATCH
    assert feed._packets_ahead(multicast_settings()) > 2 * _raw_py.BATCH
