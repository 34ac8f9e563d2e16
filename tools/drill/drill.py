"""What every drill is: a fault and its end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tools.drill.world import WatchedShard, World
from tools.replicas import Status


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that was done."""

    at_ns: int  # monotonic: the moment from which a takeover is counted
    victim: str
    what: str  # for the story
    since_ns: int | None = None  # when the round began to be rough, if that was earlier
    moments: Sequence[tuple[int, str]] = ()  # what came of it at once, for the story, too


class Drill:
    """A fault and its end. A round strikes, waits until service is back, and mends.

    Of several shards one is struck in each round, in turns, as far as the fault knows shards.

    The docstring of each drill is the line of help for whoever chooses.
    """

    name: ClassVar[str]
    stops_zookeeper: ClassVar[bool] = False
    kills_a_leader: ClassVar[bool] = False  # of an ensemble
    cuts_hosts: ClassVar[bool] = False  # needs network namespaces, and so root
    strikes_all: ClassVar[bool] = False  # every shard, each of which must come back
    one_shard: ClassVar[bool] = False  # there may be no other
    sweeps: ClassVar[bool] = False  # the clients make groups that span packets
    # Whether a new epoch must follow; None where it may.
    takeover: ClassVar[bool | None] = True
    stays_s: ClassVar[float] = 0.3  # so long everybody trades on before it is mended
    # Whether clients may feel the return, too, so that their silences then count. A process that
    # starts takes a core for a second: on a small computer that says nothing about failovers.
    return_counts: ClassVar[bool] = False
    feed_options: ClassVar[dict[str, Any]] = {}
    # Keys of the journals' settings that differ from their defaults; None: nobody keeps a journal.
    journal: Mapping[str, Any] | None = None
    environment: Mapping[str, str] = {}  # of all processes, beside the drill's own

    async def strike(
        self, world: World, shard: WatchedShard, primary: Status, number: int
    ) -> Strike:
        """Do the fault of round `number` to a shard.

        `primary` is the status of its primary shortly before.
        """
        raise NotImplementedError

    async def stopped(self, world: World, epochs_before: Mapping[int, int]) -> str | None:
        """Why a shard has stopped for good, where the fault may have that effect.

        None as soon as it is clear that all go on, or where they have to. The epochs are those of
        all shards.
        """
        return None

    async def mend(self, world: World, strike: Strike) -> str | None:
        """Bring back what was harmed, and say what that was."""
        await world.restart(strike.victim)
        return f"{strike.victim} has been started again"
