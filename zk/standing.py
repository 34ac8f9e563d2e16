"""What a holder and ZooKeeper tell one another, sans-I/O: the same for each kind of holder."""

from typing import Protocol


class Core(Protocol):
    """A replica or a retransmitter, as far as ZooKeeper concerns it."""

    @property
    def epoch(self) -> int:
        """The highest epoch seen or promised."""

    @property
    def suspected_epoch(self) -> int | None:
        """The epoch whose primary it takes for dead."""

    def on_start(self, epoch: int, *, was_here: bool, now_ns: int) -> None:
        """The newest epoch when it started, and whether this holder was there before that."""

    def on_epochs(self, epoch: int, granted: int | None, now_ns: int) -> None:
        """The newest epoch, and the one that was granted to this holder."""

    def is_electable(self, now_ns: int) -> bool:
        """Whether it may stand for an epoch now."""

    def gives_back(self, epoch: int) -> bool:
        """Whether an epoch that was granted to it is of no use to it any more."""


class Membership(Protocol):
    """Its part in ZooKeeper: a `zk.participant.Participant`."""

    electable: bool

    @property
    def epoch(self) -> int | None:
        """The newest granted epoch that is known."""

    @property
    def epoch_at_start(self) -> int | None:
        """The newest epoch when this process first connected; None until that is known."""

    @property
    def was_here(self) -> bool:
        """Whether this holder was ever there before this process."""

    @property
    def granted(self) -> int | None:
        """The epoch in which this process reigns."""

    def suspect(self, epoch: int) -> None:
        """Tell the others that the primary of this epoch is silent."""

    def withdraw(self) -> None:
        """Take the suspicion back."""

    def observe_epoch(self, epoch: int) -> None:
        """The feed has shown this epoch."""

    def yield_epoch(self) -> None:
        """Reign no more."""


class Standing:
    """Carries word between a holder and ZooKeeper, each way when there is something new."""

    def __init__(self, core: Core, member: Membership) -> None:
        self._core = core
        self._member = member
        self._told: tuple[int | None, bool, int] = (None, False, 0)

    def heed(self, now_ns: int) -> None:
        """ZooKeeper has told something new: the holder hears it."""
        core, member = self._core, self._member
        if member.epoch_at_start is not None:
            core.on_start(member.epoch_at_start, was_here=member.was_here, now_ns=now_ns)
        if member.epoch is not None:
            core.on_epochs(member.epoch, member.granted, now_ns)

    def tell(self, now_ns: int) -> None:
        """What ZooKeeper should know, when that has changed; after every turn of the holder."""
        core, member = self._core, self._member
        told = (core.suspected_epoch, core.is_electable(now_ns), core.epoch)
        if told != self._told:
            self._told = told
            suspected, member.electable, epoch = told
            if suspected is None:
                member.withdraw()
            else:
                member.suspect(suspected)
            if epoch:
                member.observe_epoch(epoch)
        if member.granted is not None and core.gives_back(member.granted):
            member.yield_epoch()
