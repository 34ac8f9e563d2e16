"""`send`, `load` and `client` as a user calls them, against one exchange over real sockets."""

import asyncio
import json
import os
import sys
from typing import Any, NamedTuple

from engine.settings import InstrumentSettings
from tools.processes import ClientSpec, Exchange

WITHIN_S = 60  # a busy machine takes seconds to start a command


class Done(NamedTuple):
    """What a command did."""

    status: int
    stdout: str
    stderr: str


class Shell:
    """Runs commands on an exchange as a user would."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def run(self, *words: str, typed: str = "", **environment: str) -> Done:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "tools.cli", *words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | environment,
        )
        async with asyncio.timeout(WITHIN_S):
            stdout, stderr = await process.communicate(typed.encode())
        assert process.returncode is not None
        return Done(process.returncode, stdout.decode(), stderr.decode())

    async def send(self, client: str, *words: str, typed: str = "") -> Done:
        return await self.run(
            *("send", "-c", str(self._exchange.configuration_path), "--client", client, *words),
            typed=typed,
            LOCKSTEP_SECRET=self._exchange.secrets[client],
        )


def test_orders_are_sent_loaded_and_refused_from_the_shell() -> None:
    asyncio.run(_trade())


async def _trade() -> None:
    exchange = Exchange(
        clients={name: ClientSpec() for name in ("ALICE", "BOB", "CAROL")},
        symbols=[
            InstrumentSettings(symbol="AAPL"),
            InstrumentSettings(symbol="BOND", short_sale=False),
        ],
    )
    async with exchange:
        shell = Shell(exchange)
        await _one_order_from_the_shell(shell)
        await _orders_at_the_prompt(shell)
        await _load(shell, exchange)
        await _a_new_client(shell, exchange)


async def _one_order_from_the_shell(shell: Shell) -> None:
    bought = await shell.send("ALICE", "buy", "100", "AAPL", "--price", "187.25")
    assert bought == (0, "1 accepted: buy 100 AAPL at 187.25\n1 stays open: 100\n", "")
    sold = await shell.send("BOB", "sell", "60", "AAPL", "--price", "187.2", "--json")
    assert sold.status == 0
    outcome = json.loads(sold.stdout)
    (trade,) = outcome.pop("trades")
    assert (trade["quantity"], trade["price"]) == (60, "187.25")
    assert outcome.pop("order_number") < trade["match"]
    assert outcome == {
        "status": "executed",
        "user_ref_num": 1,
        "quantity": 60,
        "executed": 60,
        "canceled": 0,
        "open": 0,
        "reason": None,
        "text": None,
    }
    refused = await shell.send("BOB", "short", "5", "BOND", "--price", "99")
    assert refused == (1, "2 rejected: the instrument may not be sold short\n", "")


async def _orders_at_the_prompt(shell: Shell) -> None:
    typed = "buy 10 BOND 99.5\norders\nreplace 2 20 99.75\ncancel all\norders\nquit\n"
    talk = await shell.send("ALICE", "--interactive", typed=typed)
    assert (talk.status, talk.stderr) == (0, "")
    assert talk.stdout.splitlines() == [
        "logged in; live orders: 1; type help for what can be typed",
        "2 accepted: buy 10 BOND at 99.50",
        "     1  buy 40 AAPL at 187.25",
        "     2  buy 10 BOND at 99.50",
        "3 replaces 2: buy 20 BOND at 99.75",
        "4 cancels all orders",
        "1 canceled: 40, as asked",
        "3 canceled: 20, as asked",
        "no live orders",
    ]


async def _load(shell: Shell, exchange: Exchange) -> None:
    loaded = await shell.run(
        *("load", "-c", str(exchange.configuration_path)),
        *("--secrets", str(exchange.secrets_path), "--rate", "400", "--seconds", "1.5", "--json"),
    )
    assert loaded.status == 0, loaded.stderr
    summary: dict[str, Any] = json.loads(loaded.stdout)
    sent = summary["sent"]
    assert summary["clients"] == 3
    assert sent["total"] > 100
    assert summary["unanswered"] == 0
    assert summary["answered"] == sent["total"] - sent["cancel"]
    assert summary["events"]["executed"] > 0
    status = await exchange.status()
    assert status["live_orders"] == 0  # all were canceled at the end
    assert status["commands"] > sent["total"] / 2


async def _a_new_client(shell: Shell, exchange: Exchange) -> None:
    (gateway,) = exchange.configuration.gateways.values()
    file = ("--file", str(gateway.clients))
    added = await shell.run("client", "add", "dave", *file, "--json")
    exchange.secrets["DAVE"] = json.loads(added.stdout)["secret"]
    bought = await shell.send("DAVE", "buy", "1", "AAPL", "--price", "1", "--time-in-force", "fok")
    assert (bought.status, bought.stderr) == (0, "")
    await shell.run("client", "remove", "DAVE", *file)
    refused = await shell.send("DAVE", "buy", "1", "AAPL", "--price", "1")
    assert refused.status == 1
    assert "log-in refused" in refused.stderr
