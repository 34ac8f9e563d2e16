"""A retransmitter's part of the configuration."""

from pydantic import Field

from feed.repair import DEFAULT_REPAIR_LIMITS, RepairLimits
from feed.settings import HolderSettings


class RetransmitterSettings(HolderSettings):
    """How much a retransmitter sends, beside what every holder does."""

    # What all receivers together get, and each alone: a NAK storm must not drown the feed.
    bytes_per_second: int = Field(default=DEFAULT_REPAIR_LIMITS.bytes_per_second, ge=1)
    requester_bytes_per_second: int = Field(
        default=DEFAULT_REPAIR_LIMITS.requester_bytes_per_second, ge=1
    )

    def limits(self) -> RepairLimits:
        """The limits of its answers."""
        return RepairLimits(
            bytes_per_second=self.bytes_per_second,
            requester_bytes_per_second=self.requester_bytes_per_second,
        )
