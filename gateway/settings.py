"""The gateway's part of the configuration: where it listens, and every bound on what it holds."""

from pathlib import Path

from pydantic import Field, model_validator

from feed.settings import AddressField, Settings


class SessionLimits(Settings):
    """What one connection may cost, and how long it may be silent. Times in nanoseconds."""

    heartbeat_interval_ns: int = Field(default=1_000_000_000, ge=1)  # SoupBinTCP's second
    dead_link_ns: int = Field(default=15_000_000_000, ge=1)  # SoupBinTCP's 15 seconds
    # To send a log-in request, and then again to have it answered: much longer than it takes to
    # replace a primary, shorter than anybody's patience.
    log_in_timeout_ns: int = Field(default=10_000_000_000, ge=1)
    # What is handed to the connection and not taken by it, and the same again in the kernel; the
    # rest waits in the client's stream, which all its connections share. It bounds what one costs.
    output_bytes: int = Field(default=256 << 10, ge=4096)
    # How far a client may fall behind its live stream: some 100,000 messages, or many seconds.
    behind_bytes: int = Field(default=8 << 20, ge=4096)
    # A client that takes nothing at all for so long is not there, though its machine may be.
    stalled_ns: int = Field(default=10_000_000_000, ge=1)
    # For each client, over all its connections; its entry in the clients file may say otherwise.
    # The rate is near what one gateway carries in all, the burst is a second of it.
    orders_per_second: int = Field(default=10_000, ge=1, le=1_000_000)
    orders_burst: int = Field(default=10_000, ge=1, le=1_000_000)


class LogInLimits(Settings):
    """How often log-ins may fail before they are refused unseen."""

    window_ns: int = Field(default=60_000_000_000, ge=1_000_000)
    failures_per_name: int = Field(default=10, ge=1)  # in a window: a guess each six seconds
    failures_per_host: int = Field(default=100, ge=1)  # more, since many clients may share a host
    remembered: int = Field(default=10_000, ge=1)  # names and hosts; each costs some 200 bytes


class ConnectionLimits(Settings):
    """How many connections there may be."""

    # Each is an open file: 1,000 stay below the usual limit of 1,024, for more of them the gateway
    # raises its own limit as far as the system lets it. An idle one costs some 5 KB and, each
    # second, two heartbeats.
    connections: int = Field(default=1000, ge=1)
    # Connections that have not logged in cost little but are for anyone to open, so that they have
    # bounds of their own: they can't take the places of clients.
    strangers: int = Field(default=400, ge=1)
    strangers_per_host: int = Field(default=200, ge=1)

    @model_validator(mode="after")
    def _strangers_leave_room_for_clients(self) -> "ConnectionLimits":
        if self.strangers >= self.connections and self.connections > 1:
            raise ValueError(
                f"{self.strangers} strangers leave no room for clients in"
                f" {self.connections} connections"
            )
        return self


class UplinkLimits(Settings):
    """How much may be on its way to the primary, and when its connection is given up. In ns."""

    # Half of the primary's window, so that it has something to do; beyond that clients are no
    # longer read. It bounds what is sent again after a takeover, too.
    pending: int = Field(default=8192, ge=2)
    # A fair share of it for one client, so that the others are still read.
    pending_per_client: int = Field(default=2048, ge=1)
    # A primary that decides nothing for so long is taken for dead, though its machine answers.
    decision_timeout_ns: int = Field(default=10_000_000_000, ge=1)
    # A host that is gone does not refuse a connection, it says nothing.
    connect_timeout_ns: int = Field(default=2_000_000_000, ge=1)
    # Waits before connecting anew to the same primary: the first is short beside a takeover, so
    # that clients hardly notice it; doubling to the last, so as not to keep a dead host busy. A
    # newer primary is connected at once.
    shortest_wait_ns: int = Field(default=5_000_000, ge=1)
    longest_wait_ns: int = Field(default=1_000_000_000, ge=1)


class GatewaySettings(Settings):
    """One gateway."""

    listen: AddressField  # TCP, for clients
    clients: Path  # the file that `lockstep client add` writes
    receive: AddressField | None = None  # UDP, where the feed comes by unicast
    # The same where there are several shards: for each whose feed comes by unicast.
    shard_receive: dict[int, AddressField] = Field(default_factory=dict)
    tls_certificate: Path | None = None  # PEM, with the chain; clients then need TLS 1.2 or newer
    tls_key: Path | None = None  # PEM, without a passphrase
    # Of each client's numbered stream of a day, in memory, and as much of the day before; about
    # 15,000 messages fit in 1 MiB. A client can resume from as far back as this reaches.
    stream_limit_bytes: int = Field(default=64 << 20, ge=1 << 16)
    sessions: SessionLimits = SessionLimits()
    log_ins: LogInLimits = LogInLimits()
    connections: ConnectionLimits = ConnectionLimits()
    uplink: UplinkLimits = UplinkLimits()

    @model_validator(mode="after")
    def _tls_is_whole(self) -> "GatewaySettings":
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together; give both, or neither")
        return self
