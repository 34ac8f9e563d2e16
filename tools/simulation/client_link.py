"""One TCP connection of a simulated client, as `gateway.client_link` is one of a real client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from gateway.client_errors import LinkFault
from gateway.client_session import ClientSession

if TYPE_CHECKING:
    from tools.simulation.tcp import End


class LinkOwner(Protocol):
    """Who drives a session over the connection."""

    @property
    def session(self) -> ClientSession:
        """The session."""

    def on_connected(self) -> None:
        """It is there."""

    def on_data(self, data: bytes) -> None:
        """Bytes came."""

    def on_lost(self, fault: Exception) -> None:
        """It is gone, or could not be had."""


class ClientLink(asyncio.Protocol):
    """One connection, from the attempt on; the owner hears no more of one that is dead."""

    end: End  # once it is asked for

    def __init__(self, owner: LinkOwner) -> None:
        self._owner: LinkOwner | None = owner
        self._fault: Exception | None = None
        self._is_open = False
        self.can_write = True
        self.is_reading = True

    @property
    def is_usable(self) -> bool:
        """Whether anything can be sent."""
        return self._is_open and not self.end.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._is_open = True
        if self._owner is not None:
            self._owner.on_connected()

    def data_received(self, data: bytes) -> None:
        if self._owner is not None:
            self._owner.on_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_open = False
        owner, self._owner = self._owner, None
        if owner is not None:
            cause = str(exc) if exc else "the gateway closed the connection"
            owner.on_lost(self._fault or LinkFault(owner.session.farewell or cause))

    def pause_writing(self) -> None:
        self.can_write = False

    def resume_writing(self) -> None:
        self.can_write = True

    def on_failed(self, why: str) -> None:
        """There is no connection."""
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.on_lost(LinkFault(why))

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self.end.write(data)

    def fail(self, fault: Exception) -> None:
        """End the connection for this reason, unless there was one before."""
        if self._fault is None:
            self._fault = fault
        if self._is_open:
            self.end.abort()

    def vanish(self) -> None:
        """The connection is dead; the owner is not to hear of it any more."""
        self._owner = None
        self._is_open = False
        self.end.vanish()

    def pause_reading(self) -> bool:
        """Read nothing any more; False when that is so, or there is nothing to read."""
        if not self.is_usable or not self.is_reading:
            return False
        self.is_reading = False
        self.end.pause_reading()
        return True

    def resume_reading(self) -> None:
        """Read again."""
        if self.is_usable and not self.is_reading:
            self.is_reading = True
            self.end.resume_reading()
