"""The operator's port of a replica: one JSON object a line in, one a line out, over TCP.

Any replica answers {"request": "status"}, with "digests": true where they are wanted. The primary
alone answers the others:

- "halt" and "resume" with a "symbol"; "halt" also ends an arrival. "new-day" with a "day" as
  20261231.
- "define" lists an instrument: "symbol", "tick_size", "lot_size", and "short_sale", true or false.
  One that is listed just so is not listed again ("is_new" is false).
- "instruments", all of them or those of "symbols", a list: "symbol", "state", "moves" and "orders",
  the live ones, of each. At most 400 come in one answer: when "has_more" is true, ask again with
  "after", the last symbol.
- "move-out" with a "symbol" that is halted, and the "shard" where it goes: how many "orders" went,
  and how often it has moved by now, "moves". Of one that has moved before, the error says so:
  "moved" is true, with its "moves".
- "adopt-instrument" with the fields of ADOPT_INSTRUMENT (docs/wire.md), codes as numbers; then
  "adopt-orders" with "symbol", "moves", and "orders": of each, a list of the other fields of
  ADOPT_ORDER in their order. The answer counts those that were "taken", "not_admitted" (they took
  effect before) and "rejected".

"sequence" in an answer is where the list had come to: what the request did is committed when that
is. An answer holds "error" when the request can't be met, and why.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from feed.settings import Address

LINE_LIMIT_BYTES = 65_536  # no request or answer comes near it
ANSWER_WITHIN_S = 10

Answer = dict[str, Any]
Handler = Callable[[Mapping[str, Any]], Answer]


class ControlError(Exception):
    """The replica can't be asked, or refused the request; the text says why."""


async def ask(address: Address, request: Mapping[str, Any]) -> Answer:
    """A replica's answer to one request.

    Raises ControlError when there is none, or when it is an error.
    """
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            reader, writer = await asyncio.open_connection(*address, limit=LINE_LIMIT_BYTES)
            try:
                writer.write(json.dumps(request).encode() + b"\n")
                line = await reader.readline()
            finally:
                writer.close()
                await writer.wait_closed()
        answer = json.loads(line)
    except (OSError, TimeoutError, ValueError) as error:
        raise ControlError(f"no answer from a replica at {address}: {error!r}") from error
    if not isinstance(answer, dict):
        raise ControlError(f"what answers at {address} is no replica: {line[:80]!r}")
    if "error" in answer:
        raise ControlError(f"the replica at {address} refused: {answer['error']}")
    return answer


class ControlServer:
    """Serves the requests of operators, each by `handle`."""

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, address: Address) -> None:
        """Listen; raises OSError when the address is taken."""
        self._server = await asyncio.start_server(self._serve, *address, limit=LINE_LIMIT_BYTES)

    async def stop(self) -> None:
        """Stop listening and end what is connected."""
        if self._server is None:
            return
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                writer.write(json.dumps(self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError):
            # The peer is gone, or its line is longer than any request: nothing to answer.
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, line: bytes) -> Answer:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError) as error:
            return {"error": f"not a line of JSON: {error}"}
        if not isinstance(request, dict):
            return {"error": 'a request is a JSON object, as {"request": "status"}'}
        return self._handle(request)
