"""Simulated TCP when a process, its machine or the connection dies."""

from collections.abc import Callable
from functools import partial

import pytest

from tests.simulation.lines import Pair
from tools.simulation.pipe import BUFFER_BYTES
from tools.simulation.tcp import End

SEEDS = range(20)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_other_side_of_a_killed_process_soon_hears_of_it(seed: int) -> None:
    pair = Pair(seed)
    a, b = pair.connected()
    pair.b.kill()
    pair.run(2)
    assert a.told in (["made", "reset"], ["made", "eof", "lost"])
    assert b.told == ["made"]
    assert pair.tcp.connections_of(pair.a) == pair.tcp.connections_of(pair.b) == []


def test_a_death_shows_as_an_end_or_as_a_reset() -> None:
    endings = set()
    for seed in SEEDS:
        pair = Pair(seed)
        a, _ = pair.connected()
        pair.b.kill()
        pair.run(2)
        endings.add(a.told[-1])
    assert endings == {"reset", "lost"}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_death_behind_a_cut_is_heard_of_once_that_heals(seed: int) -> None:
    pair = Pair(seed)
    a, _ = pair.connected()
    pair.network.cut(["b"], ["a"])
    pair.b.kill()
    pair.run(5000)
    assert a.told == ["made"]
    pair.network.heal()
    pair.run(300)
    assert a.told[-1] in ("reset", "lost")


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_hears_of_a_machine_that_is_gone_until_it_is_back_and_is_sent_something(
    seed: int,
) -> None:
    pair = Pair(seed)
    a, b = pair.connected()
    pair.b.vanish()
    pair.run(1000)
    pair.write(a.end, b"anybody there?")
    steps = pair.network.world.steps
    pair.run(5000)
    assert a.told == ["made"]
    assert pair.network.world.steps - steps < 40, "it is tried too often"
    pair.start_b()
    pair.run(300)
    assert a.told == ["made", "reset"]
    assert (b.data, len(pair.accepted)) == (b"", 1)


@pytest.mark.parametrize("says", [lambda end: end.write(b"still there?"), End.write_eof])
def test_who_sends_nothing_never_hears_of_a_machine_that_was_gone(
    says: Callable[[End], None],
) -> None:
    pair = Pair()
    a, _ = pair.connected()
    pair.b.vanish()
    pair.start_b()
    pair.run(60_000)
    assert a.told == ["made"]
    pair.during(pair.a, partial(says, a.end))
    pair.run(2)
    assert a.told == ["made", "reset"]


def test_what_was_on_its_way_to_a_machine_that_goes_is_sent_again_and_refused() -> None:
    pair = Pair()
    a, b = pair.connected()
    pair.write(a.end, b"too late")
    pair.b.vanish()
    pair.run(1000)
    assert a.told == ["made"]
    pair.start_b()
    pair.run(300)
    assert (a.told, b.data) == (["made", "reset"], b"")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_dead_connection_is_silent_for_ever_while_both_processes_live(seed: int) -> None:
    pair = Pair(seed)
    a, b = pair.connected()
    pair.write(a.end, b"last words")
    a.end.vanish()
    pair.write(b.end, b"hello?")
    pair.run(60_000)
    assert (a.told, a.data) == (["made"], b"")
    assert (b.told, b.data) == (["made"], b"last words")
    assert pair.tcp.connections_of(pair.a) == []
    pair.during(pair.b, b.end.abort)
    pair.run(1)
    steps = pair.network.world.steps
    pair.run(60_000)
    assert b.told == ["made", "lost"]
    assert pair.network.world.steps - steps <= 3, "what nobody cares about is still tried"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_later_life_sees_nothing_of_an_earlier_one(seed: int) -> None:
    pair = Pair(seed)
    a, b = pair.connected()
    pair.write(a.end, b"to the first life")
    pair.b.kill()
    pair.start_b()
    pair.run()
    assert (b.told, b.data) == (["made"], b"")
    assert len(pair.accepted) == 1
    again, other = pair.connected()
    pair.write(again.end, b"to the second")
    pair.run()
    assert (other.data, a.told[-1] in ("reset", "lost")) == (b"to the second", True)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_process_that_dies_between_two_writes_has_sent_the_first_one_at_most(seed: int) -> None:
    pair = Pair(seed)
    a, b = pair.connected()
    pair.a.sends_to_live = 1

    def write_twice() -> None:
        a.end.write(b"one")
        a.end.write(b"two")
        raise AssertionError("it lived on")

    pair.during(pair.a, write_twice)
    pair.run()
    assert not pair.a.is_alive
    assert b.data in (b"", b"one")
    assert b.told[-1] in ("reset", "lost")
    assert a.told == ["made"]


def test_a_process_may_die_of_connecting_and_of_writing_on() -> None:
    pair = Pair()
    pair.a.sends_to_live = 0
    pair.during(pair.a, pair.dial)
    pair.run()
    assert (pair.a.is_alive, pair.accepted) == (False, [])
    pair.a.start()
    a, b = pair.connected()
    pair.b.pause()
    pair.write(a.end, bytes(BUFFER_BYTES + 1))
    pair.run()
    pair.a.sends_to_live = 0
    pair.b.unpause()
    pair.run()
    assert (pair.a.is_alive, len(b.data)) == (False, BUFFER_BYTES)


def test_breaking_all_connections_of_a_process_tells_both_sides_and_nothing_skips_a_hole() -> None:
    for seed in SEEDS:
        pair = Pair(seed)
        a, b = pair.connected()
        pair.b.pause()
        pair.write(a.end, b"1")
        pair.tcp.break_all(pair.b)
        pair.write(a.end, b"2")
        pair.run()
        pair.b.unpause()
        pair.run()
        assert (a.told, b.told) == (["made", "reset"], ["made", "reset"])
        assert b.data in (b"", b"1")
