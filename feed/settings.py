"""How a shard's feed reaches its receivers: the part of the configuration that all roles share."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator


class Address(NamedTuple):
    """An IPv4 host and a port, as sockets take them; written "host:port" in files."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_address(text: object) -> Address:
    """The address written as "host:port".

    Raises ValueError when it is written otherwise.
    """
    if isinstance(text, Address):
        return text
    host, separator, port = str(text).rpartition(":")
    if not (separator and host and port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError(f'{text!r} is not an address; write it as "host:port"')
    return Address(host, int(port))


AddressField = Annotated[Address, BeforeValidator(parse_address), PlainSerializer(str)]


class Settings(BaseModel):
    """The base of every section of the configuration: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FeedSettings(Settings):
    """Where the packets of one shard go, and who repairs gaps."""

    shard: int = Field(default=1, ge=1, le=65535)
    transport: Literal["multicast", "unicast"] = "multicast"
    group: IPv4Address = IPv4Address("239.255.76.83")
    port: int = Field(default=30076, ge=1, le=65535)
    interface: IPv4Address = IPv4Address("127.0.0.1")  # the loopback, until told otherwise
    ttl: int = Field(default=0, ge=0, le=255)  # 0: no packet leaves this machine
    receivers: tuple[AddressField, ...] = ()  # for unicast: each receiver's own address
    payload_limit_bytes: int = Field(default=1400, ge=256, le=65507)
    receive_buffer_bytes: int = Field(default=4 << 20, ge=4096)

    @model_validator(mode="after")
    def _transport_has_what_it_needs(self) -> "FeedSettings":
        if self.transport == "multicast" and not self.group.is_multicast:
            raise ValueError(f"group {self.group} is not a multicast address (224.0.0.0/4)")
        if self.transport == "unicast" and not self.receivers:
            raise ValueError('transport "unicast" needs the list of receivers')
        return self


class FailoverSettings(Settings):
    """When a primary is suspected to be dead, and how far it may run ahead of its holders."""

    # An idle primary shows at least this often that it is alive.
    heartbeat_interval_ms: int = Field(default=5, ge=1, le=1000)
    # A holder that has heard nothing for so long suspects the primary. docs/replication.md shows
    # how often a healthy one is suspected at which time.
    suspicion_time_ms: int = Field(default=30, ge=2, le=60_000)
    # A primary takes no more commands while so many frames are not committed.
    window_frames: int = Field(default=16_384, ge=16, le=65_536)

    @model_validator(mode="after")
    def _suspicion_bears_a_lost_heartbeat(self) -> "FailoverSettings":
        if self.suspicion_time_ms < 2 * self.heartbeat_interval_ms:
            raise ValueError(
                f"a suspicion_time_ms of {self.suspicion_time_ms} makes one lost heartbeat look"
                f" like a death: use at least 2 x {self.heartbeat_interval_ms}"
            )
        return self


class SyncPolicy(StrEnum):
    """When a journal's frames are forced to the disk; docs/journal.md says what each promises."""

    GROUP = "group"  # before they are acknowledged: a power cut loses nothing that was answered
    INTERVAL = "interval"  # every so many milliseconds
    NEVER = "never"  # when the operating system thinks fit


class JournalSettings(Settings):
    """What the holders of an exchange keep on disk, each in a folder of its own."""

    folder: Path  # in it, a folder for each shard, and in that one for each holder
    sync: SyncPolicy = SyncPolicy.GROUP
    sync_interval_ms: int = Field(default=10, ge=1, le=10_000)  # for "interval"
    segment_bytes: int = Field(default=64 << 20, ge=1 << 16, le=1 << 32)
    # Days that stay readable, the running one among them; 0 keeps all.
    keep_days: int = Field(default=0, ge=0, le=10_000)
    # A backup writes a snapshot of its machine each time that so many more frames are committed.
    snapshot_frames: int = Field(default=1_000_000, ge=1000)
    snapshots: int = Field(default=3, ge=1, le=1000)  # how many of them are kept

    def folder_of(self, shard: int, holder: str) -> Path:
        """Where a holder's journal is; its snapshots are in the folder "snapshots" of it."""
        return self.folder / f"shard-{shard}" / holder


class HolderSettings(Settings):
    """One holder of the list: where it listens, and how much it keeps."""

    # UDP: NAKs come in here, and are answered from here. TCP: long ranges, and snapshots.
    repair: AddressField
    replication: AddressField  # UDP: acknowledgements and takeovers, between holders
    receive: AddressField | None = None  # its own address in the list of receivers, for unicast
    # The newest two million frames or so. The least holds the widest window of uncommitted frames:
    # they have to be compared after a takeover.
    cache_bytes: int = Field(default=256 << 20, ge=1 << 24)
    # Whether drills may have it lose what is not forced to the disk; and, for a replica, die in the
    # middle of a group.
    drills: bool = False


@dataclass(frozen=True, slots=True)
class ShardSettings:
    """All that the holders of one shard share."""

    feed: FeedSettings
    failover: FailoverSettings
    replicas: Mapping[str, HolderSettings]
    retransmitters: Mapping[str, HolderSettings]
    journal: JournalSettings | None = None  # without one, what a process knew is gone with it

    @property
    def holders(self) -> dict[str, HolderSettings]:
        """Who counts towards commit, by name."""
        return {**self.replicas, **self.retransmitters}
