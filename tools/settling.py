"""The end of a run: wait until all is quiet, then compare what everybody has of the list."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.control import ControlError
from tools.console import Summary
from tools.observer import FeedError, Observer
from tools.processes import Exchange
from tools.replicas import Status, Statuses, find_primary

# Many of an idle primary's heartbeats, by which a lost last frame shows.
QUIET_S = 0.3
# Gaps are given up within ten seconds; whoever still lacks something after that won't get it.
SETTLE_WITHIN_S = 20.0


class Settled(NamedTuple):
    """How things stood when all was quiet."""

    status: Status  # the primary's
    frames_lost: int  # that the observer never got
    books_equal: bool  # the observer's books and the primary's, at the same sequence number
    list_digests: Mapping[str, str | None]  # each replica's and the observer's; None: unknown
    state_digests: Mapping[str, str]  # of the replicas' machines
    failure: str | None  # why not everybody could get so far


async def settle(exchange: Exchange, observer: Observer, shard: int | None = None) -> Settled:
    """Wait until nothing moves any more, and the observer and every replica have all of the list.

    `shard` says whose list that is, where there are several.

    Nobody may enter orders any more. It does not wait for ever: what is still lacking then is lost.
    Raises CommandError when there is no primary at the end.
    """
    failure = None
    try:
        async with asyncio.timeout(SETTLE_WITHIN_S):
            await _until_quiet(exchange, observer, shard)
    except FeedError as error:
        failure = str(error)
    except TimeoutError:
        failure = await _why_not_quiet(exchange, observer, shard)
    statuses = await exchange.statuses(digests=True, shard=shard)
    status = find_primary(statuses) or await exchange.status(shard=shard)
    answered = {name: each for name, each in statuses.items() if not isinstance(each, ControlError)}
    lists = {name: each["list_digest"] for name, each in answered.items()}
    states = {name: each["state_digest"] for name, each in answered.items()}
    frames_lost = status["sequence"] - observer.sequence
    books_equal = not frames_lost and observer.books.digest() == status["book_digest"]
    lists["subscriber"] = None if observer.digest is None else observer.digest.hex()
    return Settled(status, frames_lost, books_equal, lists, states, failure)


def digests_equal(settled: Settled, processes: Mapping[str, Summary]) -> bool:
    """Whether all replicas, retransmitters, gateways and the observer ended with the same list.

    The retransmitters' and gateways' part is in their summaries. One that has had to drop the
    beginning of a long day does not know the digest of all of it, and is left out.
    """
    lists = [*settled.list_digests.values()]
    lists += [
        summary["list_digest"]
        for summary in processes.values()
        if summary["role"] in ("retransmitter", "gateway")
    ]
    known = {digest for digest in lists if digest is not None}
    states = set(settled.state_digests.values())
    return settled.failure is None and len(known) == 1 and len(states) == 1


async def _until_quiet(exchange: Exchange, observer: Observer, shard: int | None) -> None:
    sequence = -1
    while True:
        statuses = await exchange.statuses(shard=shard)
        if _laggards(statuses, sequence) == [] and observer.sequence == sequence:
            return
        primary = find_primary(statuses)
        sequence = -1 if primary is None else primary["committed_sequence"]
        await observer.watch_until(asyncio.Event(), within_s=QUIET_S)


def _laggards(statuses: Statuses, sequence: int) -> list[str]:
    """The replicas that do not answer, or whose list does not end here."""
    ends: dict[str, Any] = {
        name: None if isinstance(status, ControlError) else status["sequence"]
        for name, status in statuses.items()
    }
    return [name for name, end in ends.items() if end != sequence]


async def _why_not_quiet(exchange: Exchange, observer: Observer, shard: int | None) -> str:
    statuses = await exchange.statuses(shard=shard)
    primary = find_primary(statuses)
    if primary is not None and observer.sequence < primary["sequence"]:
        return f"frames {observer.sequence + 1} and later did not arrive"
    return f"these replicas did not get as far: {', '.join(_laggards(statuses, observer.sequence))}"
