"""docs/client.md is what the declarations say, and its quick start runs as it stands."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from gateway import ouch
from gateway.ouch_codec import encode
from gateway.rejects import GatewayReject
from tests.gateway.exchange_side import rejected, unnumbered
from tests.gateway.fake_gateway import FakeExchange, FakeGateway
from tools.client_docs import PAGE, main, page, tables

GUARD_SECONDS = 20
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_tables_in_the_guide_are_those_of_the_declarations() -> None:
    assert PAGE.read_text() == page(PAGE.read_text()), "run: python -m tools.client_docs"


def test_a_guide_without_marks_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide = tmp_path / "client.md"
    guide.write_text("no marks")
    monkeypatch.setattr("tools.client_docs.PAGE", guide)
    with pytest.raises(ValueError, match="marks"):
        main()
    assert guide.read_text() == "no marks"
    guide.write_text(PAGE.read_text().replace("| user_ref_num | 1 | 4 |", "| a lie | 1 | 4 |"))
    main()
    assert guide.read_text() == PAGE.read_text()


def test_a_value_stands_where_the_table_says() -> None:
    _, _, section = tables().partition("#### `E` Executed\n")
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \|", section.partition("\n#")[0], re.MULTILINE)
    message = ouch.Executed(1, 2, 3, 4, 5, 6)
    data = encode(message)
    values = {name: int.from_bytes(data[int(at) : int(at) + int(size)]) for name, at, size in rows}
    assert values == {
        "type": ord("E"),
        **dict(zip(message._fields[:-1], message, strict=False)),
        "appendage_length": 0,
    }


def quick_start(gateway: FakeGateway) -> Any:
    """The guide's first program, with the address of a gateway that is there."""
    program = BLOCKS[0].replace("127.0.0.1:30100", str(gateway.address))
    assert program != BLOCKS[0]
    namespace: dict[str, Any] = {"__name__": "quick_start"}
    exec(compile(program, str(PAGE), "exec"), namespace)
    return namespace["main"]


def test_the_quick_start_trades(capsys: pytest.CaptureFixture[str]) -> None:
    async def test() -> None:
        exchange = FakeExchange()
        async with asyncio.timeout(GUARD_SECONDS), FakeGateway(exchange) as gateway:
            await quick_start(gateway)()
            assert [type(command) for command in exchange.commands] == [
                ouch.EnterOrder,
                ouch.CancelOrder,
            ]

    asyncio.run(test())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "on the book as order 1001"
    assert lines[1].startswith("ended: Canceled(")


def test_the_quick_start_says_why_an_order_was_refused(capsys: pytest.CaptureFixture[str]) -> None:
    async def test() -> None:
        exchange = FakeExchange()
        async with asyncio.timeout(GUARD_SECONDS), FakeGateway(exchange) as gateway:
            refusal = unnumbered(rejected(1, GatewayReject.RATE_EXCEEDED))
            gateway.spoil = lambda _: refusal
            await quick_start(gateway)()

    asyncio.run(test())
    assert capsys.readouterr().out == f"refused: {GatewayReject.RATE_EXCEEDED.text}\n"


def test_the_other_examples_are_python() -> None:
    assert len(BLOCKS) >= 2
    for block in BLOCKS:
        compile(block, str(PAGE), "exec")
