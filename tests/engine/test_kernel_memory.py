"""The kernel where memory ends: it says so, and goes on from no half of a command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.markets import KernelMarket

if KernelMarket is None:
    pytest.skip("the kernel was not built here", allow_module_level=True)

ROOT = Path(__file__).parent.parent.parent
# In a process of its own, as what is left of its memory is what is limited.
FILL = """
import resource
import struct
from engine._market_c import MatchingCore

core = MatchingCore(2**31)
core.list_instrument(b"FULL    ", 1, 1)
core.log_in(1, ord("F"))
operation = struct.Struct("<BBHIIIII")
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), resource.RLIM_INFINITY))
number = 0
try:
    while number < 10_000_000:
        number += 1
        core.run(operation.pack(ord("O"), ord("B"), 0, 1, 1, number, number, 1))
except MemoryError:
    print("full")
try:
    core.run(operation.pack(ord("X"), 0, 0, 1, 1, 1, 0, 0))
except MemoryError:
    print("of no use")
print(number > 10_000, core.live_orders in (number - 1, number))
"""

LEAVE = """
import resource
from engine.markets import KernelMarket
from feed.datagrams import Submission, encode_submission
from feed.messages import AdoptInstrument, MoveOut, SetTradingState, ShortSale, TradingState
from tests.engine.moves import GOOG, ORDER

market = KernelMarket()
commands = [AdoptInstrument(GOOG, 5, 10, ShortSale.FORBIDDEN, 0, 1)]
commands += [ORDER._replace(source_sequence=n, user_ref_num=n) for n in range(1, 40_001)]
commands += [SetTradingState(GOOG, TradingState.HALTED)]
data = b"".join(encode_submission(Submission(0, command)) for command in commands)
sequence = market.submit(data, 1, 0).run.next_sequence
print(market.live_orders)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20), resource.RLIM_INFINITY))
try:
    market.carry_out(MoveOut(GOOG, 2), sequence, 0)
except MemoryError:
    print("full")
try:
    market.carry_out(MoveOut(GOOG, 2), sequence, 0)
except MemoryError:
    print("of no use")
"""
NEEDS_LIMITS = pytest.mark.skipif(sys.platform != "linux", reason="reads its own size from /proc")
NEEDS_AN_END = pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer ends where memory does"
)


@NEEDS_LIMITS
@NEEDS_AN_END
def test_core_that_ran_out_of_memory_says_so_and_stops() -> None:
    assert lines_of(FILL) == ["full", "of no use", "True True"]


@NEEDS_LIMITS
@NEEDS_AN_END
def test_market_that_ran_out_of_memory_in_the_middle_of_a_move_stops() -> None:
    assert lines_of(LEAVE) == ["40000", "full", "of no use"]


def lines_of(script: str) -> list[str]:
    """What a process that is well until its end prints."""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
