"""The engine's part of the configuration."""

from pydantic import Field, field_validator

from feed.messages import symbol_field
from feed.settings import AddressField, Settings


class InstrumentSettings(Settings):
    """One instrument to list; prices in 1/10,000."""

    symbol: str
    tick_size: int = Field(default=100, ge=1, le=2**32 - 1)
    lot_size: int = Field(default=1, ge=1, le=2**32 - 1)
    short_sale: bool = True

    @field_validator("symbol")
    @classmethod
    def _symbol_fits_its_field(cls, symbol: str) -> str:
        symbol_field(symbol)
        return symbol


class EngineSettings(Settings):
    """Where the engine listens, and how much it keeps."""

    commands: AddressField  # TCP, for gateways
    repair: AddressField  # UDP, for the retransmitters' own gaps
    control: AddressField  # TCP, for operators: status, halt, resume
    cache_bytes: int = Field(default=256 << 20, ge=1 << 20)  # frames kept to repair gaps from
