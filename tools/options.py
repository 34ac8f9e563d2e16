"""The options that several commands share, so that they are named and explained alike."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

ConfigurationOption: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--configuration",
        "-c",
        metavar="FILE",
        help="The exchange's TOML file; docs/operating.md tells its keys.",
    ),
]
NameOption: TypeAlias = Annotated[
    str,
    typer.Option("--name", "-n", help="Which one it is: its section's name in the configuration."),
]
JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object on stdout.")
]
SupervisedOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--supervised",
        help='For programs that start this one: say "ready" on stdout, and stop when stdin ends.',
    ),
]
FaultsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--faults",
        metavar="SHARES",
        help="Spoil what arrives from the feed: percentages of drop, duplicate, reorder, corrupt, "
        "as in drop=5,reorder=10.",
    ),
]
