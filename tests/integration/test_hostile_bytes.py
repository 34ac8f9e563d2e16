"""Hostile bytes at every port of an exchange crash nothing, move nothing, and are counted."""

import asyncio
import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from engine.settings import InstrumentSettings
from feed.codec import PacketHeader, encode_frame, encode_packet
from feed.datagrams import HolderWord, Repair, encode_holder_word, encode_repair
from feed.messages import Epoch, Side, holder_field
from feed.multicast import FeedSender
from feed.schema import HolderKind, RepairKind
from feed.settings import Address, FailoverSettings
from gateway.client import Client
from gateway.events import Accepted
from tools.observer import Observer
from tools.processes import ClientSpec, Exchange
from tools.settling import digests_equal, settle

DATAGRAMS = 300
CONNECTIONS = 40
PRICE = 100_000


def hostile_datagrams(shard: int, chance: random.Random) -> Iterator[bytes]:
    """Noise, and packets, NAKs and acknowledgements that are damaged in every place, foreign, or of
    no sense."""
    frame = encode_frame(Epoch(7, holder_field("e9")), 1, 0, end=True)
    acknowledgement = HolderWord(HolderKind.ACK, shard, 7, holder_field("e1"), 1, 7, 1, 1)
    whole = [
        encode_holder_word(acknowledgement),
        encode_packet(PacketHeader(0, shard, 1, 1, 1), [frame]),
        encode_repair(Repair(RepairKind.NAK, shard, 1, 1, 5)),
    ]
    for i in range(DATAGRAMS):
        if i % 3 == 0:
            yield chance.randbytes(chance.randrange(1, 1400))
        elif i % 3 == 1:
            damaged = bytearray(chance.choice(whole))
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
            yield bytes(damaged)
        else:
            yield chance.choice(whole)[: chance.randrange(1, 30)]
    yield encode_packet(PacketHeader(0, shard + 1, 99, 1, 1), [frame])
    yield encode_repair(Repair(RepairKind.NAK, shard + 1, 1, 1, 2**63))


async def connect_and_send(address: Address, data: bytes) -> None:
    """Send bytes to a TCP port, and read until it has had enough of us."""
    reader, writer = await asyncio.open_connection(*address)
    with suppress(OSError):  # a backup takes no commands, and has closed it by now
        writer.write(data)
        writer.write_eof()
        await reader.read()
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def attack(exchange: Exchange) -> None:
    """Throw everything at every port."""
    chance = random.Random(20)
    configuration = exchange.configuration
    group = FeedSender(configuration.feed)
    holders = configuration.shard_settings().holders.values()
    ports = [port for each in holders for port in (each.repair, each.replication)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for data in hostile_datagrams(configuration.feed.shard, chance):
            group.send([data])
            for port in ports:
                sender.sendto(data, port)
    group.close()
    replicas = configuration.replicas.values()
    for port in (configuration.gateways["g1"].listen, *(each.commands for each in replicas)):
        for _ in range(CONNECTIONS):
            await connect_and_send(port, chance.randbytes(chance.randrange(1, 300)))


async def trade(client: Client, orders: int) -> None:
    """Enter orders that rest, and wait until each is accepted."""
    waiting = set()
    events = client.events()
    for i in range(orders):
        waiting.add(await client.enter("ACME", Side.BUY, 1, price=PRICE - 100 * i))
    while waiting:
        event = await anext(events)
        assert isinstance(event, Accepted), event
        waiting.discard(event.user_ref_num)
    await events.aclose()


async def attacked_exchange() -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    async with Exchange(
        clients={"ALICE": ClientSpec(secret="wonderland")},
        symbols=[InstrumentSettings(symbol="ACME")],
        replicas=2,
        retransmitters=1,
        failover=FailoverSettings(suspicion_time_ms=10_000),  # nobody takes over in the tumult
    ) as exchange:
        observer = Observer(exchange.configuration, receive=exchange.receive)
        observer.start()
        try:
            async with Client(
                exchange.configuration.gateways["g1"].listen, "ALICE", "wonderland"
            ) as client:
                await trade(client, 20)
                before = await exchange.status()
                await attack(exchange)
                after = await exchange.status()
                assert after["sequence"] == before["sequence"], "hostile bytes moved the list"
                assert after["state_digest"] == before["state_digest"]
                await trade(client, 20)
            settled = await settle(exchange, observer)
            assert settled.books_equal
            assert settled.frames_lost == 0
        finally:
            observer.close()
        status, summaries = await exchange.status(), await exchange.stop()
        assert digests_equal(settled, summaries)
        return status, summaries


def test_hostile_bytes_at_every_port_crash_nothing_move_nothing_and_are_counted() -> None:
    status, summaries = asyncio.run(attacked_exchange())
    assert status["live_orders"] == 40
    assert status["bad_submissions"] > 0
    assert status["repairs"]["naks_corrupt"] >= DATAGRAMS
    assert status["repairs"]["naks_other_shard"] == 1
    assert summaries["g1"]["connections"] == CONNECTIONS + 1
    assert summaries["g1"]["log_ins"] == 1
    assert summaries["g1"]["commands"] == 40
    assert sum(summaries["g1"]["closed"].values()) == CONNECTIONS + 1
    assert summaries["g1"]["closed"]["bad_packet"] > 0
    (backup,) = {"e1", "e2"} - {status["name"]}
    holders = [summaries["r1"], summaries[backup]]
    for received in [summaries["g1"]["feed"], *(each["received"] for each in holders)]:
        # None of the datagrams was whole and for this shard, but two were whole.
        assert received["foreign"] + received["corrupt"] == DATAGRAMS
        assert received["other_shard"] == 2
        assert received["after_failure"] == received["stale_epoch"] == 0
    for holder in holders:
        assert holder["repairs"]["naks_corrupt"] >= DATAGRAMS
        assert holder["failure"] is None
    assert summaries["r1"]["replication_port"]["foreign"] >= DATAGRAMS
