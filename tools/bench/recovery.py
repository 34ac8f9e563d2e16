"""The suite `recovery`: how long a replica takes to come back with what is on its disk.

A list is written as a busy day makes it, with a snapshot near its end. Then a replica begins, in a
process of its own each time: once with the snapshot, and once as if there were none. It has to end
with the digest of the machine that wrote the list.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

from engine.machine import Machine
from engine.markets import market_builder
from engine.primary import LeadSettings
from engine.replica import Replica, ReplicaRules
from engine.settings import MachineKind
from engine.snapshots import Snapshots
from feed.holder import Holder, HolderIdentity
from feed.journal import Journal
from feed.keeping import Keeping
from feed.messages import DefineInstrument, Epoch, ShortSale, holder_field
from feed.run import Run
from feed.settings import JournalSettings, SyncPolicy
from tools.bench.apart import Apart, Say
from tools.bench.figures import BenchmarkError, Measurement, Report, measurement
from tools.bench.tape import Tape, log_ins
from tools.bench.workload import PREFILL, SYMBOL, TICK

_SUITE = "recovery"
_EXCHANGE, _SHARD, _NAME, _EPOCH = "BENCH", 1, "e1", 1
_OPERATIONS = 20_000  # of the mix, in each cycle of the tape
_PIECE = 500
_TIME_NS = 1_700_000_000_000_000_000
_CACHE_BYTES = 64 << 20
_READ_BYTES = 1 << 20
_MILLION = 1_000_000
_WITHIN_S = 3600.0


class Written(NamedTuple):
    """The list on the disk."""

    last_sequence: int
    size_bytes: int
    digest: bytes  # of the machine that wrote it


class Recovered(NamedTuple):
    """What a replica did to come back."""

    seconds: float  # until its machine had carried out the whole list
    open_seconds: float  # of these, until the journal was open
    frames: int  # that the machine carried out
    last_sequence: int
    digest: bytes
    peak_bytes: int  # of memory, the interpreter's among them


async def measure_recovery(
    machine: MachineKind | None, frames: int, since_snapshot: int, seed: int
) -> Report:
    """All figures of the suite. Raises BenchmarkError when a replica comes back as another."""
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as folder:
        settings = JournalSettings(
            folder=Path(folder), sync=SyncPolicy.NEVER, snapshot_frames=max(frames, 1000)
        )
        written = write_list(settings, machine, frames, since_snapshot, seed)
        read_seconds = _read_all(settings.folder_of(_SHARD, _NAME))
        with_snapshot = await _recover_apart(settings, machine, has_snapshots=True)
        without = await _recover_apart(settings, machine, has_snapshots=False)
    for recovered in (with_snapshot, without):
        if (recovered.last_sequence, recovered.digest) != (written.last_sequence, written.digest):
            raise BenchmarkError(
                f"a replica came back at {recovered.last_sequence} of {written.last_sequence}"
                " frames, or with another state than was written"
            )
    return Report(list(_figures(written, with_snapshot, without, read_seconds)))


def _figures(
    written: Written, with_snapshot: Recovered, without: Recovered, read_seconds: float
) -> Iterator[Measurement]:
    millions = written.last_sequence / _MILLION
    made = partial(measurement, _SUITE)
    yield made("journal", written.size_bytes / _MILLION, "MB", 0.0)
    name = f"back from {millions:.3g} million frames, the last {with_snapshot.frames:,} carried out"
    yield made(name, with_snapshot.seconds, "s", read_seconds)
    yield made("of this, to open the journal", with_snapshot.open_seconds, "s", read_seconds)
    yield made("back without any snapshot", without.seconds, "s", read_seconds)
    each, read_each = without.seconds / millions, read_seconds / millions
    yield made("the same, for a million frames", each, "s", read_each)
    peak, beside = without.peak_bytes / _MILLION, with_snapshot.peak_bytes / _MILLION
    yield made("memory at most, without any snapshot", peak, "MB", beside)


def write_list(
    settings: JournalSettings,
    machine: MachineKind | None,
    frames: int,
    since_snapshot: int,
    seed: int,
) -> Written:
    """Write a journal of at least so many frames, with a snapshot so many before its end."""
    keeping = Keeping(settings, _EXCHANGE, _SHARD, _NAME, drills=False)
    market = market_builder(machine)()
    held = _holder(keeping.journal).list
    snapshots = _snapshots(keeping, settings)

    def store(run: Run) -> None:
        held.store(run)
        held.digest_to(run.last_sequence)

    store(market.carry_out(Epoch(_EPOCH, holder_field(_NAME)), 1, _TIME_NS))
    for run in _day(market, frames, seed):
        store(run)
        if held.last_sequence >= frames - since_snapshot > 0:
            since_snapshot = frames  # once
            snapshots.take(market, run)
            writing = snapshots.take_writing(held, held.last_sequence)
            assert writing is not None
            writing()
    written = Written(held.last_sequence, keeping.journal.size_bytes, market.digest())
    keeping.close()
    return written


def recover(
    say: Say[Recovered],
    settings: JournalSettings,
    machine: MachineKind | None,
    *,
    has_snapshots: bool,
) -> Recovered:
    """Come back as a replica does when its process begins."""
    begin = time.monotonic()
    keeping = Keeping(settings, _EXCHANGE, _SHARD, _NAME, drills=False)
    opened = time.monotonic()
    replica = Replica(
        _holder(keeping.journal),
        ReplicaRules(holders=(_NAME,), replicas=(_NAME,), lead=LeadSettings()),
        market_builder(machine),
        time.time_ns,
        snapshots=_snapshots(keeping, settings) if has_snapshots else None,
    )
    first = replica.sequence
    for _ in replica.recover():
        pass
    end = time.monotonic()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    recovered = Recovered(
        end - begin,
        opened - begin,
        replica.sequence - first,
        replica.sequence,
        replica.machine.digest(),
        peak if sys.platform == "darwin" else peak * 1024,
    )
    keeping.close()
    return recovered


async def _recover_apart(
    settings: JournalSettings, machine: MachineKind | None, *, has_snapshots: bool
) -> Recovered:
    with Apart(recover, settings, machine, has_snapshots=has_snapshots) as process:
        return await process.hear(_WITHIN_S)


def _day(market: Machine, frames: int, seed: int) -> Iterator[Run]:
    """What a market makes of a tape, until there are so many frames."""
    sequence = 2
    listing = DefineInstrument(SYMBOL, TICK, 1, ShortSale.ALLOWED)
    yield (listed := market.carry_out(listing, sequence, _TIME_NS))
    sequence = listed.next_sequence
    yield (logged_in := market.submit(log_ins(), sequence, _TIME_NS).run)
    sequence = logged_in.next_sequence
    for piece in Tape(PREFILL, _OPERATIONS, _PIECE, seed).pieces():
        if sequence > frames:
            return
        yield (run := market.submit(piece.data, sequence, _TIME_NS).run)
        sequence = run.next_sequence


def _read_all(folder: Path) -> float:
    """How long it takes to read the files, with nothing done for them, in seconds."""
    begin = time.monotonic()
    for path in sorted(folder.glob("*.frames")):
        with path.open("rb", buffering=0) as file:
            while file.read(_READ_BYTES):
                pass
    return time.monotonic() - begin


def _holder(journal: Journal) -> Holder:
    return Holder(
        HolderIdentity(_SHARD, _NAME, 1),
        peer_count=0,
        last_resort_count=0,
        random=Random(1),
        cache_bytes=_CACHE_BYTES,
        payload_limit_bytes=1400,
        suspicion_time_ns=_MILLION,
        journal=journal,
    )


def _snapshots(keeping: Keeping, settings: JournalSettings) -> Snapshots:
    return Snapshots(
        keeping.snapshots, every_frames=settings.snapshot_frames, count=settings.snapshots
    )
