"""Fuzz everything that reads bytes from outside: `./tools/fuzz --help`.

The cases run in a process of their own, so that one that crashes it, or never ends, is named too.
"""

import argparse
import mmap
import os
import signal
import struct
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from random import SystemRandom

from tests.fuzzing.targets import TARGETS, case

CASE_LIMIT_SECONDS = 10  # one case takes less than a millisecond
CASES_PER_TURN = 50
_UNDER_WAY = struct.Struct("=QQ")  # which target, and which of its cases


def main(arguments: Sequence[str]) -> int:
    """Fuzz for some time; 1 as soon as a case fails."""
    parser = argparse.ArgumentParser(prog="./tools/fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long (default: 60)")
    parser.add_argument("--target", choices=TARGETS, action="append", help="only this one")
    parser.add_argument("--seed", type=int, help="the first case's number (default: by chance)")
    parser.add_argument("--input", help="judge these bytes, in hexadecimal, by --target")
    options = parser.parse_args(arguments)
    targets = options.target or list(TARGETS)
    if options.input is not None:
        return 0 if judge(targets[0], bytes.fromhex(options.input)) else 1
    first = SystemRandom().randrange(10**9) if options.seed is None else options.seed
    print(f"fuzzing {', '.join(targets)} from case {first} on", flush=True)
    with mmap.mmap(-1, _UNDER_WAY.size) as under_way:
        child = os.fork()
        if child == 0:
            os._exit(fuzz(targets, first, options.seconds, under_way))
        return watch(child, targets, under_way)


def fuzz(targets: Sequence[str], first: int, seconds: float, under_way: mmap.mmap) -> int:
    """Judge cases until the time is over; 1 as soon as one fails."""
    ends_at = time.monotonic() + seconds
    done: Counter[str] = Counter()
    while time.monotonic() < ends_at:
        for place, target in enumerate(targets):
            for number in range(first + done[target], first + done[target] + CASES_PER_TURN):
                under_way[:] = _UNDER_WAY.pack(place, number)
                if not judge(target, case(target, number)):
                    tell(target, number)
                    return 1
            done[target] += CASES_PER_TURN
    counts = ", ".join(f"{count:,} {target}" for target, count in done.items())
    print("nothing failed:", counts, flush=True)
    return 0


def watch(child: int, targets: Sequence[str], under_way: mmap.mmap) -> int:
    """Wait for the process that judges; name its last case if that is the end of it."""
    last, since = b"", time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        place, number = _UNDER_WAY.unpack(under_way[:])
        if ended and os.WIFSIGNALED(status):
            print(f"crashed: {signal.Signals(os.WTERMSIG(status)).name}", file=sys.stderr)
            tell(targets[place], number)
            return 1
        if ended:
            return os.waitstatus_to_exitcode(status)
        if under_way[:] != last:
            last, since = under_way[:], time.monotonic()
        elif time.monotonic() - since > CASE_LIMIT_SECONDS:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            print(f"took more than {CASE_LIMIT_SECONDS} seconds", file=sys.stderr)
            tell(targets[place], number)
            return 1
        time.sleep(0.05)


def judge(target: str, data: bytes) -> bool:
    """Whether all that has to hold for these bytes does; says what does not."""
    try:
        TARGETS[target].judge(data)
    except Exception:
        traceback.print_exc()
        return False
    return True


def tell(target: str, number: int) -> None:
    """Say how a case is to be seen again."""
    print(f"failed: ./tools/fuzz --target {target} --seed {number} --seconds 1", file=sys.stderr)
    print(f"its input: --target {target} --input {case(target, number).hex()}", file=sys.stderr)
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
