"""Planted bugs of what is kept on disks: journals, promises and snapshots."""

from engine import state
from engine.primary import Primary
from engine.snapshots import Snapshots
from feed import journal_opening
from feed.held_list import HeldList
from feed.holder import Holder
from feed.journal import Journal
from feed.memory import Memory
from tools.simulation.planted import Patch, PlantedBug

STORING = (
    PlantedBug(
        "an acknowledgement before the sync",
        "A holder acknowledges what it has written and not forced to the disk yet: a power cut"
        " takes away what is committed.",
        (
            Patch(
                HeldList,
                "stored_sequence",
                "stored = self.journal.stored_sequence",
                "stored = self.journal.next_sequence - 1",
            ),
        ),
    ),
    PlantedBug(
        "own frames counted before the sync",
        "A primary counts its own frames as held before they are stored.",
        (
            Patch(
                Primary,
                "acknowledge_own",
                "self._holder.list.stored_sequence",
                "self._holder.list.end_sequence",
            ),
        ),
    ),
    PlantedBug(
        "what could not be written acknowledged",
        "A holder whose disk is full goes on acknowledging what is in its memory alone.",
        (
            Patch(
                HeldList,
                "stored_sequence",
                "    if self.journal is None:\n",
                "    if self.journal is None or self.journal.failure is not None:\n",
            ),
            Patch(
                Holder,
                "ack_word",
                "    if self.storage_failure is not None:\n        return None\n",
                "",
            ),
        ),
    ),
    PlantedBug(
        "a promise not stored",
        "A holder's promise of an epoch does not outlive its process: it promises an older one, or"
        " the same to two.",
        (
            Patch(
                Memory,
                "vow",
                "return journal.failure is None and (journal.vow == vow or journal.promise(vow))",
                "return journal.failure is None",
            ),
        ),
    ),
    PlantedBug(
        "a promise stored after the answer",
        "A promise of an epoch is stored with the next thing that is, after the answer has left.",
        (
            Patch(
                Journal,
                "promise",
                "return self._keep(vow=vow)",
                "self._state = replace(self._state, vow=vow)\n    return True",
            ),
        ),
    ),
    PlantedBug(
        "a torn tail not cut off",
        "A journal goes on behind what the end of a process or of the power left of a frame: what"
        " comes after that can't be read.",
        (
            Patch(
                journal_opening,
                "_repair",
                "        storage.truncate(segment.name, segment.size)\n",
                "",
            ),
        ),
    ),
    PlantedBug(
        "a lost tail stays on the disk",
        "A tail that has lost is dropped in memory, and stays in the journal's file.",
        (
            Patch(
                Journal,
                "truncate",
                "self._attempt(lambda: self._list.cut(next_sequence))",
                "self._list.cut_view(next_sequence)",
            ),
        ),
    ),
    PlantedBug(
        "a doubtful journal trusted",
        "A holder whose journal may lack what it has acknowledged votes at once.",
        (Patch(Memory, "has_forgotten", "return self._journal.is_doubtful", "return False"),),
    ),
    PlantedBug(
        "an empty disk taken for a new holder",
        "A holder that has lost its disk votes as if it had never been there.",
        (Patch(Memory, "has_forgotten", "        return was_here\n", "        return False\n"),),
    ),
    PlantedBug(
        "a restored list taken for committed",
        "A holder that comes back takes all that it has for committed: a tail that loses, too.",
        (
            Patch(
                Holder,
                "_remember",
                "committed = journal.committed_sequence",
                "committed = self.last_sequence",
            ),
        ),
    ),
    PlantedBug(
        "a return with a memory not announced",
        "A holder that comes back with its journal does not tell the primary, which counts nothing"
        " that it says: after some have been restarted, nothing is committed any more.",
        (Patch(Holder, "on_start", "        self._return.announce()\n", "        pass\n"),),
    ),
    PlantedBug(
        "a snapshot gone on from too late",
        "A machine that is restored goes on behind the first frame after its snapshot.",
        (
            Patch(
                Snapshots,
                "restore",
                "return Restored(machine, stored.sequence)",
                "return Restored(machine, min(stored.sequence + 1, at_most))",
            ),
        ),
    ),
    PlantedBug(
        "a snapshot without the log-ins",
        "A snapshot does not tell under which log-in a client trades: what it sends to a machine"
        " that is restored from it is dropped.",
        (Patch(state, "_client_state", "client.login", "0"),),
    ),
)
