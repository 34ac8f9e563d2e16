"""What the lines of a file of orders have to be together: ids, clients and times that fit."""

from collections.abc import Iterator
from typing import NamedTuple

from tools.replay.order_fields import Moment
from tools.replay.order_formats import Fields, OrderFormat, read_fields
from tools.replay.order_ids import Named, OrderIds
from tools.replay.order_lines import Cancel, Enter, LineError, Replace, parse_action, shown
from tools.replay.text_lines import ByteLines, Complaint, read_lines

CLIENTS_LIMIT = 100  # each is a connection, and a secret to be checked
SYMBOLS_LIMIT = 1000  # far more than a shard has any use for


class Contents(NamedTuple):
    """What a file of orders holds."""

    lines: int  # that do something
    clients: tuple[str, ...]  # in the order in which they come up
    symbols: tuple[str, ...]
    has_times: bool


class Checker:
    """Goes through one file; lines without a client are `client`'s. `ids` gets each order's id."""

    def __init__(self, format: OrderFormat, client: str | None, ids: OrderIds) -> None:
        self._format = format
        self._client = client
        self._ids = ids
        self._count = 0
        self._clients: dict[str, None] = {}
        self._symbols: dict[str, None] = {}
        self._latest: tuple[int, Moment] | None = None  # with its line

    @property
    def contents(self) -> Contents:
        """What has been seen so far."""
        has_times = self._latest is not None
        return Contents(self._count, tuple(self._clients), tuple(self._symbols), has_times)

    def complaints(self, file: ByteLines) -> Iterator[Complaint]:
        """All that is wrong with the file, line by line."""
        for each in read_fields(self._format, read_lines(file)):
            if isinstance(each, Complaint):
                yield each
                continue
            for text in self._check(each):
                yield Complaint(each.line, text)
            self._count += 1

    def _check(self, fields: Fields) -> Iterator[str]:
        try:
            action = parse_action(fields.values)
        except LineError as error:
            yield from error.complaints
            # What names this order later is not to be blamed for it.
            order_id = fields.values.get("id", "")
            if order_id.isprintable():
                self._ids.add(order_id, Named(self._count, fields.line, None))
            return
        if action.time is not None:
            yield from self._check_moment(fields.line, action.time)
        if isinstance(action, Replace | Cancel):
            yield from self._check_named(action)
            return
        client = action.client or self._client
        if client is None:
            yield "client is missing: fill it in, or give --client for the lines without one"
        elif _adds(self._clients, client, CLIENTS_LIMIT):
            yield f"client {client} is one too many: a file has at most {CLIENTS_LIMIT}"
        if action.symbol is not None and _adds(self._symbols, action.symbol, SYMBOLS_LIMIT):
            yield f"symbol {action.symbol} is one too many: a file has at most {SYMBOLS_LIMIT:,}"
        if isinstance(action, Enter) and action.id is not None:
            earlier = self._ids.add(action.id, Named(self._count, fields.line, client))
            if earlier is not None:
                yield (
                    f"id {shown(action.id)} is that of line {earlier.line} already; "
                    "give each order its own"
                )

    def _check_named(self, action: Replace | Cancel) -> Iterator[str]:
        named = self._ids.find(action.id)
        if named is None:
            yield f"id {shown(action.id)}: no line above enters an order with this id"
        elif action.client is not None and named.client not in (None, action.client):
            yield (
                f"client {action.client}: order {shown(action.id)} of line {named.line} is "
                f"{named.client}'s; leave the client empty"
            )

    def _check_moment(self, line: int, moment: Moment) -> Iterator[str]:
        earlier_line, earlier = self._latest or (line, moment)
        if moment.kind is not earlier.kind:
            yield f"time is {moment.kind}, but that of line {earlier_line} is {earlier.kind}"
        elif moment.time_ns < earlier.time_ns:
            yield f"time is before that of line {earlier_line}; lines go in the order of their time"
        else:
            self._latest = line, moment


def _adds(seen: dict[str, None], name: str, limit: int) -> bool:
    """Keep a name; whether it is the first that is too many. Those after it are not kept."""
    if name in seen or len(seen) > limit:
        return False
    seen[name] = None
    return len(seen) > limit
