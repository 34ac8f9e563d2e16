"""What is wrong with a journal, what that means, and what to do about it."""

from typing import Any

from feed.journal_survey import Damage, Finding
from tools.journal.folders import SNAPSHOTS_NAME, HolderJournal

_FILL = "from another holder's journal (lockstep journal repair DIR --from OTHER)"
_START = "start the holder: it has no vote until it has caught up"
_REMEDIES = {
    Damage.TORN_TAIL: "The last write was not finished, or the holder is writing just now. All "
    "that was acknowledged comes before it; the holder cuts it off when it starts.",
    Damage.DAMAGED_FRAME: "The disk does not give back what was written: look after it. Fill the "
    f"journal {_FILL}, or {_START}; the rest of the file is set aside then.",
    Damage.DAMAGED_HEADER: "What is in the segment can't be trusted. Fill the journal "
    f"{_FILL}, or {_START}; the file is set aside then.",
    Damage.DAMAGED_INDEX: "Nothing is lost: the segment is read instead, and the holder writes a "
    "new index when it starts.",
    Damage.MISSING_SEGMENT: "A file is gone. Put it back if somebody moved it, or fill the journal "
    f"{_FILL}.",
    Damage.MISSING_END: f"Frames that had been stored are gone. Fill the journal {_FILL}, or "
    f"{_START}.",
    Damage.POWER_CUT: f"The last frames before the power cut may be lost: {_START}.",
    Damage.LOST_STATE: "What was promised is not known any more. Move the file away if there is "
    f"one, and {_START}.",
}
_SNAPSHOT_REMEDY = (
    "Remove the file: whoever needs a snapshot takes an older one, and more frames after it."
)


def remedy(finding: Finding) -> str:
    """What a finding means, and what to do."""
    if finding.file.startswith(SNAPSHOTS_NAME):
        return _SNAPSHOT_REMEDY
    return _REMEDIES[finding.what]


def finding_object(journal: HolderJournal, finding: Finding) -> dict[str, Any]:
    """A finding as JSON has it."""
    return {
        "holder": journal.holder,
        "file": str(journal.folder / finding.file),
        "sequence": finding.sequence,
        "what": str(finding.what),
        "text": finding.text,
        "remedy": remedy(finding),
    }
