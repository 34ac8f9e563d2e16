"""The configuration of an exchange: one TOML file, which every process takes with a role."""

import difflib
import tomllib
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

import tomli_w
from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from engine.settings import InstrumentSettings, ReplicaSettings
from feed.settings import (
    Address,
    FailoverSettings,
    FeedSettings,
    JournalSettings,
    Settings,
    ShardSettings,
)
from gateway.settings import GatewaySettings
from retransmitter.settings import RetransmitterSettings
from tools.configuration_checks import Parts, problems
from tools.console import UsageError
from tools.sections import ExchangeName, HolderName, ProcessName, ShardSection, ShardSections
from zk.directory import Directory, place
from zk.settings import ZooKeeperSettings

# What a text should look like whose pattern would mean nothing to its writer.
_PATTERN_REMEDIES = {
    "zookeeper.hosts": 'write it as "host:port", with commas between several and no blanks',
    "zookeeper.root": 'write it as "/name" or "/name/name"',
}


class ConfigurationError(UsageError):
    """A configuration that can't be used; each line of the text names file, key and remedy."""


Section = TypeVar("Section", bound=Settings)


class Configuration(Settings):
    """One exchange: what is listed, who runs it, repairs gaps and takes orders.

    An exchange of one shard has its feed and its holders at the top level. One of several has a
    section in `shards` for each; `by_shard` gives each shard as if it were the only one, so that
    what works for one shard needs to know no other form.
    """

    exchange: ExchangeName
    zookeeper: ZooKeeperSettings = ZooKeeperSettings()
    failover: FailoverSettings = FailoverSettings()
    feed: FeedSettings = FeedSettings()
    instruments: tuple[InstrumentSettings, ...]
    replicas: dict[HolderName, ReplicaSettings] = Field(default_factory=dict)
    retransmitters: dict[HolderName, RetransmitterSettings] = Field(default_factory=dict)
    shards: ShardSections = Field(default_factory=dict)
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

    def by_shard(self) -> dict[int, "Configuration"]:
        """By its number, each shard as if it were the only one: with all instruments."""
        if not self.shards:
            return {self.feed.shard: self}
        return {shard: self._alone(shard) for shard in self.shards}

    def of_shard(self, shard: int | None = None) -> "Configuration":
        """One shard as if it were the only one; None: the only one.

        Raises UsageError when there is no such shard, or when it is to be said which.
        """
        numbers = tuple(self._sections())
        known = ", ".join(map(str, numbers))
        if shard is None and len(numbers) > 1:
            raise UsageError(f"the exchange has several shards ({known}): say which one")
        if shard is not None and shard not in numbers:
            raise UsageError(f"the exchange has no shard {shard} (there is: {known})")
        if not self.shards:
            return self
        return self._alone(numbers[0] if shard is None else shard)

    def shard_of(self, holder: str) -> int:
        """The shard of a replica or retransmitter. Raises UsageError when it is neither."""
        known = {
            name: shard for shard, section in self._sections().items() for name in section.holders
        }
        if holder not in known:
            raise UsageError(
                f"{holder} is neither a replica nor a retransmitter (there is: {', '.join(known)})"
            )
        return known[holder]

    def all_replicas(self) -> dict[str, ReplicaSettings]:
        """Those of all shards, by name."""
        return {
            name: settings
            for section in self._sections().values()
            for name, settings in section.replicas.items()
        }

    def all_retransmitters(self) -> dict[str, RetransmitterSettings]:
        """Those of all shards, by name."""
        return {
            name: settings
            for section in self._sections().values()
            for name, settings in section.retransmitters.items()
        }

    def first_directory(self) -> Directory:
        """Where everything is before anything has moved."""
        return place(self._sections(), {each.symbol: each.shard for each in self.instruments})

    def repair_addresses(self) -> tuple[Address, ...]:
        """Where gateways and subscribers ask for missing frames: every retransmitter.

        Where none is configured it is the replicas, which keep frames too. Raises UsageError for an
        exchange of several shards.
        """
        shard = self.of_shard()
        holders = shard.retransmitters or shard.replicas
        return tuple(settings.repair for settings in holders.values())

    def shard_settings(self) -> ShardSettings:
        """What all holders of the list share. Raises UsageError for an exchange of several."""
        shard = self.of_shard()
        return ShardSettings(
            shard.feed, shard.failover, shard.replicas, shard.retransmitters, shard.journal
        )

    def _sections(self) -> dict[int, ShardSection]:
        """The shards, by number."""
        return self.shards or {
            self.feed.shard: ShardSection.model_construct(
                feed=self.feed, replicas=self.replicas, retransmitters=self.retransmitters
            )
        }

    def _alone(self, shard: int) -> "Configuration":
        section = self.shards[shard]
        gateways = {
            name: each.model_copy(
                update={"receive": each.shard_receive.get(shard), "shard_receive": {}}
            )
            for name, each in self.gateways.items()
        }
        instruments = tuple(each.model_copy(update={"shard": None}) for each in self.instruments)
        return self.model_copy(
            update={
                "feed": section.feed,
                "replicas": section.replicas,
                "retransmitters": section.retransmitters,
                "shards": {},
                "gateways": gateways,
                "instruments": instruments,
            }
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
        parts = Parts(
            shards=self._sections(),
            is_sectioned=bool(self.shards),
            keys=self.model_fields_set,
            instruments=self.instruments,
            gateways=self.gateways,
            journal=self.journal,
            zookeeper_hosts=self.zookeeper.hosts,
        )
        found = list(problems(parts))
        if found:
            raise ValueError("; ".join(found))
        return self


def _with_paths(section: Section, folder: Path) -> Section:
    """The section with its relative paths starting from a folder."""
    paths = {key: folder / value for key, value in section if isinstance(value, Path)}
    return section.model_copy(update=paths)


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
