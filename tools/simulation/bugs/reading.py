"""Planted bugs of those who read the list: gaps, epochs, groups and commits."""

from feed.gap import Gaps
from feed.receiver import Receiver
from feed.subscriber import Groups, Subscriber
from tools.simulation.planted import Patch, PlantedBug

READING = (
    PlantedBug(
        "a gap detector off by one",
        "A receiver does not see a gap of one single frame: it never asks for that, and waits for"
        " it for ever.",
        (
            Patch(
                Receiver,
                "_hold",
                "if run.first_sequence > self._frontier:",
                "if run.first_sequence > self._frontier + 1:",
            ),
        ),
    ),
    PlantedBug(
        "the last frame not asked for",
        "A receiver does not ask for a single frame that is missing at the end of the list: it"
        " waits until there are more.",
        (Patch(Receiver, "_give_out", "if self._frontier <= last:", "if self._frontier < last:"),),
    ),
    PlantedBug(
        "the rest of a gap forgotten",
        "When a part of a gap arrives, the frame after that is not asked for any more: the receiver"
        " waits for it for ever.",
        (Patch(Gaps, "fill", "part.split(stop)", "part.split(stop + 1)"),),
    ),
    PlantedBug(
        "early frames outlive their epoch",
        "A subscriber keeps frames that it holds for their commit when a new epoch begins, whose"
        " list may have others: it delivers what has lost.",
        (
            Patch(
                Receiver,
                "_open_epoch",
                "kept = max(committed, self.next_sequence - 1)",
                "kept = max(committed, self._frontier - 1)",
            ),
        ),
    ),
    PlantedBug(
        "delivered before the commit",
        "A subscriber delivers what comes in sequence without a look at its commit: it tells of"
        " trades that die with the primary.",
        (
            Patch(
                Receiver,
                "_give_out",
                "if self._committed_only:",
                "if self._committed_only and self._gaps:",
            ),
        ),
    ),
    PlantedBug(
        "delivered one frame too far",
        "A subscriber delivers the frame after the last committed one, too, which may die with its"
        " primary.",
        (
            Patch(
                Receiver,
                "_give_out",
                "min(stop, self.committed_sequence + 1)",
                "min(stop, self.committed_sequence + 2)",
            ),
        ),
    ),
    PlantedBug(
        "half a group delivered",
        "A subscriber takes the end of what has come for the end of a group: it tells of half a"
        " trade.",
        (
            Patch(
                Subscriber,
                "_grouped",
                "    return Groups(whole)",
                "    if self._unfinished and self._failure is None:\n"
                "        parts = [whole] if whole else []\n"
                "        whole = joined(parts + self._unfinished)\n"
                "        self._unfinished.clear()\n"
                "    return Groups(whole)",
            ),
            Patch(
                Groups,
                "_all",
                "    return groups",
                "    if frames:\n        groups.append(Group(tuple(frames)))\n    return groups",
            ),
        ),
    ),
)
