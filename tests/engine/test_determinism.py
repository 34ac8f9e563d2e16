"""The machine is a pure function of its commands; nothing else in its sources or its process."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from feed.codec import encode_group
from tests.engine.driving import drive
from tests.engine.machines import MACHINES, ByBytes
from tests.engine.strategies import seeded_submissions

ROOT = Path(__file__).parents[2]
MAY_IMPORT = {
    "__future__",
    "collections",
    "collections.abc",
    "dataclasses",
    "enum",
    "feed.book",
    "feed.codec",
    "feed.messages",
    "hashlib",
    "itertools",
    "operator",
    "sortedcontainers",
    "struct",
    "typing",
}
BANNED_CALLS = {"__import__", "float", "hash", "id", "input", "open", "print"}


def machine_files() -> list[Path]:
    """The sources that decide what a command causes: engine/market.py, and what it imports here."""
    found: list[Path] = []
    wanted = [ROOT / "engine/market.py"]
    while wanted:
        path = wanted.pop()
        if path not in found:
            found.append(path)
            modules = imported_modules(ast.parse(path.read_text()))
            wanted += [
                ROOT / f"{module.replace('.', '/')}.py"
                for module in modules
                if module.startswith("engine.")
            ]
    return found


def imported_modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "engine":
            yield from (f"engine.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


def impurities(source: str) -> list[str]:
    """What in a source could make two runs of it differ."""
    tree = ast.parse(source)
    found = [
        f"imports {module}"
        for module in imported_modules(tree)
        if module not in MAY_IMPORT and not module.startswith("engine.")
    ]
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=float() | complex()):
                found.append(f"line {node.lineno}: a float")
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                found.append(f"line {node.lineno}: true division")
            case ast.Call(func=ast.Name(id=name)) if name in BANNED_CALLS:
                found.append(f"line {node.lineno}: {name}()")
    found += [
        f"line {node.lineno}: a set that is more than looked into: {ast.unparse(node)}"
        for node in sets_not_only_looked_into(tree)
    ]
    return found


def sets_not_only_looked_into(tree: ast.AST) -> Iterator[ast.expr]:
    """Sets have an order that changes from run to run; `x in some_set` alone does not show it."""
    harmless: list[ast.AST] = []
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            pairs = zip(node.ops, node.comparators, strict=True)
            harmless += [
                right for operator, right in pairs if isinstance(operator, ast.In | ast.NotIn)
            ]
        elif isinstance(node, ast.Assign) and makes_a_set(node.value):
            harmless.append(node.value)
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.ImportFrom) and node.module == "engine.codes":
            names += [alias.name for alias in node.names]  # which are all sets
        elif isinstance(node, ast.Call) and makes_a_set(node):
            harmless += node.args
    for node in ast.walk(tree):
        if not isinstance(node, ast.expr) or node in harmless:
            continue
        is_named = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        if makes_a_set(node) or (is_named and ast.unparse(node) in names):
            yield node


def makes_a_set(node: ast.expr) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in ("set", "frozenset")
    return isinstance(node, ast.Set | ast.SetComp)


def test_machine_is_made_of_the_files_that_it_should_be() -> None:
    names = {path.name for path in machine_files()}
    assert {"market.py", "book.py", "matching.py", "checks.py", "rejects.py"} <= names
    assert names.isdisjoint({"process.py", "replica.py", "control.py", "commit.py"})


@pytest.mark.parametrize("path", machine_files(), ids=lambda path: path.name)
def test_machines_source_holds_nothing_that_could_differ_between_runs(path: Path) -> None:
    assert impurities(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from random import Random",
        "import os, socket",
        "def f():\n    import asyncio",
        "x = 0.5",
        "x = a / b",
        "x /= 2",
        "x = float(y)",
        "key = hash(symbol)",
        "key = id(order)",
        "for x in {1, 2}: pass",
        "x = [y for y in set(z)]",
        "codes = frozenset({1, 2})\nx = list(codes)",
        "codes = {x for x in y}\nfor x in codes: pass",
        "x = sum(frozenset(y))",
        "return_value = max({x for x in y})",
    ],
)
def test_source_that_could_differ_between_runs_is_found_out(source: str) -> None:
    assert len(impurities(source)) >= 1


def test_source_that_only_looks_into_sets_is_fine() -> None:
    source = (
        "codes = frozenset({1, 2})\nx = 1 in codes or 2 not in codes or 3 in {3, 4}\ny = 7 // 2"
    )
    assert impurities(source) == []


def fingerprint(machine: str, seed: int) -> str:
    """A checksum of every frame of a seed's list, and of the state at its end."""
    market = ByBytes(MACHINES[machine])
    frames = sha256()
    for step in drive(market, seeded_submissions(seed, count=500)):
        for frame in encode_group((step.command, *step.events), step.sequence, step.time_ns):
            frames.update(frame)
    return frames.hexdigest() + market.digest().hex()


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_frames_and_state_are_the_same_whatever_the_hash_seed(machine: str, hash_seed: str) -> None:
    program = (
        f"from tests.engine.test_determinism import fingerprint; print(fingerprint({machine!r}, 7))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert run.stdout.strip() == fingerprint("reference", 7)
