"""How a shard's feed reaches its receivers: the part of the configuration that all roles share."""

from ipaddress import IPv4Address
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
