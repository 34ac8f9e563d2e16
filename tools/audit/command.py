"""`lockstep audit`: proves from the holders' journals that the exchange did what it should."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from engine.markets import MachineNotBuiltError, market_builder
from engine.settings import MachineKind
from tools.audit.auditing import audit_journals, write_report
from tools.console import CommandError, ExitStatus, UsageError, explain_os_error, print_json
from tools.journal.folders import open_journals
from tools.options import JsonOption


def audit(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...", help="Holders' folders, or folders above them: all that are below."
        ),
    ],
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the report there too, as text, to be signed."),
    ] = None,
    machine: Annotated[
        MachineKind,
        typer.Option(help="What computes the list anew; the kernel is the faster one."),
    ] = MachineKind.REFERENCE,
    as_json: JsonOption = False,
) -> None:
    """Audit an exchange by the journals of its holders, and print a report that can be signed.

    Reads every frame, has a machine carry out every command once more, and compares all that came
    of it; holds the holders' copies against one another; and checks, in books of its own and
    without any machine, that each trade follows from its two orders. Nothing is changed. The exit
    status is 1 when anything differs.

    Example: lockstep audit journal --report audit.txt
    """
    try:
        build = market_builder(machine)
    except MachineNotBuiltError as error:
        raise UsageError(str(error)) from error
    with open_journals(folders) as journals:
        made = audit_journals(journals, build)
    if report is not None:
        try:
            write_report(made, report)
        except OSError as error:
            raise CommandError(f"{report}: {explain_os_error(error)}") from error
    if as_json:
        print_json(made.summary())
    else:
        print(*made.lines(), sep="\n")
    if not made.is_clean:
        sys.exit(ExitStatus.FAILED)
