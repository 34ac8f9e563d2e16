"""One TCP connection of a client: moves bytes between it and the session, and keeps its timer."""

import asyncio
import time
from collections.abc import Callable
from typing import cast

from feed.reading import BufferedReading
from gateway.client_errors import LinkFault
from gateway.client_session import ClientSession
from gateway.events import Event


class Link(BufferedReading):
    """Drives `session` over one connection.

    `deliver` takes each event, and answers whether it will take more; `logged_in` is called when
    the log-in is accepted, `changed` after anything that a task may be waiting for. `ended` has why
    the connection is over, once it is.
    """

    def __init__(
        self,
        session: ClientSession,
        deliver: Callable[[Event], bool],
        logged_in: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self._session = session
        self._deliver = deliver
        self._logged_in = logged_in
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0  # when it fires, by the loop's clock
        self._is_reading = True
        self._fault: Exception | None = None
        self.can_write = True
        self.ended: asyncio.Future[Exception] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins the log-in."""
        self._transport = cast(asyncio.Transport, transport)
        self._session.connected(time.monotonic_ns())
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Gives out the events in the bytes, and sends what they call for."""
        was_logged_in = self._session.is_logged_in
        try:
            for event in self._session.receive(data, time.monotonic_ns()):
                if not self._deliver(event):
                    self.pause_reading()
        except Exception as error:
            self._fail(error)
        if self._session.is_logged_in and not was_logged_in:
            self._logged_in()
        self.flush()
        self._changed()

    def connection_lost(self, error: Exception | None) -> None:
        """Ends the link, with the first fault that there was."""
        if self._timer is not None:
            self._timer.cancel()
        if self._fault is None:
            cause = str(error) if error else "the gateway closed the connection"
            self._fault = LinkFault(self._session.farewell or cause)
        self._session.disconnected()
        self._transport = None
        if not self.ended.done():
            self.ended.set_result(self._fault)
        self._changed()

    def pause_writing(self) -> None:
        """The gateway takes no more for now."""
        self.can_write = False

    def resume_writing(self) -> None:
        """The gateway takes bytes again."""
        self.can_write = True
        self._changed()

    def flush(self) -> None:
        """Sends what the session has to send, and sets the timer by it."""
        if self._transport is None or self._transport.is_closing():
            return  # the session keeps what was not answered
        data = self._session.take_output(time.monotonic_ns())
        if data:
            self._transport.write(data)
        self._set_timer()

    def pause_reading(self) -> None:
        """Takes no more events, until `resume_reading`."""
        if self._transport is not None and self._is_reading:
            self._is_reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Takes events again."""
        if self._transport is not None and not self._is_reading:
            self._is_reading = True
            self._transport.resume_reading()

    def abort(self) -> None:
        """Closes the connection without another word."""
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, error: Exception) -> None:
        if self._fault is None:
            self._fault = error
        self.abort()

    def _set_timer(self) -> None:
        """A deadline that has moved back is left to the timer: it asks again when it comes."""
        deadline_ns = self._session.deadline_ns
        if deadline_ns is None:
            return
        at = self._loop.time() + max(deadline_ns - time.monotonic_ns(), 0) / 1e9
        if self._timer is None or self._timer_at > at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(at, self._on_time)
            self._timer_at = at

    def _on_time(self) -> None:
        self._timer = None
        try:
            self._session.on_time(time.monotonic_ns(), is_reading=self._is_reading)
        except Exception as error:
            self._fail(error)
        self.flush()
