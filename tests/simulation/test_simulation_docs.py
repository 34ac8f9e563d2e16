"""docs/simulation.md: its tables name every option, key and kind of fault, and its bug is one."""

import re
from collections import Counter
from pathlib import Path

from tools.simulation.bugs import CATALOGUE
from tools.simulation.command import simulate
from tools.simulation.faults import FAULTS
from tools.simulation.outcome import Outcome
from tools.simulation.planted import Patch, PlantedBug
from tools.simulation.report import PlantedReport, SeedsReport
from tools.simulation.shard_faults import SHARD_FAULTS

TEXT = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text()


def section(title: str) -> str:
    (body,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## )", TEXT, re.M | re.S)
    return str(body)


def first_cells(table: str) -> list[str]:
    """What stands in backticks in the first column, in the order of the rows."""
    return [
        word
        for cell in re.findall(r"^\| (`.*?`) \|", table, re.M)
        for word in re.findall(r"`([^`]+)`", cell)
    ]


def test_every_fault_is_told_in_its_order() -> None:
    kinds = [fault.kind for fault in (*FAULTS, *SHARD_FAULTS)]
    assert first_cells(section("The faults")) == kinds


def test_every_option_is_told() -> None:
    told = {words.split()[0] for words in first_cells(section("Options"))}
    options = {name for name in simulate.__annotations__ if name != "return"}
    assert told == {f"--{name.removeprefix('as_').replace('_', '-')}" for name in options}


def test_every_key_of_the_json_is_told() -> None:
    seeds, planted = section("JSON").split("With `--planted`:")
    report = SeedsReport(range(1))
    report.add(Outcome(0, faults=Counter(pause=1)))
    assert first_cells(seeds) == list(report.summary())
    assert first_cells(planted) == list(PlantedReport([], range(1)).summary())


def test_example_of_a_planted_bug_is_in_the_catalogue() -> None:
    (example,) = re.findall(r"^```python\n(PlantedBug.*?)^```", TEXT, re.M | re.S)
    owners = {patch.owner.__name__: patch.owner for bug in CATALOGUE for patch in bug.patches}
    bug = eval(example.rstrip(",\n"), {"PlantedBug": PlantedBug, "Patch": Patch, **owners})
    assert bug in CATALOGUE


def test_example_of_a_fault_is_in_the_code() -> None:
    (example,) = re.findall(r"^```python\n(def .*?)^```", TEXT, re.M | re.S)
    code = Path(__file__).parents[2] / "tools" / "simulation" / "faults.py"
    assert example in code.read_text()
