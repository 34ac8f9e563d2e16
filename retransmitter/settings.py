"""A retransmitter's part of the configuration."""

from pydantic import Field

from feed.repair import RepairLimits
from feed.settings import AddressField, Settings

_DEFAULT_LIMITS = RepairLimits()


class RetransmitterSettings(Settings):
    """Where a retransmitter listens, how much it keeps, and how much it sends."""

    repair: AddressField  # UDP: NAKs come in here, and are answered from here
    receive: AddressField | None = None  # its own address in the list of receivers, for unicast
    cache_bytes: int = Field(default=256 << 20, ge=1 << 20)  # the newest two million frames or so
    # What all receivers together get, and each alone: a NAK storm must not drown the feed.
    bytes_per_second: int = Field(default=_DEFAULT_LIMITS.bytes_per_second, ge=1)
    requester_bytes_per_second: int = Field(
        default=_DEFAULT_LIMITS.requester_bytes_per_second, ge=1
    )

    def limits(self) -> RepairLimits:
        """The limits of its answers."""
        return RepairLimits(
            bytes_per_second=self.bytes_per_second,
            requester_bytes_per_second=self.requester_bytes_per_second,
        )
