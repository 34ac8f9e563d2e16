"""What a drill has to say: each round as a story, all rounds in sum, and both as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from tools.drill.audit import Findings
from tools.drill.statistics import Distribution, distribution, milliseconds


class Moment(NamedTuple):
    """Something that happened in a round, and when: monotonic."""

    at_ns: int
    what: str


class OtherShard(NamedTuple):
    """How a shard fared in a round that was about another one; times are counted from the fault."""

    shard: int
    epoch_before: int
    epoch_after: int
    takeover_ns: int | None  # where the fault was its own, too
    silence_ns: int  # the longest time in which its list did not grow
    outage_ns: int | None  # the longest that a client waited that is at home there; None: nobody is

    def summary(self) -> dict[str, Any]:
        """The shard as JSON has it."""
        return {
            "shard": self.shard,
            "epoch_before": self.epoch_before,
            "epoch_after": self.epoch_after,
            "takeover_ms": _or_none(self.takeover_ns),
            "silence_ms": milliseconds(self.silence_ns),
            "outage_ms": _or_none(self.outage_ns),
        }

    def line(self) -> str:
        """The shard for people."""
        if self.takeover_ns is not None:
            words = f"takeover {milliseconds(self.takeover_ns):,.1f} ms"
        else:
            words = f"its list never stood still for more than {milliseconds(self.silence_ns):,.1f}"
            words += " ms"
        if self.outage_ns is not None:
            words += f"; whoever is at home there waited {milliseconds(self.outage_ns):,.1f} ms"
        return f"shard {self.shard}: {words}"


@dataclass(slots=True)
class RoundReport:
    """One round; times are counted from the fault. What it says is about one shard."""

    number: int
    fault_ns: int
    epoch_before: int
    epoch_after: int = 0
    takeover_ns: int | None = None  # None when there was no new epoch
    outage_ns: int = 0
    outage_client: str = ""
    answered: int = 0
    witness_late_ns: int = 0
    stopped: str | None = None  # why the shard stopped for good, as it may where it has forgotten
    moments: list[Moment] = field(default_factory=list)
    shard: int = 1
    others: list[OtherShard] = field(default_factory=list)

    @property
    def epochs(self) -> dict[int, tuple[int, int]]:
        """Of each shard, the epoch before and after."""
        own = {self.shard: (self.epoch_before, self.epoch_after)}
        return own | {each.shard: (each.epoch_before, each.epoch_after) for each in self.others}

    @property
    def takeovers_ns(self) -> list[int]:
        """The takeovers that the fault made necessary, in all shards."""
        times = [self.takeover_ns, *(each.takeover_ns for each in self.others)]
        return [each for each in times if each is not None]

    def tell(self, what: str, at_ns: int) -> None:
        """Add something to the story."""
        self.moments.append(Moment(at_ns, what))

    def summary(self) -> dict[str, Any]:
        """The round as JSON has it."""
        return {
            "round": self.number,
            "epoch_before": self.epoch_before,
            "epoch_after": self.epoch_after,
            "takeover_ms": _or_none(self.takeover_ns),
            "outage_ms": milliseconds(self.outage_ns),
            "outage_client": self.outage_client,
            "answered": self.answered,
            "witness_late_ms": milliseconds(self.witness_late_ns),
            "stopped": self.stopped,
            "shard": self.shard,
            "others": [each.summary() for each in self.others],
            "story": [
                {"ms": milliseconds(at_ns - self.fault_ns), "what": what}
                for at_ns, what in sorted(self.moments)
            ],
        }

    def lines(self, rounds: int) -> Iterator[str]:
        """The round for people."""
        yield f"Round {self.number} of {rounds}"
        for at_ns, what in sorted(self.moments):
            yield f"  {_clock(at_ns - self.fault_ns)}  {what}"
        if self.stopped is not None:
            return
        if self.takeover_ns is None:
            takeover = f"no takeover, still epoch {self.epoch_after}"
            if self.epoch_after > self.epoch_before:
                takeover = f"epoch {self.epoch_after} by now"
        else:
            takeover = f"takeover {milliseconds(self.takeover_ns):,.1f} ms"
        yield (
            f"  {'':>12}  {takeover}; {self.outage_client} waited longest, "
            f"{milliseconds(self.outage_ns):,.1f} ms; {self.answered:,} commands answered"
        )
        for each in self.others:
            yield f"  {'':>12}  {each.line()}"


@dataclass(frozen=True, slots=True)
class DrillPlan:
    """What was asked for."""

    drill: str
    rounds: int
    rate: int
    seed: int
    zookeeper: str
    suspicion_time_ms: int
    replicas: int
    gateways: int
    clients: int
    sync: str | None = None  # of the journals; None where nobody keeps one
    power_cut: bool = False
    shards: int = 1


@dataclass(frozen=True, slots=True)
class DrillReport:
    """All rounds, and what the audit found after them."""

    plan: DrillPlan
    rounds: Sequence[RoundReport]
    findings: Findings
    differences: Sequence[str]  # between those who should have the same list and state
    sequence: int  # the last one of the list; of several lists, all together
    seconds: float
    audited_frames: int = 0  # of the journals, where there are any

    @property
    def digests_equal(self) -> bool:
        """Whether all ended with the same list, and the replicas with the same state."""
        return not self.differences

    @property
    def is_sound(self) -> bool:
        """Whether everything held that has to."""
        return self.findings.is_clean and self.digests_equal

    @property
    def takeover(self) -> Distribution:
        """From each fault to the first committed frame of the new epoch."""
        return distribution([time for each in self.rounds for time in each.takeovers_ns])

    @property
    def outage(self) -> Distribution:
        """How long the client that waited longest waited, in each round."""
        return distribution([each.outage_ns for each in self.rounds if each.stopped is None])

    @property
    def stopped(self) -> int:
        """Rounds after which the shard stopped and said so, as it may where it has forgotten."""
        return sum(each.stopped is not None for each in self.rounds)

    @property
    def needless_takeovers(self) -> int:
        """New epochs beside those that the faults made necessary: a primary looked dead and was
        not, because its machine let it wait."""
        # Within each round and, in the same exchange, from each round to the next.
        grown = sum(
            after - before for each in self.rounds for before, after in each.epochs.values()
        )
        for before, after in pairwise(self.rounds):
            if before.stopped is None:
                grown += sum(
                    after.epochs[shard][0] - epoch
                    for shard, (_, epoch) in before.epochs.items()
                    if shard in after.epochs
                )
        return grown - sum(len(each.takeovers_ns) for each in self.rounds)

    def summary(self) -> dict[str, Any]:
        """The drill as one JSON object."""
        findings = self.findings
        return {
            **asdict(self.plan),
            "takeover_ms": self.takeover._asdict(),
            "outage_ms": self.outage._asdict(),
            "takeovers": sum(len(each.takeovers_ns) for each in self.rounds),
            "needless_takeovers": self.needless_takeovers,
            "stopped": self.stopped,
            "answered": findings.answered,
            "refused": findings.refused,
            "lost": findings.lost,
            "doubled": findings.doubled,
            "changed": findings.changed,
            "digests_equal": self.digests_equal,
            "sequence": self.sequence,
            "audited_frames": self.audited_frames,
            "seconds": round(self.seconds, 1),
            "problems": [*findings.problems, *self.differences],
            "per_round": [each.summary() for each in self.rounds],
        }

    def lines(self) -> Iterator[str]:
        """The sum for people; the rounds have been told as they came."""
        plan, findings = self.plan, self.findings
        yield (
            f"{plan.drill}: {len(self.rounds)} rounds at {plan.rate:,} commands a second, "
            f"suspicion time {plan.suspicion_time_ms} ms, ZooKeeper {plan.zookeeper}"
            f"{f', {plan.shards} shards' if plan.shards > 1 else ''}"
        )
        if plan.sync is not None:
            power = "with the power cut" if plan.power_cut else "without a power cut"
            yield f'  journals        synced by "{plan.sync}", {power}'
        if self.stopped:
            yield f"  stopped         after {self.stopped:,} rounds, saying that too few remember"
        yield f"  takeover        {_spread(self.takeover)}"
        if self.needless_takeovers:
            yield f"                  and {self.needless_takeovers} that no fault made necessary"
        yield f"  outage          {_spread(self.outage)}"
        refused = f", {findings.refused:,} refused by gateways" if findings.refused else ""
        yield f"  answered        {findings.answered:,} commands{refused}"
        yield f"  lost            {findings.lost:,}"
        yield f"  doubled         {findings.doubled:,}"
        yield f"  changed         {findings.changed:,}"
        equal = "equal" if self.digests_equal else "NOT EQUAL"
        if self.rounds and self.rounds[-1].stopped is not None:
            equal = "not compared: the shard had stopped"
        where = "at sequence number" if plan.shards == 1 else "at sequence numbers that sum up to"
        yield f"  digests         {equal}, {where} {self.sequence:,}"
        if self.audited_frames:
            yield f"  journals        {self.audited_frames:,} frames audited"
        for problem in (*findings.problems, *self.differences):
            yield f"  ! {problem}"


def _or_none(time_ns: int | None) -> float | None:
    return None if time_ns is None else milliseconds(time_ns)


def _clock(since_ns: int) -> str:
    return f"{milliseconds(since_ns):>+9,.1f} ms"


def _spread(spread: Distribution) -> str:
    if spread.median is None:
        return "none"
    median, p99, longest = spread
    return f"median {median:,.1f} ms, p99 {p99:,.1f} ms, longest {longest:,.1f} ms"
