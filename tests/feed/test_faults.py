"""Faults on purpose befall the datagrams in the shares that were asked for."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.faults import REORDER_LIMIT, Faults, FaultShares

DATAGRAMS = [i.to_bytes(4, "big") * 8 for i in range(20_000)]
shares = st.integers(0, 1000).map(lambda permille: permille / 1000)


def arriving(faults: Faults, datagrams: list[bytes]) -> list[bytes]:
    return [arrived for data in datagrams for arrived in faults.apply(data)]


def test_clean_network_changes_nothing() -> None:
    faults = FaultShares().faults(Random(1))
    assert faults.is_clean
    assert arriving(faults, DATAGRAMS[:100]) == DATAGRAMS[:100]


def test_dropped_datagrams_do_not_arrive() -> None:
    faults = Faults(drop=0.05, random=Random(1))
    arrived = arriving(faults, DATAGRAMS)
    survivors = set(arrived)
    assert arrived == [data for data in DATAGRAMS if data in survivors]
    assert len(DATAGRAMS) - len(arrived) == faults.counters.dropped
    assert 0.04 < faults.counters.dropped / len(DATAGRAMS) < 0.06


def test_duplicated_datagrams_arrive_twice() -> None:
    faults = Faults(duplicate=0.05, random=Random(1))
    arrived = Counter(arriving(faults, DATAGRAMS))
    assert set(arrived) == set(DATAGRAMS)
    assert set(arrived.values()) == {1, 2}
    assert len([n for n in arrived.values() if n == 2]) == faults.counters.duplicated
    assert 0.04 < faults.counters.duplicated / len(DATAGRAMS) < 0.06


def test_reordered_datagrams_arrive_a_few_places_late() -> None:
    faults = Faults(reorder=0.1, random=Random(1))
    arrived = arriving(faults, DATAGRAMS)
    assert len(set(arrived)) == len(arrived) >= len(DATAGRAMS) - REORDER_LIMIT
    places = {data: place for place, data in enumerate(arrived)}
    moved = [places[data] - i for i, data in enumerate(DATAGRAMS) if data in places]
    assert max(map(abs, moved)) <= 2 * REORDER_LIMIT
    assert 0.09 < faults.counters.reordered / len(DATAGRAMS) < 0.11
    assert sum(1 for place in moved if place > 0) / len(DATAGRAMS) > 0.09


def test_corrupted_datagrams_are_never_the_ones_that_were_sent() -> None:
    faults = Faults(corrupt=1, random=Random(1))
    for data in DATAGRAMS[:1000]:
        [arrived] = faults.apply(data)
        assert arrived != data
        assert len(arrived) <= len(data)
    assert faults.counters.corrupted == 1000
    assert faults.apply(b"") == [b""]


def test_same_seed_brings_the_same_faults() -> None:
    bad = FaultShares.parse("drop=5,duplicate=5,reorder=10,corrupt=1")
    outcomes = [arriving(bad.faults(Random(seed)), DATAGRAMS[:2000]) for seed in (1, 1, 2)]
    assert outcomes[0] == outcomes[1] != outcomes[2]


@given(
    drop=shares,
    duplicate=shares,
    reorder=shares,
    seed=st.integers(0, 1000),
)
def test_few_datagrams_are_held_back_and_none_is_invented(
    drop: float, duplicate: float, reorder: float, seed: int
) -> None:
    faults = Faults(drop=drop, duplicate=duplicate, reorder=reorder, random=Random(seed))
    arrived: Counter[bytes] = Counter()
    for data in DATAGRAMS[:100]:
        arrived.update(faults.apply(data))
        assert len(faults._late) <= 2 * REORDER_LIMIT
    assert set(arrived) <= set(DATAGRAMS[:100])
    assert max(arrived.values(), default=0) <= 2
    counters = faults.counters
    on_the_way = len(faults._late)
    assert arrived.total() + on_the_way == 100 - counters.dropped + counters.duplicated


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", FaultShares()),
        ("drop=5", FaultShares(drop=0.05)),
        (
            "drop=5,duplicate=5,reorder=10,corrupt=1",
            FaultShares(drop=0.05, duplicate=0.05, reorder=0.1, corrupt=0.01),
        ),
        (" corrupt = 0.5 , drop=100 ,", FaultShares(drop=1, corrupt=0.005)),
    ],
)
def test_shares_are_read_from_text_in_percent(text: str, expected: FaultShares) -> None:
    assert FaultShares.parse(text) == expected
    assert FaultShares.parse(str(expected)) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("lose=5", "name each of drop, duplicate, reorder, corrupt once"),
        ("drop=5,drop=6", "once at most"),
        ("drop", "write a percentage"),
        ("drop=much", 'as in "drop=5"'),
        ("drop=101", "drop is not from 0 to 100 percent"),
        ("drop=-1", "not from 0 to 100"),
        ("drop=nan", "not from 0 to 100"),
    ],
)
def test_text_that_makes_no_sense_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        FaultShares.parse(text)
