"""Planted bugs of holders: what they keep, acknowledge, answer and forget."""

from feed.held_list import HeldList
from feed.holder import Holder
from feed.receiver import Receiver
from feed.vote import Return
from retransmitter.retransmitter import Retransmitter
from tools.simulation.planted import Patch, PlantedBug
from zk.presence import Presence

HOLDING = (
    PlantedBug(
        "the fence not checked",
        "Receivers take packets of an older epoch than the highest seen: a paused primary that"
        " wakes writes into its successor's list.",
        (
            Patch(
                Receiver,
                "on_datagram",
                "    if epoch < self.epoch:\n"
                "        counters.stale_epoch += 1\n"
                "        return self._nothing\n",
                "",
            ),
        ),
    ),
    PlantedBug(
        "an answer without a promise",
        "A holder answers whoever takes over and does not promise the epoch: it goes on"
        " acknowledging to the old primary what the new one will not have.",
        (
            Patch(
                Holder,
                "on_word",
                "    self.promise(word.epoch, now_ns)\n",
                "    if word.kind is not HolderKind.ASK:\n"
                "        self.promise(word.epoch, now_ns)\n",
            ),
            Patch(
                Holder,
                "_on_ask",
                "return [self.say(HolderKind.ANSWER if self.vote is Vote.COUNTS"
                " else HolderKind.FORGOT)]",
                "said = self.say("
                "HolderKind.ANSWER if self.vote is Vote.COUNTS else HolderKind.FORGOT)\n"
                "    answer = decode_holder_word(said)._replace(epoch=word.epoch)\n"
                "    return [encode_holder_word(answer)]",
            ),
        ),
    ),
    PlantedBug(
        "an acknowledgement within a group",
        "A holder acknowledges frames of a group whose end it does not have: half of a group is"
        " committed.",
        (
            Patch(
                Holder,
                "_keep",
                "    if run.end_sequence:\n"
                "        self.held_sequence = run.end_sequence\n"
                "        self._regain_vote()\n",
                "    if run:\n"
                "        self.held_sequence = run.last_sequence\n"
                "    if run.end_sequence:\n"
                "        self._regain_vote()\n",
            ),
            Patch(
                HeldList,
                "stored_sequence",
                "        return self._end_sequence\n    stored",
                "        return self.last_sequence\n    stored",
            ),
            Patch(HeldList, "stored_sequence", "return self._stored_end", "return stored"),
        ),
    ),
    PlantedBug(
        "an acknowledgement across a gap",
        "A retransmitter acknowledges the last frame that it knows to exist, though earlier ones"
        " are missing: they are committed without a majority.",
        (
            Patch(
                Retransmitter,
                "turn",
                "holder.ack_word(holder.held_sequence, now_ns)",
                "holder.ack_word(holder._receiver.highest_sequence, now_ns)",
            ),
        ),
    ),
    PlantedBug(
        "a tail not dropped",
        "A holder keeps its own frame where the new epoch's list has another one: it acknowledges,"
        " and passes on, a list that has lost.",
        (
            Patch(
                HeldList,
                "_unlike_held",
                "        self._drop(differing)\n        last = differing - 1\n",
                "",
            ),
        ),
    ),
    PlantedBug(
        "a tail not compared",
        "A holder reads on behind its own tail in a new epoch, and does not compare it: it"
        " acknowledges a list that it does not have.",
        (
            Patch(
                Receiver,
                "_open_epoch",
                "self.next_sequence = min(self.next_sequence, committed + 1)\n"
                "        kept = committed",
                "kept = self.next_sequence - 1",
            ),
        ),
    ),
    PlantedBug(
        "the promised epoch for that of the last frame",
        "A holder says that its list ends in the newest epoch that it has heard of: in a takeover"
        " the tail of a deposed primary wins over what is committed.",
        (Patch(Holder, "say", "self.last_epoch,", "self.epoch,"),),
    ),
    PlantedBug(
        "an answer from a doubtful tail",
        "A holder answers NAKs with frames that it has not compared with the new epoch's list:"
        " others take a list that has lost.",
        (Patch(Holder, "on_nak", "self.verified_sequence", "self.last_sequence"),),
    ),
    PlantedBug(
        "a doubtful tail taken for committed",
        "A holder that hears how far the new epoch is committed takes its own frames up to there"
        " for committed, before it has compared them.",
        (
            Patch(
                Holder,
                "_keep",
                "self.list.digest_to(min(self.committed_sequence, self.verified_sequence))",
                "self.list.digest_to(self.committed_sequence)",
            ),
        ),
    ),
    PlantedBug(
        "one who forgot votes",
        "A holder that came back without its memory acknowledges and answers at once: it votes for"
        " a list without what its earlier self had helped to commit.",
        (
            Patch(
                Return, "begin", "Vote.RETURNING if has_forgotten else Vote.COUNTS", "Vote.COUNTS"
            ),
        ),
    ),
    PlantedBug(
        "an earlier life not noticed",
        "A holder does not see in ZooKeeper that it was there before: it votes though it has"
        " forgotten.",
        (
            Patch(
                Presence,
                "_on_holders",
                "self._was_here = self._identity.holder and there[own] != self._token",
                "self._was_here = False",
            ),
        ),
    ),
    PlantedBug(
        "a return told to one replica alone",
        "A retransmitter that comes back tells only the first replica, which may not lead: it never"
        " gets its vote back.",
        (Patch(Retransmitter, "on_time", "in self._replicas]", "in self._replicas[:1]]"),),
    ),
)
