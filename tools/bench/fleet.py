"""Many clients' connections in one process: raw sockets that do not block, and one epoll."""

import contextlib
import resource
import select
import socket
import time
from collections.abc import Sequence

from feed.settings import Address
from tools.bench.figures import BenchmarkError
from tools.bench.order_bytes import (
    CLIENT_HEARTBEAT,
    AnswerReader,
    CancelMaker,
    OrderFlow,
    OrderMaker,
    log_in_request,
)
from tools.bench.pacing import Pace

# A listening socket of asyncio's keeps a hundred connections that nobody has accepted yet; what
# comes beyond that is tried anew by the kernel a second later.
LOG_INS_AT_ONCE = 64
# Each client has a moment in every second at which it says that it is there, unless it has sent
# something within half a second: so it is silent for one and a half at most.
_SILENT_FOR_NS = 500_000_000
_READ_BYTES = 1 << 16
_SPARE_FILES = 200  # what a process has open beside its connections
_NS_PER_S = 1e9
_CANCEL = CancelMaker().cancel


class FleetClient:
    """One logged-in client."""

    def __init__(self, place: int, connection: socket.socket, now_ns: int) -> None:
        self.place = place  # in the fleet
        self.connection = connection
        self.answers = AnswerReader()
        self.orders = 0  # sent, or waiting to be; the last one's user_ref_num
        self.sent_ns = now_ns
        self.heard_ns = now_ns
        self.maker = OrderMaker(b" " * 8, OrderFlow.RESTING)
        self.unsent = b""

        self.cancels = 0  # sent, or waiting to be; the last one's user_ref_num

    @property
    def outstanding(self) -> int:
        """Orders that are not accepted yet, and cancels that are not done."""
        answers = self.answers
        return self.orders - answers.accepted + self.cancels - answers.canceled

    def next_orders(self, count: int) -> bytes:
        """The bytes of the client's next so many orders."""
        first = self.orders + 1
        self.orders += count
        order = self.maker.order
        return b"".join([order(number) for number in range(first, first + count)])

    def next_cancels(self, count: int) -> bytes:
        """The bytes of the cancels of the client's next so many orders, or of what is left."""
        first = self.cancels + 1
        self.cancels = min(self.orders, self.cancels + count)
        return b"".join([_CANCEL(number) for number in range(first, self.cancels + 1)])


class Fleet:
    """All clients; a context manager that ends their connections.

    Time is monotonic, in ns. What goes wrong with any of them raises BenchmarkError.
    """

    def __init__(self) -> None:
        self.clients: list[FleetClient] = []
        self.longest_silence_ns = 0  # of the gateway towards a client that is logged in
        self.heartbeats_sent = 0
        self._by_descriptor: dict[int, FleetClient] = {}
        self._epoll = select.epoll()
        self._heartbeats: Pace | None = None
        self._moments = 0  # of heartbeats, in a second

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *exception: object) -> None:
        for client in self.clients:
            client.connection.close()
        self._epoll.close()

    @property
    def heartbeats_heard(self) -> int:
        """How many heartbeats the gateway has sent to all."""
        return sum(client.answers.heartbeats for client in self.clients)

    @property
    def answered(self) -> int:
        """How many orders of all clients are accepted, and cancels done."""
        return sum(each.answers.accepted + each.answers.canceled for each in self.clients)

    def log_in(self, address: Address, users: Sequence[str], secret: str, within_s: float) -> None:
        """Connect a client for each user and log it in, some of them at the same time."""
        deadline = time.monotonic() + within_s
        self._moments = len(users)
        self._heartbeats = Pace(self._moments, time.monotonic_ns())
        waiting = 0
        opened = 0
        while len(self.clients) < len(users) or waiting:
            while waiting < LOG_INS_AT_ONCE and len(self.clients) < len(users):
                self._connect(address, users[len(self.clients)], secret)
                waiting += 1
            self.pump(time.monotonic_ns() + 100_000_000)
            logged_in = sum(client.answers.is_open for client in self.clients[opened:])
            waiting = len(self.clients) - opened - logged_in
            while opened < len(self.clients) and self.clients[opened].answers.is_open:
                opened += 1
            if time.monotonic() > deadline:
                raise BenchmarkError(
                    f"{waiting} of {len(self.clients)} clients were not let in: "
                    f"{within_s:.0f} s are over"
                )

    def trade(self, symbols: Sequence[bytes], flow: OrderFlow) -> None:
        """From here on the clients send orders of this flow, each in one of the symbols."""
        for client in self.clients:
            client.maker = OrderMaker(symbols[client.place % len(symbols)], flow)

    def send(self, client: FleetClient, data: bytes) -> None:
        """Write what the connection takes; the rest follows when it takes more."""
        client.sent_ns = time.monotonic_ns()
        if client.unsent:
            client.unsent += data
            return
        sent = self._write(client, data)
        if sent < len(data):
            client.unsent = data[sent:]
            self._epoll.modify(client.connection, select.EPOLLIN | select.EPOLLOUT)

    def pump(self, until_ns: int) -> list[tuple[FleetClient, int]]:
        """Wait until something can be read or written, or a moment; send heartbeats that are due.

        Returns the clients of which orders have been accepted or canceled, and how many of each.
        """
        now_ns = time.monotonic_ns()
        if self._heartbeats is not None:
            until_ns = min(until_ns, self._heartbeats.next_ns)
        wait_ns = until_ns - now_ns
        if wait_ns > 0:  # epoll itself can only wait for whole milliseconds
            select.select([self._epoll], [], [], wait_ns / _NS_PER_S)
        answered = []
        for descriptor, events in self._epoll.poll(0):
            client = self._by_descriptor[descriptor]
            if events & ~select.EPOLLOUT and (count := self._read(client)):
                answered.append((client, count))
            if events & select.EPOLLOUT:
                self._write_rest(client)
        self._send_heartbeats()
        return answered

    def note_silences(self) -> None:
        """Count the silences that are not over."""
        now_ns = time.monotonic_ns()
        for client in self.clients:
            self.longest_silence_ns = max(self.longest_silence_ns, now_ns - client.heard_ns)

    def _connect(self, address: Address, user: str, secret: str) -> None:
        try:
            connection = socket.create_connection(address, timeout=5)
        except OSError as error:
            raise BenchmarkError(f"client {user} can't connect: {error}") from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        client = FleetClient(len(self.clients), connection, time.monotonic_ns())
        self.clients.append(client)
        self._by_descriptor[connection.fileno()] = client
        self._epoll.register(connection, select.EPOLLIN)
        self.send(client, log_in_request(user, secret))

    def _read(self, client: FleetClient) -> int:
        try:
            data = client.connection.recv(_READ_BYTES)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise BenchmarkError(f"client {client.place} lost its connection: {error}") from error
        if not data:
            raise BenchmarkError(f"the gateway closed the connection of client {client.place}")
        was_open = client.answers.is_open
        count = client.answers.take(data)
        now_ns = time.monotonic_ns()
        if was_open:
            self.longest_silence_ns = max(self.longest_silence_ns, now_ns - client.heard_ns)
        client.heard_ns = now_ns
        return count

    def _write(self, client: FleetClient, data: bytes) -> int:
        try:
            return client.connection.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise BenchmarkError(f"client {client.place} lost its connection: {error}") from error

    def _write_rest(self, client: FleetClient) -> None:
        client.unsent = client.unsent[self._write(client, client.unsent) :]
        if not client.unsent:
            self._epoll.modify(client.connection, select.EPOLLIN)

    def _send_heartbeats(self) -> None:
        """Let the clients whose moment has come say that they are there, where they must."""
        if self._heartbeats is None:
            return
        now_ns = time.monotonic_ns()
        for number in self._heartbeats.due(now_ns):
            place = number % self._moments
            client = self.clients[place] if place < len(self.clients) else None
            if client and client.answers.is_open and now_ns - client.sent_ns >= _SILENT_FOR_NS:
                self.send(client, CLIENT_HEARTBEAT)
                self.heartbeats_sent += 1


def allow_open_files(connections: int) -> None:
    """Let this process, and those that it starts, have so many connections.

    Raises BenchmarkError, with what to do about it, where the system does not allow it.
    """
    needed = connections + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise BenchmarkError(
            f"{connections:,} connections need {needed:,} open files, and this system allows "
            f"{hard:,}: raise it (ulimit -Hn {needed}, as root), or use fewer --clients"
        )
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
