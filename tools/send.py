"""`lockstep send`: one order from the shell, or a prompt for many."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import typer

from gateway.client_errors import ClientError, LoginRejected
from gateway.events import Accepted, Canceled, Event, Executed, Rejected
from gateway.orders import order_symbol
from gateway.soup import LoginRejectReason
from tools.configuration import Configuration
from tools.console import CommandError, ExitStatus, UsageError, print_json
from tools.credentials import SecretsOption, find_secret, open_client
from tools.options import ConfigurationOption, JsonOption
from tools.order_words import SIDES, TIMES_IN_FORCE, NewOrder, describe_event
from tools.prices import format_price, parse_price
from tools.prompt import Prompt, Terminal, enter

ANSWER_WITHIN_S = 10.0  # as long as a gateway waits for a primary that is being replaced
Result = TypeVar("Result")

QUIET_S = 0.25  # a command's events come together: what has not traded by then rests


class SideWord(StrEnum):
    """A side, as it is typed."""

    BUY = "buy"
    SELL = "sell"
    SHORT = "short"


class TimeInForceWord(StrEnum):
    """How long an order lives, as it is typed."""

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"


@dataclass(slots=True)
class Outcome:
    """What became of one order, from its client's events."""

    number: int  # its user_ref_num
    quantity: int
    order_number: int | None = None
    executed: int = 0
    canceled: int = 0
    trades: list[dict[str, Any]] = field(default_factory=list)
    rejected: Rejected | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more can happen to the order."""
        return self.rejected is not None or self.executed + self.canceled == self.quantity

    @property
    def status(self) -> str:
        """One word for where the order stands."""
        if self.rejected is not None:
            return "rejected"
        if not self.is_over:
            return "open"
        return "canceled" if self.canceled else "executed"

    def apply(self, event: Event) -> bool:
        """Take in an event; whether it is about this order."""
        if event.user_ref_num != self.number:
            return False
        match event:
            case Accepted():
                self.order_number = event.order_number
            case Executed(quantity=quantity, price=price, match_number=match_number):
                self.executed += quantity
                trade = {"quantity": quantity, "price": format_price(price), "match": match_number}
                self.trades.append(trade)
            case Canceled(quantity=quantity):
                self.canceled += quantity
            case Rejected():
                self.rejected = event
        return True

    def summary(self) -> dict[str, Any]:
        """The outcome as JSON has it."""
        return {
            "status": self.status,
            "user_ref_num": self.number,
            "order_number": self.order_number,
            "quantity": self.quantity,
            "executed": self.executed,
            "canceled": self.canceled,
            "open": 0 if self.rejected else self.quantity - self.executed - self.canceled,
            "trades": self.trades,
            "reason": None if self.rejected is None else int(self.rejected.reason),
            "text": None if self.rejected is None else self.rejected.text,
        }


def send(
    configuration: ConfigurationOption,
    client: Annotated[
        str,
        typer.Option(metavar="NAME", envvar="LOCKSTEP_CLIENT", help="Who sends; see `client add`."),
    ],
    side: Annotated[SideWord | None, typer.Argument(help="buy, sell, or sell short.")] = None,
    quantity: Annotated[int | None, typer.Argument(min=1, max=2**32 - 1, help="How many.")] = None,
    symbol: Annotated[str | None, typer.Argument(help="The instrument, as AAPL.")] = None,
    price: Annotated[
        str | None,
        typer.Option(metavar="PRICE", help="The limit, as 187.25; without it, a market order."),
    ] = None,
    stop: Annotated[
        str | None,
        typer.Option(metavar="PRICE", help="The order sleeps until the market trades there."),
    ] = None,
    time_in_force: Annotated[
        TimeInForceWord,
        typer.Option(help="For the day, immediate-or-cancel, or fill-or-kill."),
    ] = TimeInForceWord.DAY,
    post_only: Annotated[
        bool, typer.Option("--post-only", help="Be refused rather than trade on arrival.")
    ] = False,
    interactive: Annotated[
        bool,
        typer.Option("--interactive", "-i", help="A prompt for orders; type help there."),
    ] = False,
    secrets: SecretsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send one order and tell what became of it, or, with --interactive, as many as you type.

    The exit status is 1 when the order was rejected. An order that rests stays in the market when
    the command ends, unless the client's orders are canceled on disconnect.

    Examples:

    lockstep send -c exchange.toml --client ALICE buy 100 AAPL --price 187.25

    lockstep send -c exchange.toml --client ALICE --interactive
    """
    settings = Configuration.load(configuration)
    secret = find_secret(client, secrets)
    if interactive:
        if side is not None or as_json:
            raise UsageError("--interactive goes without an order and without --json")
        _run(converse(settings, client, secret))
        return
    if side is None or quantity is None or symbol is None:
        raise UsageError("what is to be sent? As in: buy 100 AAPL --price 187.25")
    try:
        order_symbol(symbol)
    except ValueError as error:
        raise UsageError(str(error)) from error
    order = NewOrder(
        SIDES[side],
        quantity,
        symbol,
        _price(price, "--price"),
        _price(stop, "--stop"),
        TIMES_IN_FORCE[time_in_force],
        post_only,
    )
    outcome = _run(send_one(settings, client, secret, order, tells_events=not as_json))
    if as_json:
        print_json(outcome.summary())
    elif outcome.status == "open":
        typer.echo(f"{outcome.number} stays open: {outcome.summary()['open']}")
    if outcome.rejected is not None:
        raise typer.Exit(ExitStatus.FAILED)


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    try:
        return asyncio.run(work)
    except ClientError as error:
        raise CommandError(str(error)) from error
    except KeyboardInterrupt:
        raise typer.Exit(ExitStatus.INTERRUPTED) from None


async def send_one(
    configuration: Configuration, name: str, secret: str, order: NewOrder, *, tells_events: bool
) -> Outcome:
    """Log in, send the order, and wait until it has ended or rests.

    Raises CommandError when no answer comes, ClientError when the client can't go on.
    """
    async with open_client(configuration, name, secret, next_sequence=0) as client:
        try:
            number = await enter(client, order)
        except ValueError as error:
            raise UsageError(str(error)) from error
        outcome = Outcome(number, order.quantity)
        events = client.events()
        while not outcome.is_over:
            within_s = ANSWER_WITHIN_S if outcome.order_number is None else QUIET_S
            try:
                async with asyncio.timeout(within_s):
                    event = await anext(events)
            except TimeoutError:
                if outcome.order_number is None:
                    raise CommandError(
                        f"no answer within {ANSWER_WITHIN_S:.0f} s; the order may still take effect"
                    ) from None
                break
            if outcome.apply(event) and tells_events:
                typer.echo(describe_event(event))
    return outcome


async def converse(configuration: Configuration, name: str, secret: str) -> None:
    """Log in, and carry out what is typed until the end of standard input."""
    terminal = Terminal()
    try:
        async with open_client(configuration, name, secret, next_sequence=1) as client:
            await Prompt(client, terminal.say).run(terminal.lines())
            return
    except LoginRejected as error:
        if error.reason is not LoginRejectReason.NO_SUCH_SESSION:
            raise
        terminal.say(f"{error}; orders from before are not known here")
    async with open_client(configuration, name, secret, next_sequence=0) as client:
        await Prompt(client, terminal.say).run(terminal.lines())


def _price(text: str | None, option: str) -> int:
    if text is None:
        return 0
    try:
        return parse_price(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error
