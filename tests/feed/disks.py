"""Folders to keep a journal in: on a RAM disk, where syncing costs nothing, and on small ones."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_RAM_DISK = Path("/dev/shm")


@contextmanager
def ram_folder() -> Iterator[Path]:
    """An empty folder in memory, where the system has such a place."""
    place = _RAM_DISK if os.access(_RAM_DISK, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place, prefix="lockstep-test-") as folder:
        yield Path(folder)


@contextmanager
def small_disk(folder: Path, size: str = "1m") -> Iterator[Path]:
    """A file system of its own that soon is full; skips the test where none can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount_read_only(folder: Path) -> None:
    """Have a small disk refuse to be written to; nothing may be open on it for that."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
