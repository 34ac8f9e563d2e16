"""ZooKeeper's part of the configuration."""

from pydantic import BaseModel, ConfigDict, Field


class ZooKeeperSettings(BaseModel):
    """Which servers are asked, and how long they bear a process's silence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # "host:port,host:port,...": every server of the ensemble.
    hosts: str = Field(default="127.0.0.1:2181", pattern=r"^[^\s,/]+:\d+(,[^\s,/]+:\d+)*$")
    # A process that is silent for so long has its session ended. Suspicions make failovers fast,
    # not this; kazoo's pings can be some 400 ms apart, so that less than a second is too little.
    session_timeout_ms: int = Field(default=2000, ge=1000, le=60_000)
    root: str = Field(default="/lockstep", pattern=r"^(/[A-Za-z0-9._-]+)+$")  # above all our nodes
