"""The rounds of a drill: trade, strike, wait until service is back, mend, wait for the rest."""

import asyncio
import gc
import time
from collections.abc import Mapping
from itertools import groupby

from tools.drill.drill import Drill, Strike
from tools.drill.report import OtherShard, RoundReport
from tools.drill.silence import longest_silence, worst_silence
from tools.drill.world import WatchedShard, World
from tools.drill.zookeeper import Suspicion
from tools.replicas import Status

_FIRST_STRIKE_S = 0.4  # of trading before a fault, at least: books have orders by then
_LATEST_STRIKE_S = 0.9
_MAYBE_TAKEOVER_WITHIN_S = 2.0  # where a new epoch may follow or not
# Trading goes on for so long while the victim comes back. Not for as long as that takes: it applies
# the whole list, which would grow faster and faster with each round.
_TRADE_ON_S = 2.0
_AFTERMATH_S = 0.3  # in which what the return stirs up shows
_QUIET_S = 0.3  # many heartbeats: a last frame that got lost has shown by then


async def run_round(world: World, drill: Drill, number: int) -> RoundReport:
    """One round; raises CommandError when the exchange does not come back, though it has to."""
    traders, shard = world.traders, world.shard_of_round(number)
    witness = shard.witness
    primaries = await _trading(world)
    answered = traders.answered
    witness.latest_ns = 0
    reigns = {each.number: len(each.witness.reigns) for each in world.shards}
    epochs = {each: primary["epoch"] for each, primary in primaries.items()}
    strike = await drill.strike(world, shard, primaries[shard.number], number)
    report = RoundReport(number, strike.at_ns, epochs[shard.number], shard=shard.number)
    for at_ns, what in ((strike.at_ns, strike.what), *strike.moments):
        report.tell(what, at_ns)
    report.stopped = await drill.stopped(world, epochs)
    if report.stopped is not None:
        report.tell(f"the shard stops: {report.stopped}", time.monotonic_ns())
        report.answered = traders.answered - answered
        report.epoch_after = witness.epoch
        return report
    await _until_service_is_back(world, drill, strike, _struck(world, drill, shard), epochs)
    report.witness_late_ns = witness.latest_ns
    await asyncio.sleep(drill.stays_s)
    until_ns = time.monotonic_ns()
    if (mended := await drill.mend(world, strike)) is not None:
        report.tell(mended, time.monotonic_ns())
    restored = asyncio.ensure_future(world.until_whole())
    await asyncio.wait({restored}, timeout=_TRADE_ON_S)
    await asyncio.sleep(_AFTERMATH_S)
    if drill.return_counts:
        until_ns = time.monotonic_ns()
    traders.pace.wait()
    now_lead = " and ".join(primary["name"] for primary in (await restored).values())
    leads = "leads" if len(world.shards) == 1 else "lead"
    report.tell(f"whole again; {now_lead} {leads}", time.monotonic_ns())
    await world.until("an answer to every command", lambda: not traders.waiting)
    report.answered = traders.answered - answered
    report.epoch_after = witness.epoch
    _measure(world, drill, strike, report, reigns, until_ns)
    for other in world.shards:
        if other is not shard:
            first, epoch = reigns[other.number], epochs[other.number]
            report.others.append(_other(world, drill, strike, other, first, epoch, until_ns))
    return report


def _struck(world: World, drill: Drill, shard: WatchedShard) -> list[WatchedShard]:
    return list(world.shards) if drill.strikes_all else [shard]


async def _trading(world: World) -> Mapping[int, Status]:
    """Have the clients trade for a while on a whole exchange; the primaries' statuses, by shard."""
    while True:
        primaries = await world.until_whole()
        _tidy_memory()
        world.traders.pace.go()
        await asyncio.sleep(world.random.uniform(_FIRST_STRIKE_S, _LATEST_STRIKE_S))
        if all(each.witness.epoch == primaries[each.number]["epoch"] for each in world.shards):
            return primaries
        # Somebody took over though nothing was wrong; who leads now is not who was to be struck.
        world.traders.pace.wait()


async def finish_trading(world: World) -> None:
    """Wait until all that was sent is answered, and nothing moves any more."""
    traders, shards = world.traders, world.shards
    traders.pace.end()
    await world.until("an answer to every command", lambda: not traders.waiting)
    while True:
        primaries = await world.until_whole()
        events = traders.events
        seen = {each.number: each.witness.sequence for each in shards}
        await asyncio.sleep(_QUIET_S)
        is_quiet = events == traders.events and all(
            each.witness.sequence == seen[each.number] == primaries[each.number]["sequence"]
            for each in shards
        )
        if is_quiet:
            return


async def _until_service_is_back(
    world: World,
    drill: Drill,
    strike: Strike,
    struck: list[WatchedShard],
    epochs_before: Mapping[int, int],
) -> None:
    """Wait for the new epochs, where they are due, and until every client is answered again."""

    def have_taken_over() -> bool:
        return all(each.witness.epoch > epochs_before[each.number] for each in struck)

    if drill.takeover:
        await world.until("a takeover", have_taken_over)
    elif drill.takeover is None:
        deadline_ns = strike.at_ns + int(_MAYBE_TAKEOVER_WITHIN_S * 1e9)
        await world.until(
            "the end of the wait for a takeover",
            lambda: have_taken_over() or time.monotonic_ns() > deadline_ns,
        )
    since_ns = max(strike.at_ns, *(each.witness.reigns[-1].seen_ns for each in struck))
    await world.until("answers to all clients", lambda: world.traders.have_heard_since(since_ns))


def _measure(
    world: World,
    drill: Drill,
    strike: Strike,
    report: RoundReport,
    reigns: Mapping[int, int],
    until_ns: int,
) -> None:
    """Add what the round cost, and who did what in it, to its report."""
    begin_ns = _begin_ns(strike)
    silence = worst_silence(world.traders.heard_ns, begin_ns, until_ns)
    report.outage_ns, report.outage_client = silence.length_ns, silence.client
    report.tell(f"{silence.client} has its first answer again", silence.end_ns)
    for shard in world.shards:
        where = "" if len(world.shards) == 1 else f" of shard {shard.number}"
        for reign in shard.witness.reigns[reigns[shard.number] :]:
            report.tell(f"{reign.primary} leads in epoch {reign.epoch}{where}", reign.seen_ns)
        seen = groupby(shard.watcher.since(begin_ns), _by_look)
        for (seen_ns, epoch), suspicions in seen:
            *others, last = (suspicion.holder for suspicion in suspicions)
            who = f"{', '.join(others)} and {last} suspect" if others else f"{last} suspects"
            report.tell(f"{who} epoch {epoch}{where}", seen_ns)
        if shard.number == report.shard:
            report.takeover_ns = _takeover_ns(drill, strike, shard, reigns[shard.number])


def _other(
    world: World,
    drill: Drill,
    strike: Strike,
    shard: WatchedShard,
    reigns: int,
    epoch_before: int,
    until_ns: int,
) -> OtherShard:
    """How a shard fared that the round was not about."""
    begin_ns = _begin_ns(strike)
    takeover_ns = None
    if drill.strikes_all:
        takeover_ns = _takeover_ns(drill, strike, shard, reigns)
    home_of = world.exchange.configuration.first_directory().home_of
    heard_ns = {
        name: times
        for name, times in world.traders.heard_ns.items()
        if home_of(world.traders.numbers[name]) == shard.number
    }
    taken = longest_silence("", shard.witness.taken_ns, begin_ns, until_ns)
    waited = worst_silence(heard_ns, begin_ns, until_ns) if heard_ns else None
    return OtherShard(
        shard.number,
        epoch_before,
        shard.witness.epoch,
        takeover_ns,
        taken.length_ns,
        waited.length_ns if waited else None,
    )


def _begin_ns(strike: Strike) -> int:
    return strike.at_ns if strike.since_ns is None else strike.since_ns


def _takeover_ns(drill: Drill, strike: Strike, shard: WatchedShard, reigns: int) -> int | None:
    """From the fault to the first new epoch of a shard, where that has to do with it."""
    if drill.takeover is False:
        return None
    times = (each.seen_ns - strike.at_ns for each in shard.witness.reigns[reigns:])
    return next((each for each in times if each >= 0), None)


def _by_look(suspicion: Suspicion) -> tuple[int, int]:
    return suspicion.seen_ns, suspicion.epoch


def _tidy_memory() -> None:
    """Sweep up before a round, so that no long sweep delays the witness within one."""
    gc.collect()
    gc.freeze()
