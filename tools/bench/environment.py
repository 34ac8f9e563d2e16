"""What figures hold for: the processor, the Python, and which implementations are in use."""

import contextlib
import os
import platform
from pathlib import Path

from engine.markets import MachineNotBuiltError, market_builder
from engine.settings import MachineKind
from feed import frames, sockets
from gateway import kernel
from tools.console import UsageError


def describe_environment(machine: MachineKind | None = None) -> str:
    """One line: processor, cores, Python, the machine in use and the codecs."""
    in_use = ", ".join(codecs_in_use())
    return (
        f"{_processor()}, {os.cpu_count()} cores; {platform.python_implementation()} "
        f"{platform.python_version()}; machine in use: {machine_in_use(machine)}; codecs: {in_use}"
    )


def machine_in_use(machine: MachineKind | None) -> MachineKind:
    """The machine that a replica runs when asked for this one, or for none.

    Raises UsageError when the kernel is asked for and was not built.
    """
    try:
        return MachineKind(market_builder(machine)().kind)
    except MachineNotBuiltError as error:
        raise UsageError(str(error)) from error


def codecs_in_use() -> list[str]:
    """The module behind each selector of the feed and the gateway."""
    return [frames.IN_USE, sockets.IN_USE, *kernel.IN_USE]


def _processor() -> str:
    """The processor's name; Linux keeps it where Python does not look."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
