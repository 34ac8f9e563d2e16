"""What came of a demo: its figures, and the same in words."""

from collections.abc import Mapping, Sequence

from feed.faults import FaultShares
from tools.console import Summary
from tools.settling import Settled, digests_equal
from tools.takeovers import Takeover

LOAD = "load"  # the name of the process that sends the clients' orders


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
    sequence = f"{result['sequence']:,}"
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
    if result["books_equal"]:
        print(f"The subscriber's books equal the primary's, at sequence number {sequence}.")
    else:
        why = result.get("failure", "their digests differ")
        print(f"The subscriber's books do NOT equal the primary's at {sequence}: {why}.")
    if result["digests_equal"]:
        print("All replicas, retransmitters, gateways and the subscriber have the same list.")
    else:
        print("Their lists do NOT all have the same digest.")


def _takeover_line(epoch: int, primary: str, killed: str | None, takeover_ms: float | None) -> str:
    if killed is None:
        return f"{primary} took over in epoch {epoch}, though nobody had been killed."
    return (
        f"{killed} was killed; {primary} had its first frame of epoch {epoch} committed "
        f"{takeover_ms:.1f} ms later."
    )
