"""docs/operating.md: its example is a configuration, and its tables name every key there is."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import tomli_w
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from tools.cli import _COMMANDS
from tools.configuration import Configuration
from tools.console import ExitStatus

TEXT = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
SECTIONS = {
    "Top level": Configuration,
    "[feed]": Configuration.model_fields["feed"].annotation,
    "[shards.N]": get_args(Configuration.model_fields["shards"].annotation)[1],
    "[zookeeper]": Configuration.model_fields["zookeeper"].annotation,
    "[failover]": Configuration.model_fields["failover"].annotation,
    "[journal]": get_args(Configuration.model_fields["journal"].annotation)[0],
    "[[instruments]]": get_args(Configuration.model_fields["instruments"].annotation)[0],
    "[replicas.NAME]": get_args(Configuration.model_fields["replicas"].annotation)[1],
    "[retransmitters.NAME]": get_args(Configuration.model_fields["retransmitters"].annotation)[1],
    "[gateways.NAME]": get_args(Configuration.model_fields["gateways"].annotation)[1],
}
SECTIONS |= {
    f"[gateways.NAME.{name}]": field.annotation
    for name, field in SECTIONS["[gateways.NAME]"].model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}


def table(section: str) -> dict[str, str]:
    """The keys of a section and their defaults, as the page has them."""
    (body,) = re.findall(rf"^### {re.escape(section)}\n(.*?)(?=^##)", TEXT, re.M | re.S)
    return dict(re.findall(r"^\| `(\w+)` \| (?:`(.*?)`)? ?\|", body, re.M))


def default(field: Any) -> str:
    """A field's default as it would stand in the file; empty where there is none."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or value is None:
        return ""
    if isinstance(value, BaseModel | dict):
        return "{}"
    if isinstance(value, int | tuple):
        return tomli_w.dumps({"key": value}).removeprefix("key = ").rstrip()
    return f'"{value}"'


@pytest.mark.parametrize("section", SECTIONS)
def test_table_has_every_key_with_its_default(section: str) -> None:
    fields = SECTIONS[section].model_fields
    assert table(section) == {name: default(field) for name, field in fields.items()}


def test_example_is_a_configuration(tmp_path: Path) -> None:
    example, *_ = re.findall(r"^```toml\n(.*?)^```", TEXT, re.M | re.S)
    path = tmp_path / "exchange.toml"
    path.write_text(example)
    configuration = Configuration.load(path)
    assert [each.symbol for each in configuration.instruments] == ["AAPL", "MSFT"]
    assert list(configuration.shard_settings().holders) == ["e1", "e2", "e3", "r1", "r2"]


def test_every_command_and_exit_status_is_told() -> None:
    (commands,) = re.findall(r"^## Commands\n(.*?)(?=^## )", TEXT, re.M | re.S)
    named = {
        word
        for words in re.findall(r"^\| (`.*?`) \|", commands, re.M)
        for word in re.findall(r"`(?:lockstep )?([\w-]+)`", words)
    }
    assert named == {command.name for command in _COMMANDS}
    assert set(map(int, re.findall(r"^\| (\d+) \|", TEXT, re.M))) == set(ExitStatus)
