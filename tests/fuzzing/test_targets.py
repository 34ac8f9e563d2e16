"""A short turn of each fuzzing target, always the same; ./tools/fuzz takes as long as one wants."""

import os
import signal
from collections import Counter
from collections.abc import Callable
from unittest.mock import patch

import pytest

from feed.codec import WireError, decode_packet
from tests.fuzzing.__main__ import main
from tests.fuzzing.targets import TARGETS, case


@pytest.mark.parametrize("target", TARGETS)
def test_no_case_of_a_short_turn_fails(target: str) -> None:
    for number in range(500):
        TARGETS[target].judge(case(target, number))


@pytest.mark.long
@pytest.mark.parametrize("target", TARGETS)
def test_no_case_of_a_long_turn_fails(target: str) -> None:
    for number in range(1_000, 201_000):
        TARGETS[target].judge(case(target, number))


def test_a_number_stands_for_the_same_bytes_every_time() -> None:
    for target in TARGETS:
        assert [case(target, n) for n in range(30)] == [case(target, n) for n in range(30)]


def test_cases_are_nearly_right() -> None:
    """Some are let through, and each check stops some."""
    outcomes: Counter[str] = Counter()
    for number in range(1_000):
        try:
            decode_packet(case("packets", number))
            outcomes["right"] += 1
        except WireError as error:
            outcomes[str(error)[:12]] += 1
    assert outcomes["right"] > 100
    assert len(outcomes) > 8


def fail(_data: bytes) -> None:
    raise KeyError("an error that nobody has documented")


def crash(_data: bytes) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang(_data: bytes) -> None:
    signal.pause()


@pytest.mark.parametrize(
    ("judge", "what"), [(fail, "KeyError"), (crash, "SIGKILL"), (hang, "took more than")]
)
def test_a_case_that_fails_is_shown_with_what_shows_it_again(
    judge: Callable[[bytes], None],
    what: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("tests.fuzzing.__main__.CASE_LIMIT_SECONDS", 0.2)
    monkeypatch.setitem(TARGETS, "packets", TARGETS["packets"]._replace(judge=judge))
    assert main(["--target", "packets", "--seed", "17"]) == 1
    said = capfd.readouterr().err
    assert what in said
    assert "./tools/fuzz --target packets --seed 17 " in said
    assert f"--input {case('packets', 17).hex()}" in said


def test_bytes_that_are_given_are_judged() -> None:
    assert main(["--target", "packets", "--input", case("packets", 17).hex()]) == 0
    with patch("tests.feed.frame_twins.WireError", KeyError):
        assert main(["--target", "packets", "--input", "00"]) == 1
