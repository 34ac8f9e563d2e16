"""Logs, signals, JSON and exit statuses, as every command has them."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import StringIO

import pytest
import structlog

from tools.console import (
    CommandError,
    ExitStatus,
    Role,
    Summary,
    UsageError,
    configure_logging,
    explain_os_error,
    print_json,
    run_role,
    stop_at_end_of_stdin,
    stop_on_signals,
)


class Terminal(StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    handlers = logging.getLogger().handlers[:]
    configure_logging(json_lines=True)
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers


def logged(write: Callable[[], object], stderr: StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        write()
    return stderr.getvalue()


def test_log_is_one_json_object_a_line_where_stderr_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def write() -> None:
        configure_logging()
        structlog.get_logger().info("gap filled", first=3, last=5)
        structlog.get_logger().debug("not for now")

    (line,) = logged(write, StringIO(), monkeypatch).splitlines()
    event = json.loads(line)
    assert list(event) == ["timestamp", "level", "event", "first", "last"]
    assert event["timestamp"].endswith("Z")
    assert (event["level"], event["event"], event["first"]) == ("info", "gap filled", 3)


def test_log_is_text_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def write() -> None:
        configure_logging()
        structlog.get_logger().warning("gap filled", first=3)

    text = logged(write, Terminal(), monkeypatch)
    assert "gap filled" in text
    assert not text.startswith("{")


def test_format_and_details_of_the_log_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def write() -> None:
        configure_logging(json_lines=True, verbose=True)
        structlog.get_logger().debug("a detail")

    assert json.loads(logged(write, Terminal(), monkeypatch))["level"] == "debug"


def test_traceback_in_the_log_shows_no_local_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    def write() -> None:
        configure_logging()
        secret = "sesame"
        try:
            raise ValueError(f"not {len(secret)}")
        except ValueError:
            structlog.get_logger().exception("failed")

    text = logged(write, StringIO(), monkeypatch)
    assert json.loads(text)["exception"][0]["exc_value"] == "not 6"
    assert "sesame" not in text


def test_what_asyncio_logs_goes_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail_in_a_callback() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(0)

    def write() -> None:
        configure_logging()
        asyncio.run(fail_in_a_callback())

    event = json.loads(logged(write, StringIO(), monkeypatch))
    assert event["level"] == "error"
    assert event["exception"][0]["exc_type"] == "ZeroDivisionError"


def test_json_result_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"sequence": 3, "text": "two\nlines"})
    assert capsys.readouterr().out == '{"sequence": 3, "text": "two\\nlines"}\n'


def test_optimized_python_is_refused() -> None:
    started = subprocess.run(
        [sys.executable, "-O", "-m", "tools.cli", "--help"], capture_output=True, text=True
    )
    assert started.returncode == ExitStatus.USAGE
    assert "python -O" in started.stderr
    assert started.stdout == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_stops_and_a_second_one_does_not_wait(number: signal.Signals) -> None:
    async def situation() -> None:
        stop = asyncio.Event()
        before = signal.getsignal(number)
        stop_on_signals(stop)
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await stop.wait()
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        assert signal.getsignal(number) is usual
        signal.signal(number, before)

    asyncio.run(situation())


async def until_stopped(stop: asyncio.Event, ready: Callable[[], None]) -> Summary:
    ready()
    await stop.wait()
    return {"role": "test"}


async def failing_in_a_callback(stop: asyncio.Event, ready: Callable[[], None]) -> Summary:
    asyncio.get_running_loop().call_soon(lambda: 1 // 0)
    return await until_stopped(stop, ready)


async def refusing(stop: asyncio.Event, ready: Callable[[], None]) -> Summary:
    raise CommandError("no such thing")


def run_orphaned(role: Role) -> None:
    """Run a supervised role whose parent is gone as soon as it looks."""
    reading, writing = os.pipe()
    os.close(writing)
    saved = os.dup(0)
    try:
        os.dup2(reading, 0)
        run_role(role, supervised=True, as_json=True)
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(reading)


def test_supervised_role_says_ready_and_stops_when_its_parent_is_gone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_orphaned(until_stopped)
    assert capsys.readouterr().out == 'ready\n{"role": "test"}\n'


def test_role_stops_with_status_1_on_an_error_that_nobody_caught(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as raised:
        run_role(failing_in_a_callback, supervised=False, as_json=True)
    assert raised.value.code == ExitStatus.FAILED
    output = capsys.readouterr()
    assert output.out == '{"role": "test"}\n'
    assert "ZeroDivisionError" in output.err


def test_refusal_of_a_role_reaches_the_caller() -> None:
    with pytest.raises(CommandError, match="no such thing"):
        run_role(refusing, supervised=False, as_json=False)


def test_supervision_needs_a_stdin_whose_end_can_be_told() -> None:
    async def situation() -> None:
        stop_at_end_of_stdin(asyncio.Event())

    saved = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        os.dup2(null, 0)
        with pytest.raises(UsageError, match="--supervised"):
            asyncio.run(situation())
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(null)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("can't listen at 127.0.0.1:1: Address already in use", "configure another"),
        ("can't listen at 10.9.9.9:1: Cannot assign requested address", "correct it"),
    ],
)
def test_os_error_is_told_with_its_remedy(text: str, remedy: str) -> None:
    assert remedy in explain_os_error(OSError(text))
