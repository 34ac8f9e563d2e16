"""Simulated TCP: bytes in order, once, whatever the network and the processes do."""

from collections.abc import Callable
from functools import partial

import pytest

from tests.simulation.lines import PORT, TIMEOUT_NS, Pair, Recorder
from tools.simulation.network import Process, Weather
from tools.simulation.pipe import BUFFER_BYTES
from tools.simulation.tcp import End

SEEDS = range(20)
TEXT = bytes(range(256)) * 8


def send_text(pair: Pair, end: End) -> None:
    """All of TEXT, in pieces of 16 bytes, one every 0.1 ms."""
    for at in range(0, len(TEXT), 16):
        pair.write(end, TEXT[at : at + 16])
        pair.run(0.1)


@pytest.mark.parametrize("seed", SEEDS)
def test_bytes_arrive_in_order_and_once_in_a_storm(seed: int) -> None:
    pair = Pair(seed, Weather(drop=0.2, duplicate=0.2, reorder=0.3, corrupt=0.2))
    a, b = pair.connected()
    send_text(pair, a.end)
    send_text(pair, b.end)
    pair.run()
    assert (a.data, b.data) == (TEXT, TEXT)
    assert pair.network.faults["segment sent again"] > 0


def test_bytes_arrive_in_other_pieces_than_they_were_written_in() -> None:
    pair = Pair()
    a, b = pair.connected()
    send_text(pair, a.end)
    pair.run()
    sizes = [len(piece) for piece in b.pieces]
    assert min(sizes) < 16 < max(sizes)


def test_one_event_carries_a_segment_and_none_passes_while_nothing_is_sent() -> None:
    pair = Pair()
    a, _ = pair.connected()
    steps = pair.network.world.steps
    for _ in range(100):
        pair.write(a.end, b"12345678")
        pair.run(1)
    assert pair.network.world.steps - steps - 100 in range(100, 125)  # some are split
    steps = pair.network.world.steps
    pair.run(60_000)
    assert pair.network.world.steps - steps == 1


def test_the_same_seed_gives_the_same_pieces_and_another_seed_others() -> None:
    def pieces(seed: int) -> list[bytes]:
        pair = Pair(seed)
        a, b = pair.connected()
        send_text(pair, a.end)
        return b.pieces

    assert pieces(1) == pieces(1) != pieces(2)


@pytest.mark.parametrize("cut_off", ["a", "b"])
def test_a_cut_stalls_one_direction_alone_until_it_heals(cut_off: str) -> None:
    pair = Pair()
    a, b = pair.connected()
    silent, heard = (a, b) if cut_off == "a" else (b, a)
    pair.network.cut([cut_off], ["b" if cut_off == "a" else "a"])
    for _ in range(3):
        pair.write(a.end, b"ping")
        pair.write(b.end, b"ping")
        pair.run(500)
    assert (heard.data, silent.data) == (b"", b"ping" * 3)
    assert pair.network.faults["connection stalled"] == 1
    pair.network.heal()
    pair.run(300)
    assert (heard.data, silent.data) == (b"ping" * 3, b"ping" * 3)
    assert a.told == b.told == ["made"]


def test_a_stalled_connection_costs_few_events_and_each_stall_is_counted() -> None:
    pair = Pair()
    a, b = pair.connected()
    for count in (1, 2):
        pair.network.cut(["a"], ["b"])
        steps = pair.network.world.steps
        for _ in range(1000):
            pair.write(a.end, b"1")
            pair.run(1)
        assert pair.network.world.steps - steps - 1000 < 20
        pair.network.heal()
        pair.run(300)
        assert b.data == b"1" * 1000 * count
        assert pair.network.faults["connection stalled"] == count


def test_what_was_on_its_way_when_the_network_was_cut_arrives() -> None:
    pair = Pair()
    a, b = pair.connected()
    pair.write(a.end, b"before")
    pair.network.cut(["a"], ["b"])
    pair.write(a.end, b" after")
    pair.run()
    assert b.data == b"before"


def test_a_paused_process_is_connected_by_its_kernel_and_hears_of_all_in_order() -> None:
    pair = Pair()
    pair.b.pause()
    a, _ = pair.dial()
    pair.run()
    assert (a.told, pair.accepted) == (["made"], [])
    for text in (b"one ", b"two ", b"three"):
        pair.write(a.end, text)
        pair.run(10)
    pair.during(pair.a, a.end.close)
    pair.run()
    pair.b.unpause()
    pair.run()
    (b,) = pair.accepted
    assert (b.told, b.data) == (["made", "eof", "lost"], b"one two three")


@pytest.mark.parametrize("stops", [Process.pause, None])
def test_what_nobody_reads_fills_the_kernels_and_then_the_writer(
    stops: Callable[[Process], None] | None,
) -> None:
    pair = Pair()
    a, b = pair.connected()
    a.end.set_write_buffer_limits(high=5000, low=1000)
    for text in (b"all of this", b" is read"):
        pair.write(a.end, text)
        pair.run()
    if stops is None:
        b.end.pause_reading()
    else:
        stops(pair.b)
    pair.write(a.end, bytes(BUFFER_BYTES + 5000))
    pair.run()
    assert (a.end.get_write_buffer_size(), a.told) == (5000, ["made"])
    pair.write(a.end, b"1")
    pair.run()
    assert (a.end.get_write_buffer_size(), a.told) == (5001, ["made", "full"])
    if stops is None:
        b.end.resume_reading()
    else:
        pair.b.unpause()
    pair.run()
    assert (a.end.get_write_buffer_size(), a.told) == (0, ["made", "full", "room"])
    assert b.data == b"all of this is read" + bytes(BUFFER_BYTES + 5000) + b"1"


def test_a_writer_gets_no_room_while_the_news_of_it_is_cut_off() -> None:
    pair = Pair()
    a, b = pair.connected()
    pair.network.cut(["b"], ["a"])
    steps = pair.network.world.steps
    for size in (1,) * 100 + (BUFFER_BYTES - 99,):
        pair.write(a.end, bytes(size))
        pair.run(10)
    assert pair.network.world.steps - steps - 101 < 150
    assert (len(b.data), a.end.get_write_buffer_size()) == (BUFFER_BYTES, 1)
    pair.network.heal()
    pair.run(300)
    assert (len(b.data), a.end.get_write_buffer_size()) == (BUFFER_BYTES + 1, 0)


def test_a_port_where_nobody_listens_refuses_at_once() -> None:
    pair = Pair()
    pair.tcp.close(pair.b, PORT)
    a, _ = pair.dial()
    pair.run(1)
    assert ([why for why, _ in pair.failures], a.told) == (["connection refused"], [])


@pytest.mark.parametrize("restarts", [False, True])
def test_a_port_is_closed_with_the_life_that_listened(restarts: bool) -> None:
    pair = Pair()
    pair.b.kill()
    if restarts:
        pair.b.start()
    pair.dial()
    pair.run(1)
    assert [why for why, _ in pair.failures] == ["connection refused"]


@pytest.mark.parametrize("way", [("a", "b"), ("b", "a"), "gone"])
def test_who_gets_no_answer_fails_after_its_time_out(way: tuple[str, str] | str) -> None:
    pair = Pair()
    if isinstance(way, tuple):
        pair.network.cut([way[0]], [way[1]])
    else:
        pair.b.vanish()
    pair.dial()
    pair.run(10_000)
    assert pair.failures == [("no answer", TIMEOUT_NS)]


def test_an_attempt_succeeds_when_the_network_heals_in_time() -> None:
    pair = Pair()
    pair.network.cut(["a"], ["b"])
    a, _ = pair.dial()
    pair.run(200)
    pair.network.heal()
    pair.run(250)
    assert (a.told, pair.failures) == (["made"], [])


@pytest.mark.parametrize("after_ms", [0, 0.1, 0.3, 0.5])
def test_an_attempt_that_is_given_up_says_nothing_more(after_ms: float) -> None:
    for seed in SEEDS:
        pair = Pair(seed, Weather(shortest_delay_ns=200_000, longest_delay_ns=400_000))
        a, end = pair.dial()
        pair.run(after_ms)
        was_made = bool(a.told)
        pair.during(pair.a, end.abort)
        pair.run()
        assert a.told == (["made", "lost"] if was_made else [])
        assert pair.failures == []
        for b in pair.accepted:  # its kernel may have granted it
            assert b.told[-1] in ("reset", "lost")
        assert pair.tcp.connections_of(pair.b) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_closing_sends_all_that_was_written_and_aborting_does_not(seed: int) -> None:
    size = 3 * BUFFER_BYTES
    for how in (End.close, End.abort):
        pair = Pair(seed)
        a, b = pair.connected()
        pair.write(a.end, bytes(size))
        pair.during(pair.a, partial(how, a.end))
        pair.run()
        assert a.told == (
            ["made", "full", "room", "lost"] if how is End.close else ["made", "full", "lost"]
        )
        if how is End.close:
            assert (b.told, len(b.data)) == (["made", "eof", "lost"], size)
        else:
            assert b.told[-1] in ("reset", "lost")
            assert len(b.data) <= BUFFER_BYTES


def test_an_end_of_the_stream_leaves_the_other_direction_open() -> None:
    pair = Pair()
    a, _ = pair.dial(Recorder(keeps_open=True))
    pair.run()
    (b,) = pair.accepted
    pair.write(b.end, b"goodbye")
    pair.during(pair.b, b.end.write_eof)
    pair.run()
    assert (a.told, a.data, b.told) == (["made", "eof"], b"goodbye", ["made"])
    pair.write(a.end, b"thanks")
    pair.during(pair.a, a.end.close)
    pair.run()
    assert (a.told, b.told, b.data) == (["made", "eof", "lost"], ["made", "eof", "lost"], b"thanks")


def test_the_end_of_the_stream_comes_after_all_that_was_written() -> None:
    pair = Pair()
    a, b = pair.connected()
    pair.write(a.end, bytes(3 * BUFFER_BYTES))
    pair.during(pair.a, a.end.write_eof)
    pair.run()
    assert (len(b.data), b.told) == (3 * BUFFER_BYTES, ["made", "eof", "lost"])
    assert a.told == ["made", "full", "room", "eof", "lost"]


def test_two_ends_of_the_stream_that_cross_are_no_reset() -> None:
    for seed in SEEDS:
        pair = Pair(seed)
        a, _ = pair.dial(Recorder(keeps_open=True))
        pair.run()
        (b,) = pair.accepted
        pair.during(pair.a, a.end.write_eof)
        pair.during(pair.b, b.end.close)
        pair.run()
        assert (a.told, b.told) == (["made", "eof"], ["made", "lost"])


@pytest.mark.parametrize("ends", [End.close, End.abort])
def test_who_ends_a_connection_without_having_read_resets_the_other_side(
    ends: Callable[[End], None],
) -> None:
    for seed in SEEDS:
        pair = Pair(seed)
        a, b = pair.connected()
        b.end.pause_reading()
        pair.write(a.end, b"listen")
        pair.run()
        pair.during(pair.b, partial(ends, b.end))
        pair.run()
        assert a.told == ["made", "reset"]


def test_who_does_not_read_hears_of_the_end_when_it_writes_or_reads_again() -> None:
    for seed in SEEDS:
        pair = Pair(seed)
        a, b = pair.connected()
        a.end.pause_reading()
        pair.b.kill()
        pair.run(1000)
        assert a.told == ["made"]
        if seed % 2:
            pair.during(pair.a, a.end.resume_reading)
        else:
            pair.write(a.end, b"still there?")
            pair.run(10)
            pair.write(a.end, b"still there?")
            pair.during(pair.a, a.end.abort)
        pair.run(10)
        assert a.told in (["made", "reset"], ["made", "eof", "lost"])
        assert b.data == b""


def test_a_peer_is_known_by_its_name() -> None:
    pair = Pair()
    a, b = pair.connected()
    assert a.end.get_extra_info("peername") == ("b", 1)
    assert b.end.get_extra_info("peername") == ("a", 1)
    assert pair.tcp.connections_of(pair.a) == [a.end]
