"""What a gateway has to do with each shard: its list, its uplink, and log-ins on their way there.

`gateway.home` makes streams of the lists, `gateway.routing` says where commands go; how the parts
work together stands in docs/gateway.md.
"""

from random import Random
from typing import Any

from feed.messages import ShardMark
from gateway.clients import ClientSettings
from gateway.home import Home
from gateway.log_ins import LogIns, WaitingLogIn
from gateway.seats import Seat
from gateway.session import Session
from gateway.settings import UplinkLimits
from gateway.uplink import Submissions, Uplink


class GatewayShard:
    """One shard, as a gateway sees it."""

    def __init__(self, number: int, home: Home, limits: UplinkLimits, random: Random) -> None:
        """`home` has the streams of the clients that are at home in it, if any are."""
        self.number = number
        self.home = home
        self._limits = limits
        self.uplink = Uplink(limits)
        self.log_ins: LogIns[Session] = LogIns(self.uplink, random)  # of clients at home here
        self.seats: LogIns[Seat] = LogIns(self.uplink, random)  # of the others
        # Log-ins that the list has admitted, while their sessions wait for what comes before.
        self.admitted: dict[int, WaitingLogIn[Session]] = {}
        self.heard_sequence = 0  # the list is known here up to this frame
        self.committed_sequence = 0  # the packets say that it goes so far
        self.list_epoch = 0  # of what was heard last
        self.is_catching_up = False  # by a replay, as the shell says: nobody is let in meanwhile
        self._asked_marks: dict[int, int] = {}  # the last one for each other shard

    def room(self, client: int, waiting: int) -> int:
        """How many more commands of a client may go there, which has so many waiting.

        A client that has nothing there is not kept from other shards because this one is full.
        """
        room = self.uplink.room(client)
        if room <= 0 and not waiting and not self.uplink.has_pending(client):
            return 1
        return room - waiting

    def has_room_again(self, client: int, waiting: int) -> bool:
        """Whether a client that had to wait may send more there."""
        uplink = self.uplink
        if not waiting and not uplink.has_pending(client):
            return True
        return uplink.has_room_again(client) and 2 * waiting <= self._limits.pending_per_client

    def mark(self, other: "GatewayShard", now_ns: int) -> None:
        """Has the streams of the clients at home here go on with what is known of another list.

        One mark is on its way at a time: the next one then stands for all that came meanwhile.
        """
        marked = self.home.marks.get(other.number, 0)
        if self._asked_marks.get(other.number, 0) <= marked < other.heard_sequence:
            self._asked_marks[other.number] = other.heard_sequence
            self.uplink.submit_mark(ShardMark(other.number, other.heard_sequence), now_ns)

    def give_up(self, session: Session) -> ClientSettings | None:
        """A session waits no longer; whose log-in it was, if that may take effect all the same."""
        admitted = self.admitted.pop(session.login, None)
        return self.log_ins.give_up(session) if admitted is None else admitted.client

    def submit(self, client: int, login: int, submissions: list[bytes], now_ns: int) -> None:
        """Takes commands of a client on their way."""
        batch = Submissions(b"".join(submissions), len(submissions))
        self.uplink.submit_all(client, login, batch, now_ns)

    def summary(self) -> dict[str, Any]:
        """How far the list is known, and what has gone to the primary."""
        uplink = self.uplink
        return {
            "sequence": self.heard_sequence,
            "uplink": {
                "connections": uplink.connections,
                "submissions": uplink.submissions,
                "resent": uplink.resent,
                "decisions": uplink.decisions,
                "pending": uplink.pending_count,
            },
        }

    def check(self) -> None:
        """Raises AssertionError when the parts do not agree with one another."""
        self.uplink.check()
        self.log_ins.check()
        self.seats.check()
        self.home.check()
