"""Planted bugs of what processes do in ZooKeeper, and read there."""

from feed.holder import Holder
from tools.simulation.planted import Patch, PlantedBug
from zk.dialogue import Dialogue

ELECTING = (
    PlantedBug(
        "a lost race taken for won",
        "A candidate whose transaction fails believes that it was its own that had been carried"
        " out before, and holders promise an epoch to whoever asks: two lead in one epoch.",
        (
            Patch(
                Dialogue,
                "on_answer",
                "elif isinstance(answer, Failure):",
                "elif isinstance(answer, Failure) and pending.task is not Task.REIGN:",
            ),
            Patch(
                Holder,
                "_on_ask",
                "        if word.holder != self._promised_to:\n            return []\n",
                "",
            ),
            Patch(Holder, "stand", "return self._promised_to == self._name", "return True"),
        ),
    ),
    PlantedBug(
        "nothing read anew after a reconnect",
        "A process that was cut off from ZooKeeper takes what it read before for true: it never"
        " learns what has changed meanwhile.",
        (
            Patch(
                Dialogue,
                "close",
                "slot.is_known, slot.is_stale, slot.reading = False, True, 0",
                "slot.reading = 0",
            ),
        ),
    ),
)
