"""The command line as a whole: its help, its laziness and its exit statuses."""

import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from tools.cli import _COMMANDS, build_app, main
from tools.console import ExitStatus

HEAVY = (
    *("pydantic", "construct", "sortedcontainers", "argon2", "kazoo"),
    *("engine", "feed", "gateway", "zk"),
)
COMMANDS = [command.name for command in _COMMANDS]


def lockstep(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.cli", *arguments], capture_output=True, text=True, timeout=60
    )


def test_help_lists_every_command_and_loads_none() -> None:
    program = (
        "import sys\n"
        "from tools.cli import main\n"
        "sys.argv = ['lockstep', '--help']\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        f"    print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == ExitStatus.OK
    for command in _COMMANDS:
        assert f" {command.name} " in done.stdout
        assert command.help in done.stdout
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_ends_with_an_example(name: str) -> None:
    app = build_app([name])
    help_of = {words: help_text(app, words) for words in subcommands(app, name)}
    assert help_of
    for words, text in help_of.items():
        examples = text[text.index("Example") :]
        assert f"lockstep {' '.join(words)}" in examples


def subcommands(app: typer.Typer, name: str) -> list[tuple[str, ...]]:
    """The commands that one line of the list stands for: itself, or those under it."""
    for group in app.registered_groups:
        if group.name == name:
            assert group.typer_instance is not None
            under = group.typer_instance.registered_commands
            return [(name, each.name or each.callback.__name__) for each in under if each.callback]
    return [(name,)]


def help_text(app: typer.Typer, words: tuple[str, ...]) -> str:
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80"})
    assert result.exit_code == ExitStatus.OK, result.output
    return result.output


def test_paragraphs_of_the_help_flow_and_examples_keep_their_lines() -> None:
    lines = [line.strip() for line in help_text(build_app(["demo"]), ("demo",)).splitlines()]
    assert "lockstep demo" in lines
    assert "lockstep demo --headless --seconds 10 --json" in lines
    first = lines.index(
        "Starts three replicas, two retransmitters, two gateways and a ZooKeeper server"
    )
    assert all(len(line) > 60 for line in lines[first : first + 3])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nonsense"], "nonsense"),
        (["replica"], "--configuration"),
        (["halt", "-c", "exchange.toml"], "{symbol}"),
        (["--log-format", "xml", "replica"], "xml"),
    ],
)
def test_wrong_usage_has_status_2_and_names_what_is_wrong(arguments: list[str], text: str) -> None:
    result = CliRunner().invoke(build_app(arguments), arguments)
    assert result.exit_code == ExitStatus.USAGE
    assert text in result.output


def test_refusal_is_one_line_without_a_traceback() -> None:
    done = lockstep("replica", "-n", "e1", "-c", "/nowhere/exchange.toml")
    assert done.returncode == ExitStatus.USAGE
    assert done.stderr == (
        "lockstep: /nowhere/exchange.toml: No such file or directory; give an existing file\n"
    )


def test_operating_systems_refusal_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(words: object) -> typer.Typer:
        raise OSError("can't listen at 127.0.0.1:1: Address already in use")

    monkeypatch.setattr("tools.cli.build_app", refuse)
    with pytest.raises(SystemExit) as raised:
        main()
    assert raised.value.code == ExitStatus.FAILED
    assert capsys.readouterr().err.startswith("lockstep: can't listen at 127.0.0.1:1")
