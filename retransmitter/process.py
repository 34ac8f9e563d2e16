"""The retransmitter's process: the sockets and the clock around a `Retransmitter`."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from random import Random
from typing import Any

import structlog

from feed.codec import Frame
from feed.faults import Faults
from feed.gap import GapFailure
from feed.listener import Listener
from feed.repair_port import RepairPort
from feed.settings import Address, FeedSettings
from retransmitter.retransmitter import Retransmitter
from retransmitter.settings import RetransmitterSettings

log = structlog.get_logger()


async def run(
    name: str,
    feed: FeedSettings,
    settings: RetransmitterSettings,
    peers: Sequence[Address],
    stop: asyncio.Event,
    ready: Callable[[], None],
    faults: Faults | None = None,
) -> dict[str, object]:
    """Keep the shard's frames and answer NAKs until `stop` is set; what was done, for JSON.

    `peers` are the addresses that its own gaps are repaired from: those of the other
    retransmitters, and the engine's at the end, which is asked last. `faults` befall what comes
    from the feed and from peers. Calls `ready` once it receives and answers.

    Raises OSError when an address can't be used, ValueError when the settings don't fit together.
    """
    peers = tuple(dict.fromkeys(peers))  # each asked in its turn once
    retransmitter = Retransmitter(
        shard=feed.shard,
        peer_count=len(peers),
        random=Random(),
        cache_bytes=settings.cache_bytes,
        payload_limit_bytes=feed.payload_limit_bytes,
        limits=settings.limits(),
    )
    listener: Listener[Frame] = Listener(
        feed,
        retransmitter,
        peers,
        _already_kept,
        receive=settings.receive,
        faults=faults,
    )
    with ExitStack() as resources:
        port = resources.enter_context(closing(RepairPort(settings.repair, retransmitter.on_nak)))
        resources.enter_context(closing(listener))
        listener.start()
        port.start()
        log.info("retransmitter ready", name=name, repair=str(port.address), shard=feed.shard)
        ready()
        await _until_stopped(stop, listener.failed)
    log.info("retransmitter stopped", name=name, next_sequence=retransmitter.next_sequence)
    return _summary(name, retransmitter, listener, port)


def _already_kept(frames: list[Frame]) -> None:
    """Frames that a retransmitter takes in are in its cache; nobody else waits for them."""


async def _until_stopped(stop: asyncio.Event, failed: asyncio.Future[GapFailure]) -> None:
    """Wait for `stop`, and report a gap that nobody can fill.

    Raises what `failed` holds when it is an exception.
    """
    stopped = asyncio.ensure_future(stop.wait())
    try:
        either: set[asyncio.Future[Any]] = {stopped, failed}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            failure = failed.result()
            log.error(
                "nobody has these frames: nothing after them is kept, what came before is served",
                first_sequence=failure.first_sequence,
                last_sequence=failure.last_sequence,
                reason=failure.reason,
            )
            await stopped
    finally:
        stopped.cancel()


def _summary(
    name: str, retransmitter: Retransmitter, listener: Listener[Frame], port: RepairPort
) -> dict[str, object]:
    received, repairs, failure = (
        retransmitter.received,
        retransmitter.repairs,
        retransmitter.failure,
    )
    return {
        "role": "retransmitter",
        "name": name,
        "epoch": retransmitter.epoch,
        "first_sequence": retransmitter.first_sequence,
        "next_sequence": retransmitter.next_sequence,
        "committed_sequence": retransmitter.committed_sequence,
        "failure": None if failure is None else failure._asdict(),
        "naks": port.counters.datagrams,
        "frames_retransmitted": repairs.frames_retransmitted,
        "gaps_detected": received.gaps_detected,
        "gaps_filled": received.gaps_filled,
        "received": asdict(received),
        "repairs": asdict(repairs),
        "feed_sockets": asdict(listener.counters),
        "repair_port": asdict(port.counters),
    }
