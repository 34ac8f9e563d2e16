"""The shape of the code: which way imports point, and what stands at the top level."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "feed": set[str](),
    "zk": set[str](),
    "engine": {"feed", "zk"},
    "retransmitter": {"feed", "zk"},
    "gateway": {"engine", "feed", "zk"},
    "tools": {"engine", "feed", "retransmitter", "gateway", "zk"},
}
ENGINE_MODULES_OF_THE_GATEWAY = {"engine.rejects"}
TOP_LEVEL = {
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "docs",
    "engine",
    "feed",
    "gateway",
    "pyproject.toml",
    "retransmitter",
    "tests",
    "tools",
    "zk",
}


def imported_modules(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            modules.add(node.module)
    return modules


@pytest.mark.parametrize("package", [name for name in MAY_IMPORT if (ROOT / name).is_dir()])
def test_imports_point_one_way(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        ours = {name for name in imported_modules(path) if name.split(".")[0] in MAY_IMPORT}
        foreign = {name for name in ours if name.split(".")[0] != package}
        assert {name.split(".")[0] for name in foreign} <= MAY_IMPORT[package], path
        if package == "gateway":
            engine = {name for name in foreign if name.split(".")[0] == "engine"}
            assert engine <= ENGINE_MODULES_OF_THE_GATEWAY, path


def test_the_list_does_not_know_the_machine() -> None:
    machine = {"engine.market", "engine.book", "engine.matching", "engine.checks"}
    for name in ("machine", "reference", "commit", "primary", "backup", "takeover", "replica"):
        assert not imported_modules(ROOT / "engine" / f"{name}.py") & machine


def test_nothing_stands_at_the_top_level_but_the_layout() -> None:
    listing = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = {line.split("/")[0] for line in listing.stdout.splitlines()}
    assert {name for name in names if not name.startswith(".")} <= TOP_LEVEL
