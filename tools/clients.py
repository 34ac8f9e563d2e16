"""`lockstep client`: who may log in, in the clients file of the gateways."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from rich.console import Console
from rich.table import Table

from feed.messages import SelfTradePrevention
from gateway.clients import ClientsError, add_client, new_secret, read_clients, remove_client
from tools.console import CommandError, print_json
from tools.options import JsonOption

client_app = typer.Typer(
    help="Say who may log in: add, list and remove clients.", no_args_is_help=True
)


class SelfTradePreventionMode(StrEnum):
    """What happens when a client's order meets an order of the same client."""

    CANCEL_NEWEST = "cancel-newest"
    CANCEL_OLDEST = "cancel-oldest"
    CANCEL_BOTH = "cancel-both"
    OFF = "off"

    @property
    def mode(self) -> SelfTradePrevention:
        """The code that stands in the list."""
        return SelfTradePrevention[self.name]


NameArgument: TypeAlias = Annotated[
    str, typer.Argument(help="1 to 6 letters and digits; capitals make no difference.")
]
FileOption: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--file", metavar="FILE", help="The clients file, as the gateway's `clients` names it."
    ),
]
_DEFAULT_FILE = Path("clients.toml")


@client_app.command()
def add(
    name: NameArgument,
    file: FileOption = _DEFAULT_FILE,
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask for the secret; without it, one is drawn.")
    ] = False,
    self_trade_prevention: Annotated[
        SelfTradePreventionMode,
        typer.Option(help="What happens when two orders of the client would trade."),
    ] = SelfTradePreventionMode.CANCEL_NEWEST,
    cancel_on_disconnect: Annotated[
        bool,
        typer.Option(
            "--cancel-on-disconnect", help="Cancel the client's orders when its connection ends."
        ),
    ] = False,
    orders_per_second: Annotated[
        int | None, typer.Option(min=1, help="The client's own rate, not the gateway's.")
    ] = None,
    orders_burst: Annotated[
        int | None, typer.Option(min=1, help="So many at once, whatever the rate.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Add a client, and print its secret: this once, for the file keeps only a hash of it.

    The file is made if it is not there. Gateways that run take notice at the next log-in.

    Example: lockstep client add ALICE --file clients.toml --cancel-on-disconnect
    """
    secret = (
        typer.prompt("secret", hide_input=True, confirmation_prompt=True) if ask else new_secret()
    )
    try:
        client = add_client(
            file,
            name,
            secret,
            self_trade_prevention=self_trade_prevention.mode,
            cancel_on_disconnect=cancel_on_disconnect,
            orders_per_second=orders_per_second,
            orders_burst=orders_burst,
        )
    except (ClientsError, OSError) as error:
        raise CommandError(str(error)) from error
    if as_json:
        print_json({"name": name.upper(), "number": client.number, "secret": secret})
    else:
        typer.echo(f"{name.upper()} is client {client.number} in {file}.")
        typer.echo(f"secret: {secret}")


@client_app.command("list")
def list_clients(file: FileOption = _DEFAULT_FILE, as_json: JsonOption = False) -> None:
    """List the clients, without their secrets.

    Example: lockstep client list --file clients.toml
    """
    try:
        clients = read_clients(file)
    except ClientsError as error:
        raise CommandError(str(error)) from error
    if as_json:
        shown = {
            name: client.model_dump(mode="json", exclude={"secret"})
            for name, client in clients.items()
        }
        print_json({"clients": shown})
        return
    table = Table()
    for heading in ("name", "number", "self-trade prevention", "on disconnect", "orders/s"):
        table.add_column(heading)
    for name, client in clients.items():
        table.add_row(
            name,
            str(client.number),
            client.self_trade_prevention.name.lower().replace("_", "-"),
            "orders canceled" if client.cancel_on_disconnect else "orders stay",
            str(client.orders_per_second or "the gateway's"),
        )
    Console().print(table)


@client_app.command()
def remove(name: NameArgument, file: FileOption = _DEFAULT_FILE) -> None:
    """Remove a client: it can't log in again. A session that it has open stays until it ends.

    Its number is not given to another client, who would else be shown its events.

    Example: lockstep client remove ALICE --file clients.toml
    """
    try:
        remove_client(file, name)
    except (ClientsError, OSError) as error:
        raise CommandError(str(error)) from error
    typer.echo(f"{name.upper()} is removed from {file}.")
