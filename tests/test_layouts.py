"""The layouts that the kernels are compiled with are those that the wire is declared with."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools.layouts import layouts

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("path", layouts(), ids=lambda path: str(path.relative_to(ROOT)))
def test_generated_layout_is_what_the_declarations_come_to(path: Path) -> None:
    assert path.read_text() == layouts()[path], "run python -m tools.layouts"


def test_no_kernel_declares_a_layout_of_its_own() -> None:
    """What the generator writes is all that is called layout.pxd."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*layout.pxd"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {ROOT / name for name in listing.stdout.split()} == set(layouts())


def test_layouts_are_the_same_whatever_the_hash_seed() -> None:
    program = "from tools.layouts import layouts; print(*layouts().values())"
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "4242")
    }
    assert len(texts) == 1
