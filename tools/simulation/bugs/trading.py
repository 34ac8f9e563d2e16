"""Planted bugs of the client library."""

from gateway.client_session import ClientSession
from gateway.unanswered import Unanswered
from tools.simulation.planted import Patch, PlantedBug

TRADING = (
    PlantedBug(
        "nothing sent again",
        "A client does not send again what is not in the list when it has logged in anew: it waits"
        " for answers for ever.",
        (
            Patch(
                ClientSession,
                "_on_account",
                "    for payload in self.unanswered.to_resend(next_user_ref_num):\n"
                "        self._send(payload)\n",
                "",
            ),
        ),
    ),
    PlantedBug(
        "the first missing one not sent again",
        "A client sends again what comes after the next user_ref_num, and not the one with that"
        " number: a command is lost.",
        (
            Patch(
                Unanswered,
                "to_resend",
                "key >= next_user_ref_num",
                "key > next_user_ref_num",
            ),
        ),
    ),
    PlantedBug(
        "cancels not sent again",
        "A client does not send its cancels again when it has logged in anew: orders stay that it"
        " wants to be gone.",
        (
            Patch(
                Unanswered,
                "to_resend",
                "if key < 0 or key >= next_user_ref_num",
                "if key >= next_user_ref_num",
            ),
        ),
    ),
    PlantedBug(
        "numbers used twice",
        "A client that was started anew does not take over which user_ref_nums are used: what it"
        " enters is taken for a repeat, and dropped.",
        (
            Patch(
                ClientSession,
                "_on_account",
                "self.last_user_ref_num = max(self.last_user_ref_num, next_user_ref_num - 1)\n",
                "",
            ),
        ),
    ),
    PlantedBug(
        "the last event asked for again",
        "A client that resumes asks for the last event that it had: it gives that out twice.",
        (
            Patch(
                ClientSession,
                "_on_sequenced",
                "self.next_sequence = sequence + 1",
                "self.next_sequence = sequence",
            ),
        ),
    ),
)
