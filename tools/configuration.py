"""The configuration of an exchange: one TOML file, which every process takes with a role."""

import difflib
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeAlias, TypeVar, get_args, get_origin

import tomli_w
from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from engine.settings import InstrumentSettings, ReplicaSettings
from feed.messages import HOLDER_NAME_BYTES
from feed.settings import (
    Address,
    FailoverSettings,
    FeedSettings,
    JournalSettings,
    Settings,
    ShardSettings,
    SyncPolicy,
)
from gateway.settings import GatewaySettings
from retransmitter.settings import RetransmitterSettings
from tools.console import UsageError
from zk.settings import ZooKeeperSettings

# What a text should look like whose pattern would mean nothing to its writer.
_PATTERN_REMEDIES = {
    "zookeeper.hosts": 'write it as "host:port", with commas between several and no blanks',
    "zookeeper.root": 'write it as "/name" or "/name/name"',
}
_EXCHANGE_NAME_CHARACTERS = 10  # SoupBinTCP's field for the session


class ConfigurationError(UsageError):
    """A configuration that can't be used; each line of the text names file, key and remedy."""


def _process_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", name):
        raise ValueError(f"{name!r} is not a name; use 1 to 32 letters, digits, '-' and '_'")
    return name


def _holder_name(name: str) -> str:
    if not re.fullmatch(rf"[A-Za-z0-9_-]{{1,{HOLDER_NAME_BYTES}}}", name):
        raise ValueError(
            f"{name!r} is not a holder's name; "
            f"use 1 to {HOLDER_NAME_BYTES} letters, digits, '-' and '_'"
        )
    return name


def _exchange_name(name: str) -> str:
    if not (name.isascii() and name.isalnum() and len(name) <= _EXCHANGE_NAME_CHARACTERS):
        raise ValueError(
            f"{name!r} is not an exchange's name; "
            f"use 1 to {_EXCHANGE_NAME_CHARACTERS} letters and digits"
        )
    return name


Section = TypeVar("Section", bound=Settings)
ProcessName: TypeAlias = Annotated[str, AfterValidator(_process_name)]
HolderName: TypeAlias = Annotated[str, AfterValidator(_holder_name)]  # it stands in frames


class Configuration(Settings):
    """One exchange: its feed, what is listed, who runs it, repairs gaps and takes orders."""

    exchange: Annotated[str, AfterValidator(_exchange_name)]
    zookeeper: ZooKeeperSettings = ZooKeeperSettings()
    failover: FailoverSettings = FailoverSettings()
    feed: FeedSettings = FeedSettings()
    instruments: tuple[InstrumentSettings, ...]
    replicas: dict[HolderName, ReplicaSettings]
    retransmitters: dict[HolderName, RetransmitterSettings] = Field(default_factory=dict)
    gateways: dict[ProcessName, GatewaySettings] = Field(default_factory=dict)
    journal: JournalSettings | None = None

    @classmethod
    def load(cls, path: Path) -> "Configuration":
        """The configuration in a file; relative paths in it start from the file's folder.

        Raises ConfigurationError for a file that can't be read or used.
        """
        try:
            with path.open("rb") as file:
                values = tomllib.load(file)
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}; give an existing file") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path}: not TOML: {error}") from error
        try:
            configuration = cls.model_validate(values)
        except ValidationError as error:
            lines = (f"{path}: {_describe(details)}" for details in error.errors())
            raise ConfigurationError("\n".join(lines)) from error
        return configuration._with_paths_from(path.absolute().parent)

    def save(self, path: Path) -> None:
        """Write the file that `load` reads; what was never set is left to its default."""
        values = self.model_dump(mode="json", exclude_unset=True, exclude_none=True)
        path.write_text(tomli_w.dumps(values))

    def repair_addresses(self) -> tuple[Address, ...]:
        """Where gateways and subscribers ask for missing frames: every retransmitter.

        Where none is configured it is the replicas, which keep frames too.
        """
        holders = self.retransmitters or self.replicas
        return tuple(settings.repair for settings in holders.values())

    def shard_settings(self) -> ShardSettings:
        """What all holders of the list share."""
        return ShardSettings(
            self.feed, self.failover, self.replicas, self.retransmitters, self.journal
        )

    def _with_paths_from(self, folder: Path) -> "Configuration":
        update: dict[str, Any] = {
            "gateways": {name: _with_paths(each, folder) for name, each in self.gateways.items()}
        }
        if self.journal is not None:
            update["journal"] = _with_paths(self.journal, folder)
        return self.model_copy(update=update)

    @model_validator(mode="after")
    def _parts_fit_together(self) -> "Configuration":
        names = (*self.replicas, *self.retransmitters, *self.gateways)
        problems = [
            *([] if self.instruments else ["instruments is empty: list at least one"]),
            *([] if self.replicas else ["replicas is empty: add a section [replicas.e1]"]),
            *_named_twice("instruments", (each.symbol for each in self.instruments)),
            *_named_twice("process names", names),
            *self._addresses_named_twice(),
            *self._receive_problems(),
            *self._journal_problems(),
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _addresses_named_twice(self) -> Iterator[str]:
        udp = list(_named_twice("UDP addresses", map(str, self._udp_addresses())))
        yield from udp
        told = {problem.split()[0] for problem in udp}  # two repair ports collide in both worlds
        tcp = (each for each in map(str, self._tcp_addresses()) if each not in told)
        yield from _named_twice("TCP addresses", tcp)

    def _tcp_addresses(self) -> Iterator[Address | str]:
        yield from self.zookeeper.hosts.split(",")
        for replica in self.replicas.values():
            yield replica.commands
            yield replica.control
        for holder in self.shard_settings().holders.values():
            yield holder.repair  # long ranges and snapshots are had there by TCP
        yield from (settings.listen for settings in self.gateways.values())

    def _udp_addresses(self) -> Iterator[Address]:
        for holder in self.shard_settings().holders.values():
            yield holder.repair
            yield holder.replication
        yield from filter(None, self._receive_addresses().values())

    def _receive_addresses(self) -> dict[str, Address | None]:
        receive: dict[str, Address | None] = {}
        for name, replica in self.replicas.items():
            receive[f"replicas.{name}"] = replica.receive
        for name, retransmitter in self.retransmitters.items():
            receive[f"retransmitters.{name}"] = retransmitter.receive
        for name, gateway in self.gateways.items():
            receive[f"gateways.{name}"] = gateway.receive
        return receive

    def _receive_problems(self) -> Iterator[str]:
        unicast = self.feed.transport == "unicast"
        for section, address in self._receive_addresses().items():
            if unicast and address is None:
                yield f'{section}.receive is missing: transport "unicast" needs it'
            elif unicast and address not in self.feed.receivers:
                yield f"{section}.receive {address} gets no packets: add it to feed.receivers"
            elif not unicast and address is not None:
                yield f'{section}.receive is only for feed.transport = "unicast": remove it'

    def _journal_problems(self) -> Iterator[str]:
        journal = self.journal
        if journal is None or journal.sync is SyncPolicy.INTERVAL:
            return
        if "sync_interval_ms" in journal.model_fields_set:
            yield 'journal.sync_interval_ms is only for sync = "interval": remove it'


def _with_paths(section: Section, folder: Path) -> Section:
    """The section with its relative paths starting from a folder."""
    paths = {key: folder / value for key, value in section if isinstance(value, Path)}
    return section.model_copy(update=paths)


def _named_twice(what: str, values: Iterable[str]) -> Iterator[str]:
    for value, count in Counter(values).items():
        if count > 1:
            yield f"{value} stands {count} times among the {what}: change all but one"


def _describe(details: ErrorDetails) -> str:
    """One of pydantic's errors as key, what is wrong, and what to do."""
    location = tuple(part for part in details["loc"] if part != "[key]")  # of a name itself
    key = ".".join(str(part) for part in location)
    if details["type"] == "missing":
        return f"{key} is missing: add it"
    if details["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        remedy = f"did you mean {near[0]}?" if near else f"known keys here: {', '.join(known)}"
        return f"{key} is not a key that Lockstep knows; {remedy}"
    if details["type"] == "string_pattern_mismatch" and key in _PATTERN_REMEDIES:
        return f"{key} is {details['input']!r}; {_PATTERN_REMEDIES[key]}"
    message = details["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    if details["type"] == "value_error":
        return f"{key}: {message}" if key else message
    return f"{key} is {details['input']!r}; {message}"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """The keys that the section at `location` may have."""
    section: Any = Configuration
    for part in location:
        if get_origin(section) is dict:
            section = get_args(section)[1]
        elif get_origin(section) is tuple:
            section = get_args(section)[0]
        else:
            section = section.model_fields[part].annotation
        if isinstance(section, UnionType):
            section = get_args(section)[0]  # a section that may be left out
    return sorted(section.model_fields)
