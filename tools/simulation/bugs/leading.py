"""Planted bugs of those who lead, or are about to: commit, takeover, the primary's ways."""

from engine.command_port import CommandConnection, CommandPort
from engine.commit import CommitRule
from engine.primary import Primary
from engine.replica import Replica
from engine.takeover import Takeover
from feed.holder import Holder
from tools.simulation.planted import Patch, PlantedBug

_OPEN_EPOCH = "self.primary.open_epoch(self._wall_clock_ns(), self._rules.listings)"
_ANSWERS_COUNT = Patch(
    Replica,
    "_lead_if_adopted",
    _OPEN_EPOCH,
    f"{_OPEN_EPOCH}\n"
    "    for word in takeover._answers.values():\n"
    "        self.primary.on_ack(word, now_ns)",
)

LEADING = (
    PlantedBug(
        "commit before the epoch's first frame",
        "What a majority said in the takeover that it holds is committed at once, before the EPOCH"
        " frame is: a longer list of a later epoch may still undo it.",
        (
            _ANSWERS_COUNT,
            Patch(
                CommitRule,
                "acknowledge",
                "    if held_by_majority < self._epoch_sequence:\n        return False\n",
                "",
            ),
        ),
    ),
    PlantedBug(
        "an answer counts as an acknowledgement",
        "The new primary counts the length of each list that it was told of in the takeover, though"
        " a longer one of an older epoch has other frames: they are committed without a majority.",
        (_ANSWERS_COUNT,),
    ),
    PlantedBug(
        "commit by half",
        "One acknowledgement less than a majority commits: the next primary may find its majority"
        " among those who have nothing.",
        (
            Patch(
                CommitRule,
                "acknowledge",
                "majority = majority_of(self._held)",
                "majority = len(self._held) // 2",
            ),
        ),
    ),
    PlantedBug(
        "majority of those heard",
        "A majority of the holders that have acknowledged anything in the epoch commits: a primary"
        " that is cut off from the others goes on alone.",
        (
            Patch(
                CommitRule,
                "acknowledge",
                "majority = majority_of(self._held)",
                "majority = majority_of([each for each in self._held.values() if each])",
            ),
        ),
    ),
    PlantedBug(
        "what an earlier life acknowledged counts",
        "The primary does not forget what a holder acknowledged before it lost its memory: it"
        " commits frames that too few have.",
        (Patch(Primary, "on_join", "        self._commit.forget(name)\n", ""),),
    ),
    PlantedBug(
        "everything sent is called committed",
        "Packets say that their own frames are committed: subscribers and gateways tell of trades"
        " that die with the primary.",
        (
            Patch(
                Primary,
                "flush",
                "self._publisher.publish(run, self.committed_sequence, now_ns)",
                "self._publisher.publish(run, self.last_sequence, now_ns)",
            ),
        ),
    ),
    PlantedBug(
        "time runs backwards",
        "The primary stamps commands with its wall clock as it is: after a jump, or a takeover, the"
        " list's time goes back.",
        (
            Patch(
                Primary,
                "_set_time",
                "self._last_time_ns = max(self._last_time_ns, time_ns)",
                "self._last_time_ns = time_ns",
            ),
        ),
    ),
    PlantedBug(
        "takeover with a minority of answers",
        "A candidate waits for one answer too few: what the others committed may be in none of the"
        " lists that it knows.",
        (
            Patch(
                Takeover,
                "missing_answers",
                "self._majority - len(self.answered)",
                "self._majority - 1 - len(self.answered)",
            ),
        ),
    ),
    PlantedBug(
        "the shortest list adopted",
        "A candidate adopts the shortest list of those that it was told of: committed frames that"
        " the others hold are lost.",
        (
            Patch(Takeover, "_choose", "best = max(", "best = min("),
            Patch(Takeover, "_choose", "else max(own, (", "else min(own, ("),
        ),
    ),
    PlantedBug(
        "the longest list regardless of its epoch",
        "A candidate adopts the list with the most frames, though its end may be of an older epoch"
        " than another's: the tail of a deposed primary wins over what is committed.",
        (
            Patch(
                Takeover,
                "_choose",
                "key=lambda item: (item[1].last_epoch, item[1].last_sequence),",
                "key=lambda item: item[1].last_sequence,",
            ),
            Patch(
                Takeover,
                "_choose",
                "max(own, (best[1].last_epoch, best[1].last_sequence))",
                "max(own, (best[1].last_epoch, best[1].last_sequence), key=lambda it: it[1])",
            ),
        ),
    ),
    PlantedBug(
        "the own list adopted",
        "A candidate that has all that it knows to be committed does not fetch the longer lists of"
        " others, where more is committed than anybody knows.",
        (
            Patch(
                Takeover,
                "_choose",
                "if best is None or own == longest:",
                "if best is None or own[1] >= committed:",
            ),
        ),
    ),
    PlantedBug(
        "the last frame not fetched",
        "A candidate takes the longest list for fetched when its last frame is still missing, which"
        " may be committed.",
        (
            Patch(
                Takeover,
                "on_packet",
                "longest = self._answers[name].last_sequence",
                "longest = self._answers[name].last_sequence - 1",
            ),
        ),
    ),
    PlantedBug(
        "fetched from behind the own tail",
        "A candidate fetches only what is longer than its own list, though its own tail may have"
        " lost: it leads with a list that nobody had.",
        (
            Patch(
                Takeover,
                "_choose",
                "self._next = self._holder.verified_sequence + 1",
                "self._next = self._holder.last_sequence + 1",
            ),
        ),
    ),
    PlantedBug(
        "the answer of one who forgot counts",
        "A candidate counts the answers of holders that came back without their memory: what they"
        " had helped to commit may be in none of the lists that it knows.",
        (
            Patch(
                Takeover,
                "on_answer",
                "    if word.kind is HolderKind.FORGOT:\n"
                "        self.forgetful.add(name)\n"
                "        return []\n",
                "",
            ),
        ),
    ),
    PlantedBug(
        "a cut-off group not completed",
        "The new primary begins its epoch in the middle of a group whose end nobody holds: the list"
        " has half of a trade.",
        (
            Patch(
                Replica,
                "_lead_if_adopted",
                "rest = self._backup.complete()",
                "rest: list[bytes] = []",
            ),
        ),
    ),
    PlantedBug(
        "a deposed primary leads on",
        "A primary that learns of a later epoch from a holder or from ZooKeeper promises it, and"
        " does not step down: it never follows anybody again.",
        (Patch(Replica, "_promise", "    self._give_way(now_ns, reason)\n", ""),),
    ),
    PlantedBug(
        "a deposed primary trusts its own tail",
        "A primary that steps down takes what it wrote for committed, and never compares it with"
        " its successor's list.",
        (
            Patch(
                Holder,
                "follow",
                "committed = self.committed_sequence",
                "committed = self.last_sequence",
            ),
        ),
    ),
    PlantedBug(
        "decided up to what is committed",
        "The primary's decision names the last committed frame in place of the last one: gateways"
        " let go of commands that may still die with it.",
        (
            Patch(
                CommandConnection,
                "_decide",
                "primary.last_sequence)",
                "primary.committed_sequence)",
            ),
        ),
    ),
    PlantedBug(
        "the window has no end",
        "A primary without a majority goes on reading its gateways: what is not committed grows"
        " without bound.",
        (
            Patch(
                CommandPort,
                "settle",
                "wanted = not primary.is_full if self._reads else primary.has_room_again",
                "wanted = True",
            ),
        ),
    ),
)
