"""A whole exchange as child processes of this one, in a temporary folder and on free ports."""

import asyncio
import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from engine.control import ControlError, ask
from engine.settings import EngineSettings, InstrumentSettings
from feed.faults import FaultShares
from feed.messages import SelfTradePrevention
from feed.settings import Address, FeedSettings
from gateway.clients import add_client, new_secret
from gateway.settings import GatewaySettings
from retransmitter.settings import RetransmitterSettings
from tools.child import Child, ChildError
from tools.configuration import Configuration
from tools.console import CommandError, Summary
from tools.credentials import write_secrets
from tools.ports import free_addresses, free_group, multicast_works

CONFIGURATION_FILE = "exchange.toml"
CLIENTS_FILE = "clients.toml"
SECRETS_FILE = "secrets.toml"
DEFAULT_SYMBOLS = (
    InstrumentSettings(symbol="AAPL"),
    InstrumentSettings(symbol="MSFT"),
    InstrumentSettings(symbol="NVDA"),
    InstrumentSettings(symbol="AMZN"),
)


class Transport(StrEnum):
    """How the feed gets to its receivers."""

    AUTO = "auto"  # multicast where that works, else unicast
    MULTICAST = "multicast"
    UNICAST = "unicast"


@dataclass(frozen=True, slots=True)
class ClientSpec:
    """A client that the exchange should know; a secret is drawn where none is given."""

    secret: str | None = None
    self_trade_prevention: SelfTradePrevention = SelfTradePrevention.CANCEL_NEWEST
    cancel_on_disconnect: bool = False
    orders_per_second: int | None = None
    orders_burst: int | None = None


class Exchange:
    """An engine, retransmitters and gateways; an async context manager.

    Entering it writes the files and starts the processes, and returns when all are ready; leaving
    it stops them and removes the folder. Other programs can use it meanwhile: all they need are
    `configuration_path` and `secrets`.
    """

    def __init__(
        self,
        *,
        clients: Mapping[str, ClientSpec],
        symbols: Sequence[InstrumentSettings] = DEFAULT_SYMBOLS,
        name: str = "DEMO",
        gateways: int = 1,
        retransmitters: int = 2,
        faults: FaultShares | None = None,
        transport: Transport = Transport.AUTO,
        gateway_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Nothing is started yet.

        `faults` are put in at every receiver of the feed. `gateway_options` are keys of
        GatewaySettings that differ from their defaults.
        """
        self.secrets = {each: spec.secret or new_secret() for each, spec in clients.items()}
        self.summaries: dict[str, Summary] = {}
        self.receive: Address | None = None  # where a subscriber listens if the feed is unicast
        self._clients = clients
        self._symbols = symbols
        self._name = name
        self._gateway_names = [f"g{i + 1}" for i in range(gateways)]
        self._retransmitter_names = [f"r{i + 1}" for i in range(retransmitters)]
        self._faults = faults
        self._transport = transport
        self._gateway_options = dict(gateway_options or {})
        self._configuration: Configuration | None = None
        self._children: dict[str, Child] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def folder(self) -> Path:
        """Where the files and the logs of the processes are; only while the exchange is entered."""
        assert self._folder is not None, "the exchange has not been entered"
        return Path(self._folder.name)

    @property
    def configuration_path(self) -> Path:
        """The file that every command takes."""
        return self.folder / CONFIGURATION_FILE

    @property
    def secrets_path(self) -> Path:
        """A file with the clients' secrets, for the commands that log in."""
        return self.folder / SECRETS_FILE

    @property
    def configuration(self) -> Configuration:
        """What stands in that file."""
        assert self._configuration is not None, "the exchange has not been entered"
        return self._configuration

    @property
    def children(self) -> Mapping[str, Child]:
        """The processes that run, by name, in the order of their start."""
        return self._children

    async def __aenter__(self) -> "Exchange":
        self._folder = tempfile.TemporaryDirectory(prefix="lockstep-")
        try:
            self._write_files()
            # Whoever reads the list is there before it is written, so that nothing is lost at once.
            await self._start_all("retransmitter", self._retransmitter_names)
            await self.start("engine", ["engine", *self._configuration_option()])
            await self._start_all("gateway", self._gateway_names)
        except BaseException:
            await self._abandon()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            try:
                await self.stop()
            finally:
                self._remove_folder()
        else:
            await self._abandon()

    async def start(self, name: str, arguments: Sequence[str]) -> Child:
        """Start one more supervised command as a part of this exchange, and wait until it is ready.

        It is stopped before all that were started earlier. Raises ChildError when it fails.
        """
        child = self._children[name] = await Child.start(name, arguments, self.folder)
        await child.until_ready()
        return child

    async def finish(self, name: str) -> Summary:
        """Stop one process before the others; its summary. Raises ChildError when it failed."""
        self.summaries[name] = await self._children.pop(name).stop()
        return self.summaries[name]

    async def stop(self) -> dict[str, Summary]:
        """Stop every process that still runs, the last one started first; all summaries by name.

        Raises ChildError when one did not end as it should; the others are stopped all the same.
        """
        failures = []
        while self._children:
            name, child = self._children.popitem()
            try:
                self.summaries[name] = await child.stop()
            except ChildError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return self.summaries

    async def watch(self) -> None:
        """Wait for ever, until one of the processes ends by itself: then raise ChildError."""
        watches = [asyncio.ensure_future(child.watch()) for child in self._children.values()]
        try:
            await asyncio.gather(*watches)
        finally:
            for watch in watches:
                watch.cancel()

    async def status(self) -> dict[str, Any]:
        """The engine's word on its own state, over its control port.

        Raises CommandError when it does not answer.
        """
        try:
            return await ask(self.configuration.engine.control, {"request": "status"})
        except ControlError as error:
            raise CommandError(str(error)) from error

    async def _abandon(self) -> None:
        """Stop what runs after a failure, which alone is worth telling."""
        with contextlib.suppress(ChildError):
            await self.stop()
        self._remove_folder()

    def _remove_folder(self) -> None:
        assert self._folder is not None
        self._folder.cleanup()

    async def _start_all(self, role: str, names: Sequence[str]) -> None:
        for name in names:
            arguments = [role, *self._configuration_option(), "--name", name]
            if self._faults is not None:
                arguments += ["--faults", str(self._faults)]
            self._children[name] = await Child.start(name, arguments, self.folder)
        await asyncio.gather(*(self._children[name].until_ready() for name in names))

    def _configuration_option(self) -> list[str]:
        return ["--configuration", str(self.configuration_path)]

    def _write_files(self) -> None:
        clients_path = self.folder / CLIENTS_FILE
        clients_path.touch()
        for name, spec in self._clients.items():
            add_client(
                clients_path,
                name,
                self.secrets[name],
                self_trade_prevention=spec.self_trade_prevention,
                cancel_on_disconnect=spec.cancel_on_disconnect,
                orders_per_second=spec.orders_per_second,
                orders_burst=spec.orders_burst,
            )
        write_secrets(self.secrets_path, self.secrets)
        self._configure().save(self.configuration_path)
        self._configuration = Configuration.load(self.configuration_path)

    def _configure(self) -> Configuration:
        unicast = self._transport is Transport.UNICAST
        if self._transport is Transport.AUTO:
            unicast = not multicast_works()
        receivers = [*self._retransmitter_names, *self._gateway_names, "subscriber"]
        addresses = iter(free_addresses(4 + 2 * len(receivers)))
        receive = {name: next(addresses) if unicast else None for name in receivers}
        self.receive = receive["subscriber"]
        feed: dict[str, Any] = {"group": str(free_group()), "port": next(addresses).port}
        if unicast:
            feed = {"transport": "unicast", "receivers": tuple(receive.values())}
        return Configuration(
            exchange=self._name,
            feed=FeedSettings(**feed),
            engine=EngineSettings(
                commands=next(addresses), repair=next(addresses), control=next(addresses)
            ),
            instruments=tuple(self._symbols),
            retransmitters={
                name: RetransmitterSettings(repair=next(addresses), receive=receive[name])
                for name in self._retransmitter_names
            },
            gateways={
                name: GatewaySettings(
                    listen=next(addresses),
                    receive=receive[name],
                    clients=Path(CLIENTS_FILE),
                    **self._gateway_options,
                )
                for name in self._gateway_names
            },
        )
