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


@pytest.mark.skipif(sys.platform != "linux", reason="reads its own size from /proc")
@pytest.mark.skipif(
    "asan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer ends where memory does"
)
def test_core_that_ran_out_of_memory_says_so_and_stops() -> None:
    command = [sys.executable, "-c", FILL]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        ["full", "of no use", "True True"],
    ), done.stderr
