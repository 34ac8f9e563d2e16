"""What is found of the containers that a production object refers to."""

from collections import deque

import pytest

from engine.market import Market
from feed.cache import FrameCache
from feed.run import run_of_frames
from gateway.settings import UplinkLimits
from gateway.uplink import Uplink
from tests.feed.holding import FIRST, new, take, voter
from tools.simulation.growth import MOST_ELEMENTS, check_growth, containers


def test_containers_are_found_in_slots_dicts_and_in_one_another() -> None:
    made = voter()
    early = [new(FIRST, each, each, epoch=1) for each in range(4, 9)]
    take(made, new(FIRST, 1, 2, epoch=1), *early)
    found = dict(containers(made))
    assert found["Holder._receiver._held"] == 5
    assert found["Holder._receiver._gaps._parts"] == 1
    assert any(path.endswith("._reigns") for path in found)
    assert not any("cache" in path for path in found), "that is there to hold the list"


@pytest.mark.parametrize("kind", [list, deque, set, bytearray])
def test_whatever_has_grown_is_named(kind: type) -> None:
    uplink = Uplink(UplinkLimits())
    check_growth("g1", uplink)
    uplink._pending = kind(range(MOST_ELEMENTS + 1))
    with pytest.raises(AssertionError, match=r"g1 holds 101 elements in Uplink\._pending"):
        check_growth("g1", uplink)


def test_what_holds_the_list_may_grow() -> None:
    cache = FrameCache(1 << 20)
    cache.append(run_of_frames(1, FIRST))
    assert not list(containers(cache))
    assert not list(containers(Market()))


def test_two_that_refer_to_each_other_are_looked_at_once() -> None:
    circle: list[object] = []
    circle.append(circle)
    assert list(containers(circle)) == [("list", 1)]
