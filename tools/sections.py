"""The sections of the configuration file that belong to a shard, and how its parts are named."""

import re
from collections.abc import Mapping
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from engine.settings import ReplicaSettings
from feed.messages import HOLDER_NAME_BYTES
from feed.settings import FeedSettings, HolderSettings, Settings
from retransmitter.settings import RetransmitterSettings
from zk.directory import LARGEST_SHARD

_EXCHANGE_NAME_CHARACTERS = 10  # SoupBinTCP's field for the session


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


def _shard_number(key: object) -> int:
    text = str(key)  # a key of TOML is text
    if not re.fullmatch(r"[1-9][0-9]{0,4}", text) or int(text) > LARGEST_SHARD:
        raise ValueError(f"{text!r} is not a shard's number; use 1 to {LARGEST_SHARD}")
    return int(text)


ExchangeName: TypeAlias = Annotated[str, AfterValidator(_exchange_name)]
ProcessName: TypeAlias = Annotated[str, AfterValidator(_process_name)]
HolderName: TypeAlias = Annotated[str, AfterValidator(_holder_name)]  # it stands in frames
ShardNumber: TypeAlias = Annotated[int, BeforeValidator(_shard_number)]


class ShardSection(Settings):
    """One shard of several: its feed, and who holds its list."""

    feed: FeedSettings = FeedSettings()
    replicas: dict[HolderName, ReplicaSettings] = Field(default_factory=dict)
    retransmitters: dict[HolderName, RetransmitterSettings] = Field(default_factory=dict)

    @property
    def holders(self) -> dict[str, HolderSettings]:
        """Who counts towards commit, by name."""
        return {**self.replicas, **self.retransmitters}


def _numbered(shards: Mapping[int, ShardSection]) -> dict[int, ShardSection]:
    """The sections with the number of each in its feed, where that says none."""
    numbered = {}
    for number, section in sorted(shards.items()):
        feed = section.feed
        if "shard" not in feed.model_fields_set:
            feed = feed.model_copy(update={"shard": number})
        numbered[number] = section.model_copy(update={"feed": feed})
    return numbered


ShardSections: TypeAlias = Annotated[dict[ShardNumber, ShardSection], AfterValidator(_numbered)]
