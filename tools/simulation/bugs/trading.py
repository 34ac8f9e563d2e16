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
                "self._send_again(self.unanswered.resend())\n",
                "",
            ),
        ),
    ),
    PlantedBug(
        "the first missing one not sent again",
        "A client sends again what it has no answer to but for the first of it: a command is lost.",
        (
            Patch(
                Unanswered,
                "resend",
                "[kept.payload for kept in self._kept.values()]",
                "[kept.payload for kept in self._kept.values()][1:]",
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
                "resend",
                "for kept in self._kept.values()",
                "for key, kept in self._kept.items() if key > 0",
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
