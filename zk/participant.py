"""What a process knows of its shard in ZooKeeper, and what it may want there; without the I/O."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from zk.election import PrimaryRecord
from zk.presence import Presence


class Participant(ABC):
    """One process in the ZooKeeper of one shard.

    `on_change` is called whenever something has changed of what the properties tell. What is wanted
    may be said at any time: it is done once ZooKeeper is there, if still wanted.
    """

    def __init__(self, presence: Presence, on_change: Callable[[], None]) -> None:
        self._presence = presence
        self._on_change = on_change
        self._known = presence.known

    @property
    def connected(self) -> bool:
        """Whether there is a connection; without one, all that is told here may be out of date."""
        return self._known.connected

    @property
    def epoch(self) -> int | None:
        """The newest granted epoch that is known; None until ZooKeeper was read. It only grows."""
        return self._known.epoch

    @property
    def epoch_at_start(self) -> int | None:
        """The newest epoch when this process first connected; None until that is known."""
        return self._known.epoch_at_start

    @property
    def was_here(self) -> bool:
        """Whether this holder was ever there before this process; known with `epoch_at_start`."""
        return self._known.was_here

    @property
    def primary(self) -> PrimaryRecord | None:
        """Who reigns, as last known."""
        return self._known.primary

    @property
    def members(self) -> Mapping[str, Mapping[str, Any]]:
        """Who is alive, as last known, and what each says of itself."""
        return self._known.members

    @property
    def granted(self) -> int | None:
        """The epoch in which this process reigns, until somebody else does or it yields."""
        return self._known.granted

    @property
    def electable(self) -> bool:
        """Whether this replica takes the next epoch when nobody reigns, or the holders say so.

        What it wins after this has become False it gives up at once, untold.
        """
        return self._presence.electable

    @electable.setter
    def electable(self, value: bool) -> None:
        self._presence.electable = value
        self._carry_out()

    def suspect(self, epoch: int) -> None:
        """Tell the others that the primary of this epoch is silent."""
        self._presence.suspect(epoch)
        self._carry_out()

    def withdraw(self) -> None:
        """Take the suspicion back."""
        self._presence.withdraw()
        self._carry_out()

    def observe_epoch(self, epoch: int) -> None:
        """The feed has shown this epoch: a ZooKeeper that has forgotten it is told."""
        self._presence.observe_epoch(epoch)
        self._carry_out()

    def yield_epoch(self) -> None:
        """Reign no more. Set `electable` to False before, lest the next epoch be taken at once."""
        self._presence.yield_epoch()
        self._carry_out()

    @abstractmethod
    def _carry_out(self) -> None:
        """Ask for what is to be done now, and see to what is to be done later."""
