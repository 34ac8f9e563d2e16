"""What is in a journal, in words and as JSON."""

from collections.abc import Iterator
from typing import Any

from tools.journal.folders import HolderJournal


def describe_state(journal: HolderJournal) -> str:
    """What a journal's state file says, in words."""
    state = journal.state
    if not state:
        return "no readable state"
    closed = "closed" if state.get("closed_sequence") is not None else "open, or left so"
    doubtful = ", doubtful: no vote" if state.get("is_doubtful") else ""
    epoch = state.get("vow", {}).get("epoch", 0)
    promised = f", promised epoch {epoch}" if epoch else ""
    return f"{closed}{doubtful}, known committed to {journal.committed_sequence:,}{promised}"


def describe_journal(journal: HolderJournal) -> Iterator[str]:
    """What is in a journal, but for its segments."""
    whose = f"exchange {journal.exchange or 'unknown'}, shard {journal.shard or 'unknown'}"
    yield f"{journal.holder}: {whose}, {journal.folder}"
    yield f"  {describe_state(journal)}"
    files = journal.files
    yield f"  frames {files.first_sequence:,} to {files.last_sequence:,}"
    for reign in files.reigns:
        yield f"  epoch {reign.epoch} of {reign.primary} from frame {reign.sequence:,}"
    for sequence, day in files.days:
        yield f"  day {day} from frame {sequence:,}"
    for snapshot in journal.stored_snapshots:
        opens = ", with which its day began" if snapshot.opens_day else ""
        day_text = f" on {snapshot.day}" if snapshot.day else ""
        yield (
            f"  snapshot of frame {snapshot.sequence:,}{day_text}, "
            f"{snapshot.size_bytes:,} bytes{opens}"
        )
    for finding in files.findings:
        yield f"  ! {finding.file}: {finding.what}: {finding.text}"


def journal_object(journal: HolderJournal) -> dict[str, Any]:
    """The same, and its segments, as JSON has it."""
    files = journal.files
    return {
        "folder": str(journal.folder),
        "exchange": journal.exchange,
        "shard": journal.shard,
        "holder": journal.holder,
        "state": journal.state,
        "first_sequence": files.first_sequence,
        "last_sequence": files.last_sequence,
        "reigns": [reign._asdict() for reign in files.reigns],
        "days": [{"sequence": sequence, "day": day} for sequence, day in files.days],
        "segments": [segment._asdict() for segment in journal.segments],
        "snapshots": [snapshot._asdict() for snapshot in journal.stored_snapshots],
        "findings": [
            {**finding._asdict(), "what": str(finding.what)} for finding in files.findings
        ],
    }
