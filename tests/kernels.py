"""The compiled modules of this tree: which there should be, and what they are made of."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
_CIMPORT = re.compile(r"^\s*from ([\w.]+) cimport (\w*)|^\s*cimport ([\w.]+)", re.MULTILINE)
_HEADER = re.compile(r'^cdef extern from "([^"<]+)"|^#?include "([^"]+)"', re.MULTILINE)


class Kernel(NamedTuple):
    """A module as pyproject.toml declares it."""

    name: str
    source: Path
    depends: frozenset[Path]

    @property
    def built(self) -> Path | None:
        """The compiled module, which stands beside its source."""
        return next(self.source.parent.glob(f"{self.source.stem}.*.so"), None)

    def made_of(self) -> set[Path]:
        """The files that its source, and they in turn, take in."""
        found: set[Path] = set()
        waiting = [self.source]
        while waiting:
            path = waiting.pop()
            text = path.read_text()
            names = [match.groups() for match in _CIMPORT.finditer(text)]
            modules = {f"{package}.{name}" for package, name, _ in names if package}
            modules |= {whole or package for package, _, whole in names}
            files = {ROOT / f"{module.replace('.', '/')}.pxd" for module in modules}
            files |= {path.parent / (one or other) for one, other in _HEADER.findall(text)}
            new = {file for file in files if file.is_file()} - found
            found |= new
            waiting += new
        return found


def declared() -> list[Kernel]:
    """The kernels that an installation compiles, where it can."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [
        Kernel(
            module["name"],
            ROOT / module["sources"][0],
            frozenset(ROOT / name for name in module.get("depends", ())),
        )
        for module in project["tool"]["setuptools"]["ext-modules"]
    ]


def tracked(*patterns: str) -> list[Path]:
    """The files of this tree that match; what is ignored, such as a build, is no part of it."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listing.stdout.split() if (ROOT / name).is_file()]


def copy_tree(to: Path) -> None:
    """Copy the tree without anything that was built in it."""
    for path in tracked():
        target = to / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)


def has_compiler() -> bool:
    """Whether kernels can be built here."""
    return shutil.which("gcc") is not None
