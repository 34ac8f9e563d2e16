"""The operator's commands, through the engine's control port: status, halt, resume."""

import asyncio
from typing import Annotated, Any, TypeAlias

import typer

from engine.control import ControlError, ask
from tools.configuration import Configuration
from tools.console import CommandError, print_json
from tools.options import ConfigurationOption, JsonOption

SymbolArgument: TypeAlias = Annotated[str, typer.Argument(help="The instrument, as AAPL.")]


def status(configuration: ConfigurationOption, as_json: JsonOption = False) -> None:
    """Show what the engine has done so far, and the digests of its book and state.

    Example:
    lockstep status -c exchange.toml
    """
    _show(_ask(configuration, {"request": "status"}), as_json)


def halt(
    symbol: SymbolArgument, configuration: ConfigurationOption, as_json: JsonOption = False
) -> None:
    """Halt an instrument: it takes cancels only, until it resumes. Its orders stay.

    Example:
    lockstep halt AAPL -c exchange.toml
    """
    _show(_ask(configuration, {"request": "halt", "symbol": symbol}), as_json)


def resume(
    symbol: SymbolArgument, configuration: ConfigurationOption, as_json: JsonOption = False
) -> None:
    """Let a halted instrument trade again.

    Example:
    lockstep resume AAPL -c exchange.toml
    """
    _show(_ask(configuration, {"request": "resume", "symbol": symbol}), as_json)


def _ask(configuration: ConfigurationOption, request: dict[str, str]) -> dict[str, Any]:
    settings = Configuration.load(configuration)
    try:
        return asyncio.run(ask(settings.engine.control, request))
    except ControlError as error:
        unreachable = error.__cause__ is not None
        hint = "; is it running, with this configuration?" if unreachable else ""
        raise CommandError(f"{error}{hint}") from error


def _show(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    width = max(map(len, answer))
    for key, value in answer.items():
        print(f"{key.replace('_', ' '):{width}}  {value}")
