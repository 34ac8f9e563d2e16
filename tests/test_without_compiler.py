"""Without a C compiler Lockstep installs all the same, and does the same on plain Python."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from engine.markets import market_builder
from tests.kernels import copy_tree, declared

# A session of one client, on whatever machine is there: prints it, and a checksum of all it said.
PROGRAM = """
import engine, sys
from hashlib import sha256
from engine.markets import market_builder
from feed.datagrams import Submission, encode_submission
from feed.messages import *

symbol = symbol_field("ACME")
def enter(number, side, quantity):
    return EnterOrder(1, number, symbol, side, OrderType.LIMIT, TimeInForce.DAY, PostOnly.NO,
        quantity, 500, 0, Capacity.AGENCY, NO_CLIENT_ORDER_ID)
commands = [
    DefineInstrument(symbol, 100, 1, ShortSale.ALLOWED), LogIn(1, 1, SelfTradePrevention.OFF),
    enter(1, Side.BUY, 10), enter(2, Side.SELL, 4), CancelOrder(1, 1, 0), CancelOrder(1, 1, 0),
]
machine = market_builder()()
data = b"".join(encode_submission(Submission(1, command)) for command in commands)
run, not_admitted = machine.submit(data, 1, 7)
machine.check()
print(engine.__path__[0], machine.kind, len(run), not_admitted)
print(sha256(run.data + machine.digest()).hexdigest())
"""


def session(path: Path, folder: Path) -> list[str]:
    """What the program prints with the packages of `path`."""
    # Without `site`, which would add the packages of this tree: only those of its dependencies.
    libraries = sysconfig.get_path("purelib")
    run = subprocess.run(
        [sys.executable, "-P", "-S", "-c", PROGRAM],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{path}:{libraries}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return run.stdout.split()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Lockstep was installed with a compiler that always fails."""
    folder = tmp_path_factory.mktemp("without-compiler")
    copy_tree(folder / "source")
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--target", "here"]
    install = subprocess.run(
        [*pip, "--no-build-isolation", "--verbose", "./source"],
        cwd=folder,
        env={**os.environ, "CC": "false"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert install.returncode == 0, install.stderr
    said = install.stdout + install.stderr
    for kernel in declared():
        assert f'building extension "{kernel.name}" failed' in said
    return folder / "here"


def test_lockstep_installs_and_runs_on_the_reference(installed: Path, tmp_path: Path) -> None:
    assert list(installed.rglob("*.so")) == []
    path, *printed = session(installed, tmp_path)
    assert path == str(installed / "engine")
    assert printed[:3] == ["reference", "7", "1"]
    here = session(Path(__file__).parent.parent, tmp_path)
    assert here[1] == market_builder()().kind
    assert here[2:] == printed[1:]
