"""Operators' commands in tests, asked of replicas that answer and of ones that do not."""

import asyncio
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from tests.tools.replica_statuses import MEMBERS, control_ports, status
from tools.cli import build_app
from tools.configuration import Configuration


def invoke(configuration: Path, *words: str) -> Result:
    arguments = [*words, "-c", str(configuration)]
    return CliRunner().invoke(build_app(words[:1]), arguments, env={"COLUMNS": "120"})


def lockstep(configuration: Path, *words: str) -> str:
    """What a command prints that ends well; raises what it refuses with."""
    result = invoke(configuration, *words)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def asked_while(
    configuration: Configuration, folder: Path, answers: dict[str, dict[str, Any]], *words: str
) -> tuple[Result, dict[str, Any]]:
    """A command's result while replicas answer, and what each of them was asked."""
    path = folder / "exchange.toml"
    configuration.save(path)

    async def situation() -> tuple[Result, dict[str, Any]]:
        async with control_ports(configuration, answers) as asked:
            return await asyncio.to_thread(invoke, path, *words), asked

    return asyncio.run(situation())


LED_BY_E2 = {
    "e1": status("e1", epoch=3, sequence=117, state="returning", machine="reference", primary="e2"),
    "e2": status(
        "e2",
        state="primary",
        primary="e2",
        members={name: MEMBERS[name] for name in ("e1", "e2", "r1", "g1")},
        holders={
            "e1": {"sequence": 0, "vote": False},
            "e2": {"sequence": 120, "vote": True},
            "e3": {"sequence": 90, "vote": True},
            "r1": {"sequence": 119, "vote": True},
        },
    ),
}


def in_a_day(day: int) -> dict[str, dict[str, Any]]:
    """What the replicas answer while this day runs."""
    return LED_BY_E2 | {"e2": LED_BY_E2["e2"] | {"day": day}}
