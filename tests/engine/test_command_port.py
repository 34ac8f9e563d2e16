"""The port that gateways submit at: nothing that came to a candidate is lost when it leads."""

import asyncio
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvloop

from engine.command_port import CommandPort
from engine.replica import Replica, State
from feed.datagrams import DECISION_BYTES, Submission, encode_submission, take_decisions
from feed.messages import CancelOrder
from tools.ports import free_addresses

WITHIN_S = 10.0


class LeadingLater:
    """A replica that takes over while a gateway is already connected to it."""

    def __init__(self) -> None:
        self.state = State.CANDIDATE
        self.primary: Any = None
        self.taken = b""

    def lead(self) -> None:
        self.state = State.PRIMARY
        self.primary = SimpleNamespace(epoch=2, last_sequence=7, is_full=False, has_room_again=True)

    def submit(self, submissions: bytes) -> None:
        self.taken += submissions


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_what_came_to_a_candidate_is_submitted_once_it_leads(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    sent = [encode_submission(Submission(9, CancelOrder(1, number, 0))) for number in range(1, 6)]

    async def run() -> None:
        loop = asyncio.get_running_loop()
        replica = LeadingLater()
        (address,) = free_addresses(1)
        port = CommandPort(cast(Replica, replica), lambda: None)
        await port.start(address)
        gateway = socket.create_connection(address)
        try:
            gateway.setblocking(False)
            await loop.sock_sendall(gateway, b"".join(sent[:2]) + sent[2][:5])
            await asyncio.sleep(0.05)  # a loop that reads too early has read by then
            assert replica.taken == b""
            replica.lead()
            port.settle()
            await loop.sock_sendall(gateway, sent[2][5:] + b"".join(sent[3:]))
            received = bytearray()
            while not received or take_decisions(bytearray(received))[-1].submission < len(sent):
                answer = await asyncio.wait_for(
                    loop.sock_recv(gateway, DECISION_BYTES * len(sent)), WITHIN_S
                )
                assert answer, "the port has closed the connection"
                received += answer
        finally:
            gateway.close()
            await port.stop()
        assert replica.taken == b"".join(sent)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run())
