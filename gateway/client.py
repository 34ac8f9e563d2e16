"""The asyncio client of the exchange, for users: orders in, typed events out, resume by itself.

    async with Client("127.0.0.1:30100", "ALICE", "secret") as client:
        number = await client.enter("AAPL", Side.BUY, 100, price=1_850_000)
        async for event in client.events():
            print(event)

Each command gets a user_ref_num, is kept until it is answered, and is sent again after a lost
connection, to any of the addresses; the exchange sees to it that it takes effect once.
docs/client.md is the guide. The logic is in `gateway.client_session` and `gateway.reconnect`; here
are the waiting and the queue of events.
"""

import asyncio
import logging
import random
import ssl
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from types import TracebackType
from typing import Self

from feed.messages import Capacity, OrderType, Side, TimeInForce
from feed.settings import Address, parse_address
from gateway import orders
from gateway.client_errors import ClientError, ConnectionLost, LinkFault, LogInPutOff, Overrun
from gateway.client_link import Link
from gateway.client_policy import ClientPolicy
from gateway.client_session import ClientSession, Phase
from gateway.events import Event, SessionBegan
from gateway.reconnect import Reconnect

log = logging.getLogger(__name__)


class Client:
    """A trading client's session, over whichever gateway can be reached.

    A context manager: entering it logs in, leaving it logs out. `addresses` is one gateway's
    address or several ones', as `Address` or "host:port". `next_sequence` is the number of the
    first event to give out: 1 for all of the day, a number from an earlier `Client.next_sequence`
    to go on after it, 0 for what happens from now on. `session` is left empty for the current one:
    then the client follows into the next one by itself when a day is over. With a name, as from an
    earlier `Client.session`, it reads that one alone.

    Raises ValueError when an argument can't be right.
    """

    def __init__(
        self,
        addresses: Address | str | Sequence[Address | str],
        user: str,
        secret: str,
        *,
        tls: ssl.SSLContext | None = None,
        session: str = "",
        next_sequence: int = 1,
        policy: ClientPolicy | None = None,
    ) -> None:
        several = [addresses] if isinstance(addresses, Address | str) else addresses
        self._policy = policy or ClientPolicy()
        self._reconnect = Reconnect(
            [parse_address(address) for address in several], self._policy, random.Random()
        )
        self._tls = tls
        self._session = ClientSession(
            user,
            secret,
            session=session,
            next_sequence=next_sequence,
            policy=self._policy,
            gateway_count=len(several),
        )
        self._events: deque[Event] = deque()
        self._begun: deque[SessionBegan] = deque()  # those of them
        self._change = asyncio.Event()  # something happened that a task may be waiting for
        self._link: Link | None = None
        self._runner: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._log_ins = 0
        self._is_closed = False

    async def __aenter__(self) -> Self:
        """Logs in; raises LoginRejected, or ConnectionLost when no gateway can be reached."""
        if self._runner is not None:
            raise RuntimeError("a client is used once; make another one")
        self._runner = asyncio.create_task(self._run())
        try:
            await self._until(lambda: self._log_ins > 0)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Logs out and closes the connection; `events()` ends after what has come until then.

        Commands that are not answered yet may still take effect. Does nothing the second time.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._changed()
        link, runner = self._link, self._runner
        if link is not None and self._session.phase is Phase.OPEN:
            self._session.log_out()
            link.flush()
            await asyncio.wait([link.ended], timeout=self._policy.close_timeout_ns / 1e9)
        if runner is not None:
            runner.cancel()
            await asyncio.wait([runner])
        if self._failure is not None and not isinstance(self._failure, ClientError):
            raise self._failure

    async def enter(
        self,
        symbol: str,
        side: Side,
        quantity: int,
        price: int = 0,
        *,
        stop_price: int = 0,
        order_type: OrderType | None = None,
        time_in_force: TimeInForce = TimeInForce.DAY,
        post_only: bool = False,
        capacity: Capacity = Capacity.AGENCY,
        client_order_id: str = "",
    ) -> int:
        """Enters an order and returns its user_ref_num; `Accepted` or `Rejected` will answer.

        Prices in 1/10,000; 0 for an order without a limit or a stop price. The order type follows
        from them; one that is given has to agree. Raises ValueError for what fits no order, and a
        ClientError when the client can't go on.
        """
        await self._for_room()
        number = self._session.next_user_ref_num()
        message = orders.enter_order(
            number,
            symbol,
            side,
            quantity,
            price,
            order_type=order_type,
            stop_price=stop_price,
            time_in_force=time_in_force,
            post_only=post_only,
            capacity=capacity,
            client_order_id=client_order_id,
        )
        self._session.submit(message)
        self._flush()
        return number

    async def replace(
        self,
        user_ref_num: int,
        quantity: int,
        price: int = 0,
        *,
        stop_price: int = 0,
        time_in_force: TimeInForce = TimeInForce.DAY,
        client_order_id: str = "",
    ) -> int:
        """Gives an order other terms, and returns its new user_ref_num; `Replaced` will answer.

        The quantity counts what the order has already executed. Price 0 is for orders without a
        limit; stop price 0 keeps the one that it has.
        """
        await self._for_room()
        orders.check_entered(user_ref_num, self._session.last_user_ref_num)
        number = self._session.next_user_ref_num()
        message = orders.replace_order(
            user_ref_num,
            number,
            quantity,
            price,
            stop_price=stop_price,
            time_in_force=time_in_force,
            client_order_id=client_order_id,
        )
        self._session.submit(message)
        self._flush()
        return number

    async def cancel(self, user_ref_num: int, remaining: int = 0) -> None:
        """Reduces an order to what should remain open of it; `Canceled` will answer.

        Nothing answers when there is nothing to do: the order has ended, or has no more open.
        """
        await self._for_room()
        if self._session.unanswered.cancel_count >= self._policy.unanswered_limit:
            raise Overrun("too many cancels are unanswered; read events() until some are answered")
        orders.check_entered(user_ref_num, self._session.last_user_ref_num)
        self._session.submit_cancel(orders.cancel_order(user_ref_num, remaining))
        self._flush()

    async def mass_cancel(self, symbol: str | None = None) -> int:
        """Cancels all orders, in one symbol or in all; returns the command's user_ref_num.

        `MassCanceled` will answer, and a `Canceled` for each order.
        """
        await self._for_room()
        number = self._session.next_user_ref_num()
        self._session.submit(orders.mass_cancel(number, symbol))
        self._flush()
        return number

    async def events(self) -> AsyncGenerator[Event, None]:
        """The events of the client's stream, in order, each once; ends when the client is closed.

        Raises a ClientError, after the events that came before, when the client can't go on.
        """
        while True:
            while self._events:
                event = self._events.popleft()
                if isinstance(event, SessionBegan):
                    self._begun.popleft()
                if self._link is not None and len(self._events) <= self._policy.unread_limit // 2:
                    self._link.resume_reading()
                yield event
            if self._failure is not None:
                raise self._failure
            if self._is_closed:
                return
            await self._until(lambda: bool(self._events) or self._is_closed)

    @property
    def next_sequence(self) -> int:
        """The number of the next event that `events()` will give out; a later client goes on there.

        0 when the client asked for what happens from now on and has not heard where that is.
        """
        return self._place[1]

    @property
    def session(self) -> str:
        """The session that `next_sequence` counts in; empty while it is not known."""
        return self._place[0]

    @property
    def _place(self) -> tuple[str, int]:
        """The session and the number of the next event that `events()` will give out."""
        begun = 0  # sessions, before that event
        for event in self._events:
            if event.sequence and begun < len(self._begun):
                return self._begun[begun].previous, event.sequence
            if event.sequence:
                return self._session.session_before, event.sequence
            begun += isinstance(event, SessionBegan)
        return self._session.session, self._session.next_sequence

    @property
    def resumes(self) -> int:
        """How often the client has logged in again after a lost connection."""
        return max(self._log_ins - 1, 0)

    @property
    def unread_count(self) -> int:
        """How many events have come that `events()` has not given out yet."""
        return len(self._events)

    @property
    def is_open(self) -> bool:
        """Whether the client is logged in right now, rather than connecting again."""
        return self._session.phase is Phase.OPEN

    @property
    def unanswered_count(self) -> int:
        """How many commands wait for an answer; they would be sent again after a resume.

        Without cancels of orders that this client knows nothing of: those may never have one.
        """
        return self._session.unanswered.numbered_count + self._session.unanswered.cancel_count

    async def _for_room(self) -> None:
        """Waits until one more command can be taken."""
        if self._runner is not None:
            await self._until(lambda: self._has_room or self._is_overrun or self._is_closed)
        if self._runner is None or self._is_closed:
            raise ClientError('the client is not open; use it in an "async with" block')
        if not self._has_room:
            raise Overrun("too many events wait; read events() while orders are entered")

    @property
    def _has_room(self) -> bool:
        can_write = self._link is None or self._link.can_write
        unanswered_count = self._session.unanswered.numbered_count
        has_room = can_write and unanswered_count < self._policy.unanswered_limit
        return has_room and self._session.knows_its_numbers

    @property
    def _is_overrun(self) -> bool:
        return self.unread_count >= self._policy.unread_limit

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Waits for a condition; raises what has made the client fail, if it has."""
        while self._failure is None and not condition():
            self._change.clear()
            await self._change.wait()
        if self._failure is not None:
            raise self._failure

    def _flush(self) -> None:
        if self._link is not None:
            self._link.flush()

    def _changed(self) -> None:
        self._change.set()

    def _deliver(self, event: Event) -> bool:
        self._events.append(event)
        if isinstance(event, SessionBegan):
            self._begun.append(event)
        return not self._is_overrun

    def _logged_in(self) -> None:
        self._reconnect.logged_in(time.monotonic_ns())
        self._log_ins += 1

    async def _run(self) -> None:
        try:
            await self._stay_connected()
        except Exception as error:
            self._failure = error
        finally:
            self._changed()

    async def _stay_connected(self) -> None:
        """Connects again and again, until the client is closed or another attempt is no use."""
        self._reconnect.begin(time.monotonic_ns())
        fault: Exception | None = None
        while not self._is_closed:
            attempt = self._reconnect.attempt(time.monotonic_ns())
            if attempt is None:
                raise ConnectionLost(f"no gateway could be reached: {fault}") from fault
            await asyncio.sleep(attempt.wait_ns / 1e9)
            try:
                fault = await self._serve(attempt.address)
            except ssl.SSLCertVerificationError as error:
                raise ConnectionLost(
                    f"{attempt.address} is not who it should be: {error}"
                ) from error
            except TimeoutError:
                fault = LinkFault(f"{attempt.address} did not answer in time")
            except OSError as error:
                fault = LinkFault(str(error))
            if not isinstance(fault, LinkFault):
                raise fault
            if isinstance(fault, LogInPutOff):
                self._reconnect.put_off()
            self._reconnect.lost(time.monotonic_ns())
            log.info("connection to %s lost: %s", attempt.address, fault)

    async def _serve(self, address: Address) -> Exception:
        """Uses one connection for as long as it lasts; returns why it ended.

        Raises OSError when it can't be opened.
        """
        async with asyncio.timeout(self._policy.connect_timeout_ns / 1e9):
            _, link = await asyncio.get_running_loop().create_connection(
                lambda: Link(self._session, self._deliver, self._logged_in, self._changed),
                address.host,
                address.port,
                ssl=self._tls,
            )
        self._link = link
        try:
            await asyncio.wait([link.ended])
        finally:
            self._link = None
            link.abort()
            await asyncio.wait([link.ended])
        return link.ended.result()
