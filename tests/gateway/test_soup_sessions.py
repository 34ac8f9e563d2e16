"""An independent library's SoupBinTCP sessions, as the client and as the server of ours."""

import asyncio
from typing import Any

from nasdaq_protocols import soup as judge  # type: ignore[import-untyped]

from feed.messages import Side, TimeInForce
from gateway import ouch
from gateway.client import Client
from gateway.events import Event, to_event
from gateway.ouch_codec import decode_inbound, encode
from tests.gateway.exchange_side import AAPL, accepted, executed
from tests.gateway.fake_gateway import FakeExchange, FakeGateway

GUARD_SECONDS = 20


def test_an_independent_client_reads_a_stream_of_ours_and_enters_an_order() -> None:
    async def test() -> None:
        exchange = FakeExchange()
        exchange.stream += [accepted(1), executed(1, 40), executed(1, 60)]
        exchange.last_user_ref_num = 1
        async with asyncio.timeout(GUARD_SECONDS), FakeGateway(exchange) as gateway:
            session = await judge.connect_async(
                tuple(gateway.address), "ALICE", "secret", "DEMO", sequence=2
            )
            order = ouch.EnterOrder(2, Side.BUY, 100, AAPL, 1_850_000, TimeInForce.DAY)
            session.send_unseq_data(encode(order))
            received = [await session.receive_msg() for _ in range(3)]
            await session.close()
        assert session.session_id.session == "DEMO"
        assert received == [
            judge.SequencedData(encode(message))
            for message in (executed(1, 40), executed(1, 60), accepted(2))
        ]
        assert exchange.commands == [order]

    asyncio.run(test())


class JudgeServer(judge.SoupServerSession):  # type: ignore[misc]
    """The independent library's server, with one client's stream of ours."""

    log_ins: list[Any]

    async def on_login(self, msg: Any) -> Any:
        self.log_ins.append(msg)
        return judge.LoginAccepted("DEMO", int(msg.sequence))

    async def on_unsequenced(self, msg: Any) -> None:
        match decode_inbound(msg.data):
            case ouch.AccountQuery():
                response = ouch.AccountQueryResponse(1, 7)
                self.send_msg(judge.UnSequencedData(encode(response)))
            case ouch.EnterOrder(user_ref_num=number):
                self.send_debug("an order")
                self.send_seq_msg(encode(accepted(number)))


def test_our_client_logs_in_to_an_independent_server_and_enters_an_order() -> None:
    async def test() -> None:
        sessions: list[JudgeServer] = []

        def session() -> JudgeServer:
            sessions.append(JudgeServer())
            sessions[-1].log_ins = []
            return sessions[-1]

        async with asyncio.timeout(GUARD_SECONDS):
            loop = asyncio.get_running_loop()
            server = await loop.create_server(session, "127.0.0.1", 0)
            host, port = server.sockets[0].getsockname()
            async with Client(f"{host}:{port}", "ALICE", "secret", next_sequence=41) as client:
                assert await client.enter("AAPL", Side.BUY, 100, 1_850_000) == 7
                events = client.events()
                event: Event = await anext(events)
                await events.aclose()
            server.close()
            await server.wait_closed()
            await sessions[0].close()
        assert event == to_event(accepted(7), 41)
        assert sessions[0].log_ins == [judge.LoginRequest("ALICE", "secret", "", "41")]

    asyncio.run(test())
