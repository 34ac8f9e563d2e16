"""What a holder and ZooKeeper tell one another, with both played by the test."""

from dataclasses import dataclass, field

import pytest

from zk.standing import Standing

NOW_NS = 7


@dataclass
class Core:
    """A holder."""

    epoch: int = 0
    suspected_epoch: int | None = None
    electable_from_ns: int = 100
    useless_epochs: tuple[int, ...] = ()
    heard: list[tuple[object, ...]] = field(default_factory=list)

    def on_start(self, epoch: int, *, was_here: bool, now_ns: int) -> None:
        self.heard.append(("start", epoch, was_here, now_ns))

    def on_epochs(self, epoch: int, granted: int | None, now_ns: int) -> None:
        self.heard.append(("epochs", epoch, granted, now_ns))

    def is_electable(self, now_ns: int) -> bool:
        return now_ns >= self.electable_from_ns

    def gives_back(self, epoch: int) -> bool:
        return epoch in self.useless_epochs


@dataclass
class Member:
    """Its part in ZooKeeper."""

    epoch: int | None = None
    epoch_at_start: int | None = None
    was_here: bool = False
    granted: int | None = None
    told: list[tuple[object, ...]] = field(default_factory=list)
    _electable: bool = False

    @property
    def electable(self) -> bool:
        return self._electable

    @electable.setter
    def electable(self, value: bool) -> None:
        self._electable = value
        self.told.append(("electable", value))

    def suspect(self, epoch: int) -> None:
        self.told.append(("suspect", epoch))

    def withdraw(self) -> None:
        self.told.append(("withdraw",))

    def observe_epoch(self, epoch: int) -> None:
        self.told.append(("observe", epoch))

    def yield_epoch(self) -> None:
        self.told.append(("yield", self.granted))
        self.granted = None


@pytest.fixture
def core() -> Core:
    return Core()


@pytest.fixture
def member() -> Member:
    return Member()


@pytest.fixture
def standing(core: Core, member: Member) -> Standing:
    return Standing(core, member)


def test_nothing_is_said_before_anything_is_known(
    core: Core, member: Member, standing: Standing
) -> None:
    standing.heed(NOW_NS)
    standing.tell(NOW_NS)
    assert core.heard == []
    assert member.told == []


def test_the_start_is_heard_before_the_epochs(
    core: Core, member: Member, standing: Standing
) -> None:
    member.epoch = 4
    standing.heed(NOW_NS)
    assert core.heard == [("epochs", 4, None, NOW_NS)]
    core.heard.clear()
    member.epoch_at_start, member.was_here, member.granted = 3, True, 4
    standing.heed(NOW_NS)
    assert core.heard == [("start", 3, True, NOW_NS), ("epochs", 4, 4, NOW_NS)]


def test_epoch_0_is_heard_too(core: Core, member: Member, standing: Standing) -> None:
    member.epoch = member.epoch_at_start = 0
    standing.heed(NOW_NS)
    assert core.heard == [("start", 0, False, NOW_NS), ("epochs", 0, None, NOW_NS)]


def test_what_has_changed_is_told_once(core: Core, member: Member, standing: Standing) -> None:
    core.epoch, core.suspected_epoch = 2, 2
    for _ in range(3):
        standing.tell(NOW_NS)
    assert member.told == [("electable", False), ("suspect", 2), ("observe", 2)]
    member.told.clear()
    core.suspected_epoch = None
    for _ in range(3):
        standing.tell(NOW_NS)
    assert member.told == [("electable", False), ("withdraw",), ("observe", 2)]


def test_that_it_has_become_electable_with_time_alone_is_told(
    core: Core, member: Member, standing: Standing
) -> None:
    standing.tell(99)
    assert member.told == []
    standing.tell(100)
    assert member.told == [("electable", True), ("withdraw",)]
    core.electable_from_ns = 200
    standing.tell(101)
    assert not member.electable


def test_a_granted_epoch_that_is_of_no_use_is_given_back_after_it_is_not_electable(
    core: Core, member: Member, standing: Standing
) -> None:
    core.electable_from_ns = 0
    core.epoch = member.granted = 3
    standing.tell(NOW_NS)
    assert member.granted == 3
    member.told.clear()
    core.electable_from_ns, core.useless_epochs = 100, (3,)
    standing.tell(NOW_NS)
    standing.tell(NOW_NS)
    assert member.told == [("electable", False), ("withdraw",), ("observe", 3), ("yield", 3)]
    assert member.granted is None


def test_an_epoch_is_given_back_though_nothing_else_has_changed(
    core: Core, member: Member, standing: Standing
) -> None:
    core.useless_epochs = (5,)
    standing.tell(NOW_NS)
    member.granted = 5
    standing.tell(NOW_NS)
    assert member.told == [("yield", 5)]
