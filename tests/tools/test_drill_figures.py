"""What a drill measures and compares: silences, distributions, endings."""

import pytest

from tools.drill.endings import Ending, differences, shrinking_epochs
from tools.drill.silence import Silence, longest_silence, worst_silence
from tools.drill.statistics import Distribution, distribution

MS = 1_000_000


def test_distribution_of_nothing_has_no_figures() -> None:
    assert distribution([]) == Distribution(None, None, None)


@pytest.mark.parametrize(
    ("count", "p99"), [(1, 1.0), (50, 50.0), (100, 99.0), (101, 100.0), (200, 198.0)]
)
def test_percentile_is_the_nearest_rank(count: int, p99: float) -> None:
    times = [each * MS for each in range(count, 0, -1)]
    assert distribution(times) == Distribution((count + 1) / 2, p99, float(count))


def test_silence_spans_the_last_answer_before_and_the_first_one_after() -> None:
    answered = [1, 2, 3, 9, 10, 11]
    assert longest_silence("C", answered, fault_ns=4, until_ns=11) == Silence("C", 3, 9)


def test_silence_before_the_fault_does_not_count() -> None:
    answered = [1, 50, 51, 53, 54]
    assert longest_silence("C", answered, fault_ns=52, until_ns=54) == Silence("C", 51, 53)


def test_silence_that_begins_well_after_the_fault_counts() -> None:
    """The fault itself went unnoticed, but what it led to did not."""
    answered = [1, 2, 3, 4, 9, 10]
    assert longest_silence("C", answered, fault_ns=2, until_ns=10) == Silence("C", 4, 9)


def test_silence_after_the_last_command_does_not_count() -> None:
    answered = [1, 2, 3, 4, 90]
    assert longest_silence("C", answered, fault_ns=2, until_ns=3).length_ns == 1


def test_silence_that_never_ended_lasts_until_the_end() -> None:
    assert longest_silence("C", [1, 2], fault_ns=3, until_ns=100) == Silence("C", 2, 100)


def test_silence_of_a_client_that_heard_nothing_at_all() -> None:
    assert longest_silence("C", [], fault_ns=3, until_ns=100) == Silence("C", 3, 100)


def test_answer_under_way_at_the_end_belongs_to_the_silence() -> None:
    assert longest_silence("C", [1, 2, 30], fault_ns=3, until_ns=20) == Silence("C", 2, 30)


def test_worst_silence_is_that_of_the_client_that_waited_longest() -> None:
    heard = {"A": [1, 5, 6], "B": [1, 9], "C": [1, 2, 3, 4, 5, 6, 7, 8, 9]}
    assert worst_silence(heard, fault_ns=2, until_ns=9) == Silence("B", 1, 9)


WITNESS = Ending("subscriber", 10, "list", "book")


def test_equal_endings_have_no_differences() -> None:
    replicas = [Ending(name, 10, "list", "book", "state") for name in ("e1", "e2")]
    assert (
        differences(WITNESS, [*replicas, Ending("r1", 10, "list"), Ending("g1", 10, "list")]) == []
    )


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        (Ending("r1", 9, "list"), "r1 ended at sequence number 9"),
        (Ending("r1", 10, None), "r1 does not hold the list"),
        (Ending("g1", 10, "another"), "g1 has another list"),
        (Ending("e1", 10, "list", "another", "state"), "e1 has other books"),
    ],
)
def test_each_difference_from_the_subscriber_is_told(ending: Ending, told: str) -> None:
    (difference,) = differences(WITNESS, [ending])
    assert difference.startswith(told)


def test_replicas_with_different_states_are_told() -> None:
    replicas = [Ending(name, 10, "list", "book", f"state of {name}") for name in ("e1", "e2")]
    assert differences(WITNESS, replicas) == ["e2 has another state than e1"]


def test_epochs_of_a_list_only_grow() -> None:
    assert shrinking_epochs([]) == shrinking_epochs([1, 2, 5]) == []
    assert shrinking_epochs([1, 3, 3, 2]) == [
        "epoch 3 follows epoch 3 in the list",
        "epoch 2 follows epoch 3 in the list",
    ]
