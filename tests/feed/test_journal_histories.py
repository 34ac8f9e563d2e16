"""Random histories of a journal: whatever ends it, and wherever, nothing is lost or invented."""

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from feed import segments
from feed.settings import SyncPolicy
from tests.feed.journal_model import History

STEPS = 60


@pytest.fixture(autouse=True, scope="module")
def _short_pieces() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "MARK_BYTES", 200)
        yield


def live(seed: int, sync: SyncPolicy, faults: bool) -> set[str]:
    """A history to its end; what has happened in it."""
    history = History(Random(seed), sync, faults=faults)
    try:
        for _ in range(STEPS):
            history.step()
    except BaseException:
        note(f"{sync} {faults} {seed}: {' '.join(history.log)}")
        raise
    return history.outcomes


both = pytest.mark.parametrize("faults", [False, True], ids=["", "faults"])


@both
@pytest.mark.parametrize("sync", SyncPolicy)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=15)
def test_nothing_is_lost_or_invented(sync: SyncPolicy, faults: bool, seed: int) -> None:
    live(seed, sync, faults)


@pytest.mark.long
@both
@pytest.mark.parametrize("sync", SyncPolicy)
@settings(max_examples=5_000)
@given(seed=st.integers(0, 2**32))
def test_nothing_is_lost_or_invented_in_thousands_of_histories(
    sync: SyncPolicy, faults: bool, seed: int
) -> None:
    live(seed, sync, faults)


def test_histories_have_all_in_them_that_may_happen() -> None:
    seen = set().union(*(live(seed, SyncPolicy.GROUP, True) for seed in range(12)))
    assert seen == {
        "closed",
        "cut short",
        "failed",
        "lost what was not acknowledged",
        "power cut",
    }
