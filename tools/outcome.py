"""What came of a demo: its figures, and the same in words."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from feed.faults import FaultShares
from tools.configuration import Configuration
from tools.console import Summary
from tools.settling import Settled, digests_equal
from tools.takeovers import Takeover

LOAD = "load"  # the name of the process that sends the clients' orders
_OF_THE_WHOLE = ("seconds", "commands_per_second", "faults", "round_trip_us")  # not of one shard
_SUMS = (
    *("commands", "frames", "trades", "live_orders"),
    *("gaps_detected", "gaps_filled", "frames_lost"),
)


class ShardEnd(NamedTuple):
    """How a run ended in one shard."""

    settled: Settled
    observer: Summary
    takeovers: Sequence[Takeover]


def summarize_shards(
    configuration: Configuration,
    ends: Mapping[int, ShardEnd],
    processes: Mapping[str, Summary],
    seconds: float,
    faults: FaultShares | None,
) -> Summary:
    """What came of a run, as a JSON object: of each shard, and of all together.

    For an exchange of one shard it is that one's.
    """
    views = configuration.by_shard()
    shards = {
        shard: summarize(
            end.settled,
            end.observer,
            processes if len(ends) == 1 else _processes_of(views[shard], processes),
            seconds,
            faults,
            end.takeovers,
        )
        for shard, end in ends.items()
    }
    if len(shards) == 1:
        return next(iter(shards.values()))
    whole = {key: next(iter(shards.values()))[key] for key in _OF_THE_WHOLE}
    sums = {key: sum(each[key] for each in shards.values()) for key in _SUMS}
    return {
        **sums,
        "books_equal": all(each["books_equal"] for each in shards.values()),
        "digests_equal": all(each["digests_equal"] for each in shards.values()),
        "takeovers": [
            {"shard": shard, **each}
            for shard, result in shards.items()
            for each in result["takeovers"]
        ],
        **whole,
        "commands_per_second": round(sums["commands"] / seconds),
        "shards": {
            str(shard): {key: value for key, value in each.items() if key not in whole}
            for shard, each in shards.items()
        },
    }


def _processes_of(view: Configuration, processes: Mapping[str, Summary]) -> dict[str, Summary]:
    """What the processes say of one shard: its holders, and of the gateways their part about it."""
    shard = str(view.feed.shard)
    holders = view.shard_settings().holders
    told = {name: each for name, each in processes.items() if name in holders or name == LOAD}
    for name in view.gateways:
        told[name] = {"role": "gateway", **processes[name]["shards"][shard]}
    return told


def summarize(
    settled: Settled,
    observer: Summary,
    processes: Mapping[str, Summary],
    seconds: float,
    faults: FaultShares | None,
    takeovers: Sequence[Takeover] = (),
) -> Summary:
    """What came of a run, as a JSON object; every receiver of the feed counts.

    A receiver has lost what it lacks of the primary's list after all has been quiet for a while.
    """
    status = settled.status
    receivers = {"subscriber": {**observer, "lost": settled.frames_lost}}
    for name, summary in processes.items():
        if summary["role"] in ("retransmitter", "gateway"):
            receivers[name] = {**summary, "lost": status["sequence"] - _held(summary)}

    def total(key: str) -> int:
        return sum(receiver[key] for receiver in receivers.values())

    result: Summary = {
        "commands": status["commands"],
        "frames": status["frames"],
        "trades": status["trades"],
        "gaps_detected": total("gaps_detected"),
        "gaps_filled": total("gaps_filled"),
        "frames_lost": total("lost"),
        "books_equal": settled.books_equal,
        "digests_equal": digests_equal(settled, processes),
        "takeovers": [each._asdict() for each in takeovers],
        "seconds": round(seconds, 3),
        "commands_per_second": round(status["commands"] / seconds),
        "primary": status["name"],
        "epoch": status["epoch"],
        "sequence": status["sequence"],
        "live_orders": status["live_orders"],
        "book_digest": status["book_digest"],
        "faults": None if faults is None else str(faults),
        "round_trip_us": processes[LOAD]["round_trip_us"],
        "receivers": {
            name: {
                "gaps_detected": receiver["gaps_detected"],
                "gaps_filled": receiver["gaps_filled"],
                "frames_lost": receiver["lost"],
            }
            for name, receiver in receivers.items()
        },
    }
    return result if settled.failure is None else {**result, "failure": settled.failure}


def _held(summary: Summary) -> int:
    """How far a receiver has read the list, by its process's summary."""
    if summary["role"] == "retransmitter":
        return int(summary["next_sequence"]) - 1
    return int(summary["sequence"])


def print_outcome(result: Summary) -> None:
    """The result for people."""
    lost = result["frames_lost"]
    print(
        f"{result['commands']:,} commands, {result['frames']:,} frames and "
        f"{result['trades']:,} trades in {result['seconds']:.1f} s."
    )
    print(
        f"{result['gaps_detected']:,} gaps were found at all receivers together, "
        f"{result['gaps_filled']:,} of them filled; {lost:,} frames were lost."
    )
    for takeover in result["takeovers"]:
        print(_takeover_line(**takeover))
    for shard, each in result.get("shards", {"": result}).items():
        _print_books(f" in shard {shard}" if shard else "", each)
    if result["digests_equal"]:
        print("All replicas, retransmitters, gateways and the subscriber have the same list.")
    else:
        print("Their lists do NOT all have the same digest.")


def _print_books(where: str, result: Summary) -> None:
    sequence = f"{result['sequence']:,}"
    if result["books_equal"]:
        print(f"The subscriber's books equal the primary's{where}, at sequence number {sequence}.")
    else:
        why = result.get("failure", "their digests differ")
        print(f"The subscriber's books do NOT equal the primary's{where} at {sequence}: {why}.")


def _takeover_line(
    epoch: int,
    primary: str,
    killed: str | None,
    takeover_ms: float | None,
    shard: int | None = None,
) -> str:
    where = "" if shard is None else f"Shard {shard}: "
    if killed is None:
        return f"{where}{primary} took over in epoch {epoch}, though nobody had been killed."
    return (
        f"{where}{killed} was killed; {primary} had its first frame of epoch {epoch} committed "
        f"{takeover_ms:.1f} ms later."
    )
