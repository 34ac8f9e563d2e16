"""When a replica stands for the next epoch."""

from dataclasses import replace

import pytest

from zk.election import PrimaryRecord, ShardView, should_stand

E1 = PrimaryRecord("e1", 4, "127.0.0.1:1")
HEALTHY = ShardView(
    epoch=4,
    epoch_version=7,
    primary=E1,
    holders=frozenset({"e1", "e2", "e3", "r1", "r2"}),
    suspicions=frozenset(),
)


def suspected_by(*names: str, epoch: int = 4) -> frozenset[tuple[int, str]]:
    return frozenset((epoch, name) for name in names)


def test_nobody_stands_while_the_primary_is_not_suspected() -> None:
    assert not should_stand(HEALTHY, "e2")


def test_a_replica_stands_when_the_session_of_the_primary_is_over() -> None:
    assert should_stand(replace(HEALTHY, primary=None), "e2")


def test_the_first_epoch_is_stood_for_when_there_never_was_a_primary() -> None:
    assert should_stand(
        ShardView(
            epoch=0,
            epoch_version=0,
            primary=None,
            holders=frozenset({"e2"}),
            suspicions=frozenset(),
        ),
        "e2",
    )


@pytest.mark.parametrize(
    ("suspecting", "expected"),
    [
        (("e2",), False),
        (("e2", "e3"), False),  # two of four are no majority
        (("e2", "e3", "r1"), True),
        (("e2", "e3", "r1", "r2"), True),
        (("e3", "r1", "r2"), True),  # without the one that stands
    ],
)
def test_a_majority_of_the_live_holders_other_than_the_primary_is_needed(
    suspecting: tuple[str, ...], expected: bool
) -> None:
    assert should_stand(replace(HEALTHY, suspicions=suspected_by(*suspecting)), "e2") is expected


def test_holders_that_are_dead_are_not_waited_for() -> None:
    view = replace(
        HEALTHY,
        holders=frozenset({"e1", "e2", "e3", "r1"}),
        suspicions=suspected_by("e2", "e3"),
    )
    assert should_stand(view, "e3")


def test_the_primary_does_not_count_against_itself_even_when_its_node_under_members_is_gone() -> (
    None
):
    view = replace(
        HEALTHY,
        holders=frozenset({"e2", "e3", "r1"}),
        suspicions=suspected_by("e1", "e2"),
    )
    assert not should_stand(view, "e2")
    assert should_stand(replace(view, suspicions=suspected_by("e2", "r1")), "e2")


def test_who_is_not_alive_or_not_a_holder_does_not_count() -> None:
    suspicions = suspected_by("e2", "e3", "r9", "g1")
    assert not should_stand(replace(HEALTHY, suspicions=suspicions), "e2")


@pytest.mark.parametrize("epoch", [3, 5])
def test_suspicions_of_another_epoch_count_for_nothing(epoch: int) -> None:
    suspicions = suspected_by("e2", "e3", "r1", "r2", epoch=epoch)
    assert not should_stand(replace(HEALTHY, suspicions=suspicions), "e2")


def test_a_primary_never_stands_against_itself() -> None:
    suspicions = suspected_by("e2", "e3", "r1", "r2")
    assert not should_stand(replace(HEALTHY, suspicions=suspicions), "e1")


def test_a_record_of_an_older_epoch_is_no_primary() -> None:
    assert should_stand(replace(HEALTHY, primary=E1._replace(epoch=3)), "e2")


def test_nobody_stands_on_what_is_out_of_date() -> None:
    assert not should_stand(replace(HEALTHY, primary=None, epoch_version=None), "e2")
    assert not should_stand(replace(HEALTHY, primary=E1._replace(epoch=5)), "e2")


def test_a_primary_that_zookeeper_forgot_may_return_unless_a_majority_suspects_it() -> None:
    view = replace(HEALTHY, primary=None, primary_may_return=True)
    assert not should_stand(view, "e2")
    assert not should_stand(replace(view, suspicions=suspected_by("e2", "e3")), "e2")
    assert should_stand(replace(view, suspicions=suspected_by("e2", "e3", "r1")), "e2")
