"""`lockstep load`: synthetic order flow over several client connections."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Annotated

import typer

from engine.settings import InstrumentSettings
from gateway.client_errors import ClientError
from tools.configuration import Configuration
from tools.console import CommandError, Summary, UsageError, run_role
from tools.credentials import SecretsOption, find_secret, open_client, read_secrets
from tools.load.run import LoadCounters, LoadPlan, run_load
from tools.options import ConfigurationOption, JsonOption, SupervisedOption


def load(
    configuration: ConfigurationOption,
    rate: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Commands a second, of all clients together.")
    ] = 1000,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="How long; without it, until Ctrl-C.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed sends the same commands.")] = 1,
    symbols: Annotated[
        str | None, typer.Option(metavar="A,B", help="Which instruments; without it, all.")
    ] = None,
    clients: Annotated[
        str | None,
        typer.Option(
            metavar="A,B", help="Which clients send; without it, all in the secrets file."
        ),
    ] = None,
    secrets: SecretsOption = None,
    keep_orders: Annotated[
        bool, typer.Option("--keep-orders", help="Leave the orders in the market at the end.")
    ] = False,
    supervised: SupervisedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send synthetic order flow: orders that rest and that trade, cancels, replaces, reductions,
    immediate-or-cancel and fill-or-kill orders, market, stop and post-only orders, short sales,
    and now and then a mass cancel, around prices that wander.

    Each command is sent at its time, whatever became of the earlier ones. At the end all orders
    are canceled. The exit status is 1 when a command that must be answered was not.

    Example: lockstep load -c exchange.toml --secrets secrets.toml --rate 2000 --seconds 30
    """
    settings = Configuration.load(configuration)
    names = clients.split(",") if clients else list(read_secrets(secrets) if secrets else ())
    if not names:
        raise UsageError("which clients are to send? Give --clients, or --secrets with a file")
    credentials = {name: find_secret(name, secrets) for name in names}
    instruments = choose_instruments(settings, symbols.split(",") if symbols else None)
    plan = LoadPlan(rate, seed, instruments, keeps_orders=keep_orders)
    results: list[Summary] = []

    async def role(stop: asyncio.Event, ready: Callable[[], None]) -> Summary:
        results.append(await send_load(settings, credentials, plan, stop, ready, seconds))
        return results[0]

    run_role(role, supervised=supervised, as_json=as_json)
    (summary,) = results
    if not as_json:
        _print(summary)
    if summary["unanswered"]:
        raise CommandError(f"{summary['unanswered']} commands were not answered")


def choose_instruments(
    configuration: Configuration, symbols: Sequence[str] | None
) -> list[InstrumentSettings]:
    """The listed instruments of these symbols; all without symbols.

    Raises UsageError for a symbol that is not listed.
    """
    listed = {each.symbol: each for each in configuration.instruments}
    unknown = [symbol for symbol in symbols or () if symbol not in listed]
    if unknown:
        raise UsageError(f"{', '.join(unknown)}: not listed; there are {', '.join(listed)}")
    return [listed[symbol] for symbol in (listed if symbols is None else symbols)]


async def send_load(
    configuration: Configuration,
    credentials: Mapping[str, str],
    plan: LoadPlan,
    stop: asyncio.Event,
    ready: Callable[[], None],
    seconds: float | None = None,
) -> Summary:
    """Log the clients in, call `ready`, and send the plan's flow until `stop`; what came of it.

    `credentials` are secrets by client; with `seconds`, it ends by itself. Raises CommandError when
    a client can't log in or go on.
    """
    counters = LoadCounters()
    try:
        async with AsyncExitStack() as stack:
            opened = {
                name: await stack.enter_async_context(
                    open_client(configuration, name, secret, next_sequence=0)
                )
                for name, secret in credentials.items()
            }
            ready()
            begin_ns = time.monotonic_ns()
            if seconds is not None:
                asyncio.get_running_loop().call_later(seconds, stop.set)
            unanswered = await run_load(opened, plan, counters, stop)
            elapsed_s = (time.monotonic_ns() - begin_ns) / 1e9
    except ClientError as error:
        raise CommandError(str(error)) from error
    return {
        "role": "load",
        "clients": len(credentials),
        "seed": plan.seed,
        "rate": plan.rate,
        "seconds": round(elapsed_s, 3),
        **counters.summary(),
        "unanswered": unanswered,
    }


def _print(summary: Summary) -> None:
    width = max(map(len, summary))
    for key, value in summary.items():
        text = value
        if isinstance(value, dict):
            text = ", ".join(f"{name} {each}" for name, each in value.items())
        typer.echo(f"{key.replace('_', ' '):{width}}  {text}")
