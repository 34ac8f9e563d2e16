"""Planted bugs of gateways: what is on its way to the primary, log-ins, streams."""

from gateway import translate
from gateway.gateway import Gateway
from gateway.session import Session
from gateway.shards import Shards
from gateway.uplink import Uplink
from tools.simulation.planted import Patch, PlantedBug

_RESUME = """\
    self._next_sequence = requested or stream.next_sequence
    self._position = stream.position(self._next_sequence)
    self._heard_at_ns = self._progress_at_ns = now_ns
    self._control += LoginAccepted(name, self._next_sequence).encode()
"""
_RESUME_ONE_TOO_EARLY = """\
    begin = requested or stream.next_sequence
    self._next_sequence = max(begin - 1, 1)
    self._position = stream.position(self._next_sequence)
    self._heard_at_ns = self._progress_at_ns = now_ns
    self._control += LoginAccepted(name, begin).encode()
"""
_NUMBERED_REFUSAL = """\
from array import array
    from gateway.soup import SequencedData
    packet = SequencedData(encode_refusal(refusal, self._wall_clock_ns())).encode()
    self.stream.extend(packet, array("I", [len(packet)]))\
"""

SERVING = (
    PlantedBug(
        "a lost connection loses what was under way",
        "A gateway forgets what it has sent to a primary that is lost: commands that the successor"
        " never heard of are never answered.",
        (
            Patch(
                Uplink,
                "on_lost",
                "self._drop(lambda pending: pending.is_log_in)",
                "self._drop(lambda pending: True)",
            ),
        ),
    ),
    PlantedBug(
        "decided is taken for committed",
        "A gateway lets go of a command as soon as the primary has decided it: one that dies with"
        " the primary is never sent again.",
        (
            Patch(
                Uplink,
                "on_delivered",
                "while self._decisions and self._decisions[0].sequence <= sequence:",
                "while self._decisions:",
            ),
        ),
    ),
    PlantedBug(
        "an older epoch's decision stands",
        "A gateway lets go of a command by the decision of a primary that has been replaced,"
        " whatever the successor wrote at that place: the command is lost.",
        (
            Patch(
                Uplink,
                "on_delivered",
                "if epoch != self._connection_epoch:",
                "if epoch < self._connection_epoch:",
            ),
            Patch(
                Uplink,
                "is_outdated",
                "return self.is_connected and self._feed_epoch > self._connection_epoch",
                "return False",
            ),
        ),
    ),
    PlantedBug(
        "nothing is let go of",
        "A gateway keeps what has been decided and committed: it grows, until there is room for"
        " nobody's commands.",
        (
            Patch(
                Uplink,
                "on_delivered",
                "if epoch != self._connection_epoch:",
                "if epoch <= self._connection_epoch:",
            ),
        ),
    ),
    PlantedBug(
        "room for everything",
        "A gateway does not bound what it keeps for the primary: without one, it grows with all"
        " that clients send.",
        (
            Patch(
                Uplink,
                "room",
                "limits.pending - self._pending_count,",
                "limits.pending,",
            ),
            Patch(
                Uplink,
                "room",
                "limits.pending_per_client - self._pending_of[client],",
                "limits.pending_per_client,",
            ),
        ),
    ),
    PlantedBug(
        "sent again in the wrong order",
        "A gateway sends what is kept to the new primary with the newest first: the machine takes"
        " the older ones for repeats, and they are lost.",
        (
            Patch(
                Uplink,
                "on_connected",
                "for pending in self._pending:",
                "for pending in reversed(self._pending):",
            ),
        ),
    ),
    PlantedBug(
        "a log-in sent again",
        "A gateway sends a log-in that it lost with the primary under its old number: it voids one"
        " that the client has made elsewhere since.",
        (
            Patch(
                Uplink,
                "on_lost",
                "dropped = [pending.login for pending in self._pending if pending.is_log_in]\n"
                "    self._drop(lambda pending: pending.is_log_in)\n",
                "dropped: list[int] = []\n",
            ),
        ),
    ),
    PlantedBug(
        "a log-in elsewhere ignored",
        "A gateway leaves a session open whose client has logged in elsewhere: all that comes over"
        " it vanishes without an answer.",
        (
            Patch(
                Gateway,
                "_on_log_in",
                "if current is not None:",
                "if current is not None and log_in is not None:",
            ),
        ),
    ),
    PlantedBug(
        "refusals are numbered",
        "A gateway puts its own refusals into the client's numbered stream: other gateways have"
        " other messages under the same numbers.",
        (
            Patch(
                Session,
                "refuse",
                "self._answer(encode_refusal(refusal, self._wall_clock_ns()), now_ns)",
                _NUMBERED_REFUSAL,
            ),
        ),
    ),
    PlantedBug(
        "resumed one message too early",
        "A gateway begins a resumed stream one message before the one that was asked for: each"
        " message has a wrong number from there on.",
        (Patch(Session, "accept", _RESUME, _RESUME_ONE_TOO_EARLY),),
    ),
    PlantedBug(
        "the last number called unused",
        "A gateway tells a client that the last user_ref_num it has used comes next: what a program"
        " that starts anew enters under it is taken for a repeat, and lost.",
        (
            Patch(
                Session,
                "_command",
                "last = self._last_user_ref_num()",
                "last = max(self._last_user_ref_num() - 1, 0)",
            ),
        ),
    ),
    PlantedBug(
        "a trade with oneself told once",
        "Of a trade between two orders of one client, only one execution is told: the client takes"
        " the other order for open.",
        (
            Patch(
                translate,
                "_executions",
                "return [(trade.maker_client, maker), (trade.taker_client, taker)]",
                "return [*{trade.maker_client: maker, trade.taker_client: taker}.items()]",
            ),
            # The compiled kernel would not know of it.
            Patch(
                Shards,
                "_hear",
                "    told = tell(groups)\n",
                "    from gateway._streams_py import tell\n    told = tell(groups)\n",
            ),
        ),
    ),
)
