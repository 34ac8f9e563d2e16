"""The rounds of a drill: trade, strike, wait until service is back, mend, wait for the rest."""

import asyncio
import gc
import time
from itertools import groupby

from tools.drill.drill import Drill, Strike
from tools.drill.report import RoundReport
from tools.drill.silence import worst_silence
from tools.drill.world import World
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
    traders, witness = world.traders, world.witness
    primary = await _trading(world)
    answered = traders.answered
    witness.latest_ns = 0
    reigns = len(witness.reigns)
    strike = await drill.strike(world, primary, number)
    report = RoundReport(number, strike.at_ns, epoch_before=primary["epoch"])
    for at_ns, what in ((strike.at_ns, strike.what), *strike.moments):
        report.tell(what, at_ns)
    report.stopped = await drill.stopped(world, primary["epoch"])
    if report.stopped is not None:
        report.tell(f"the shard stops: {report.stopped}", time.monotonic_ns())
        report.answered = traders.answered - answered
        report.epoch_after = witness.epoch
        return report
    await _until_service_is_back(world, drill, strike, primary["epoch"])
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
    now_leads = await restored
    report.tell(f"whole again; {now_leads['name']} leads", time.monotonic_ns())
    await world.until("an answer to every command", lambda: not traders.waiting)
    report.answered = traders.answered - answered
    report.epoch_after = witness.epoch
    _measure(world, drill, strike, report, reigns, until_ns)
    return report


async def _trading(world: World) -> Status:
    """Have the clients trade for a while on a whole exchange; the primary's status."""
    while True:
        primary = await world.until_whole()
        _tidy_memory()
        world.traders.pace.go()
        await asyncio.sleep(world.random.uniform(_FIRST_STRIKE_S, _LATEST_STRIKE_S))
        if world.witness.epoch == primary["epoch"]:
            return primary
        # Somebody took over though nothing was wrong; who leads now is not who was to be struck.
        world.traders.pace.wait()


async def finish_trading(world: World) -> None:
    """Wait until all that was sent is answered, and nothing moves any more."""
    traders, witness = world.traders, world.witness
    traders.pace.end()
    await world.until("an answer to every command", lambda: not traders.waiting)
    while True:
        primary = await world.until_whole()
        seen = witness.sequence, traders.events
        await asyncio.sleep(_QUIET_S)
        if seen == (witness.sequence, traders.events) and seen[0] == primary["sequence"]:
            return


async def _until_service_is_back(
    world: World, drill: Drill, strike: Strike, epoch_before: int
) -> None:
    """Wait for the new epoch, where one is due, and until every client is answered again."""
    witness = world.witness
    if drill.takeover:
        await world.until("a takeover", lambda: witness.epoch > epoch_before)
    elif drill.takeover is None:
        deadline_ns = strike.at_ns + int(_MAYBE_TAKEOVER_WITHIN_S * 1e9)
        await world.until(
            "the end of the wait for a takeover",
            lambda: witness.epoch > epoch_before or time.monotonic_ns() > deadline_ns,
        )
    since_ns = max(strike.at_ns, witness.reigns[-1].seen_ns)
    await world.until("answers to all clients", lambda: world.traders.have_heard_since(since_ns))


def _measure(
    world: World,
    drill: Drill,
    strike: Strike,
    report: RoundReport,
    reigns: int,
    until_ns: int,
) -> None:
    """Add what the round cost, and who did what in it, to its report."""
    begin_ns = strike.at_ns if strike.since_ns is None else strike.since_ns
    silence = worst_silence(world.traders.heard_ns, begin_ns, until_ns)
    report.outage_ns, report.outage_client = silence.length_ns, silence.client
    report.tell(f"{silence.client} has its first answer again", silence.end_ns)
    for reign in world.witness.reigns[reigns:]:
        report.tell(f"{reign.primary} leads in epoch {reign.epoch}", reign.seen_ns)
        if drill.takeover is not False and reign.seen_ns >= strike.at_ns:
            report.takeover_ns = report.takeover_ns or reign.seen_ns - strike.at_ns
    for (seen_ns, epoch), suspicions in groupby(world.watcher.since(begin_ns), _by_look):
        *others, last = (suspicion.holder for suspicion in suspicions)
        who = f"{', '.join(others)} and {last} suspect" if others else f"{last} suspects"
        report.tell(f"{who} epoch {epoch}", seen_ns)


def _by_look(suspicion: Suspicion) -> tuple[int, int]:
    return suspicion.seen_ns, suspicion.epoch


def _tidy_memory() -> None:
    """Sweep up before a round, so that no long sweep delays the witness within one."""
    gc.collect()
    gc.freeze()
