"""One `lockstep run` at a time for a configuration."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.other_processes import until_gone
from tools import only_run
from tools.console import UsageError
from tools.only_run import only_run_of


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(only_run, "ORPHANS_END_WITHIN_S", 0.0)
    path = tmp_path / "exchange.toml"
    path.write_text('exchange = "TEST"')
    return path


def test_second_run_is_refused_while_the_first_lasts(configuration: Path) -> None:
    with (
        only_run_of(configuration),
        pytest.raises(UsageError, match=r"another .lockstep run. has .*exchange\.toml"),
        only_run_of(configuration),
    ):
        pass
    with only_run_of(configuration):
        pass
    assert list(configuration.parent.iterdir()) == [configuration]


def test_what_a_killed_run_has_left_running_keeps_the_lock(configuration: Path) -> None:
    with only_run_of(configuration) as descriptor:
        orphan = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[descriptor]
        )
    with orphan, pytest.raises(UsageError, match="still run"), only_run_of(configuration):
        pass
    until_gone(orphan.pid)
    with only_run_of(configuration):
        pass


def test_other_processes_do_not_inherit_the_lock(configuration: Path) -> None:
    with only_run_of(configuration) as descriptor:
        assert not os.get_inheritable(descriptor)


def test_missing_file_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"nowhere\.toml: No such file"),
        only_run_of(tmp_path / "nowhere.toml"),
    ):
        pass
