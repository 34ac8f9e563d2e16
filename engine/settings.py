"""The engine's part of the configuration."""

from enum import StrEnum

from pydantic import Field, field_validator

from feed.messages import symbol_field
from feed.settings import AddressField, HolderSettings, Settings
from feed.symbols import names_several


class MachineKind(StrEnum):
    """Which implementation of the market a replica runs."""

    REFERENCE = "reference"
    KERNEL = "kernel"


class InstrumentSettings(Settings):
    """One instrument to list; prices in 1/10,000."""

    symbol: str
    tick_size: int = Field(default=100, ge=1, le=2**32 - 1)
    lot_size: int = Field(default=1, ge=1, le=2**32 - 1)
    short_sale: bool = True
    # Where it is at first, in an exchange of several shards; else its name decides.
    shard: int | None = Field(default=None, ge=1, le=65535)

    @field_validator("symbol")
    @classmethod
    def _symbol_fits_its_field(cls, symbol: str) -> str:
        if names_several(symbol_field(symbol)):
            raise ValueError(f"{symbol!r} is not a symbol: it looks like several")
        return symbol


class ReplicaSettings(HolderSettings):
    """Where a replica listens, beside what every holder does."""

    commands: AddressField  # TCP, for gateways, while it is primary
    control: AddressField  # TCP, for operators: status, halt, resume
    machine: MachineKind | None = None  # "reference" or "kernel"; the fastest that there is
