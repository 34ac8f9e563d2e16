"""A whole exchange of child processes, brought up and taken down."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from kazoo.client import KazooClient  # type: ignore[import-untyped]

from engine.control import ControlError
from engine.settings import InstrumentSettings
from feed.faults import FaultShares
from feed.settings import JournalSettings, SyncPolicy
from tests.tools.other_processes import processes_with, until_gone
from tools.child import ChildError
from tools.configuration import Configuration
from tools.console import CommandError, UsageError
from tools.credentials import read_secrets
from tools.layout import Transport
from tools.ports import free_addresses
from tools.processes import ClientSpec, Exchange
from tools.replicas import all_follow, find_primary
from tools.takeovers import has_returned
from zk.embedded import EmbeddedServer

WITHIN_S = 90
CLIENTS = {"ALICE": ClientSpec(), "BOB": ClientSpec(secret="sesame")}
SYMBOLS = [InstrumentSettings(symbol="AAPL")]


def run(situation: Callable[[], Awaitable[None]]) -> None:
    async def within_limits() -> None:
        async with asyncio.timeout(WITHIN_S):
            await situation()

    asyncio.run(within_limits())


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let exchanges put their folders where the test can look for what they leave behind."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_exchange_comes_up_answers_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async def situation() -> None:
        exchange = Exchange(clients=CLIENTS, symbols=SYMBOLS, name="TEST")
        async with exchange:
            assert list(exchange.children) == ["zookeeper", "e1", "r1", "r2", "g1"]
            assert len(processes_with(str(tmp_path))) == 4  # the server has no file from there
            assert exchange.secrets["BOB"] == "sesame"
            assert read_secrets(exchange.secrets_path) == exchange.secrets
            status = await exchange.status()
            assert (status["name"], status["commands"]) == ("e1", 2)
            assert (await exchange.status("e1"))["state_digest"] == status["state_digest"]
            assert await exchange.primary() == "e1"
            assert exchange.configuration.exchange == "TEST"
            server = exchange.children["zookeeper"].process_id
        assert next(iter(exchange.summaries)) == "g1"
        assert list(exchange.summaries)[3:] == ["e1", "zookeeper"]
        assert exchange.summaries["r1"]["gaps_detected"] == 0
        assert exchange.summaries["r1"]["next_sequence"] == 3
        digests = {exchange.summaries[name]["list_digest"] for name in ("g1", "r1", "r2", "e1")}
        assert digests == {status["list_digest"]}
        until_gone(server)

    run(situation)
    assert list(tmp_path.iterdir()) == []
    assert processes_with(str(tmp_path)) == []


def children_of_the_root(hosts: str) -> list[str]:
    client = KazooClient(hosts=hosts)
    client.start()
    try:
        return list(client.get_children("/lockstep"))
    finally:
        client.stop()
        client.close()


def test_killed_primary_is_succeeded_and_comes_back_as_a_backup() -> None:
    async def situation() -> None:
        exchange = Exchange(clients={}, symbols=SYMBOLS, replicas=3, retransmitters=0, gateways=0)
        async with exchange:
            watching = asyncio.ensure_future(exchange.watch())
            killed = await exchange.primary()
            process_id = exchange.children[killed].process_id
            await exchange.kill(killed)
            assert killed not in exchange.children
            until_gone(process_id)
            successor = await exchange.until("a takeover", find_primary)
            assert successor["name"] != killed
            assert successor["epoch"] > 1
            await exchange.restart(killed)
            assert list(exchange.children) == ["zookeeper", "e1", "e2", "e3"]
            await exchange.until("the return", lambda statuses: has_returned(statuses, killed))
            assert not watching.done()
            os.kill(exchange.children[killed].process_id, signal.SIGKILL)
            with pytest.raises(ChildError, match=f"{killed} ended by itself"):
                await watching  # what was restarted is watched, too
            raise ChildError("as the caller would")

    with pytest.raises(ChildError, match="as the caller would"):
        run(situation)


def test_paused_replica_does_not_answer_until_it_goes_on() -> None:
    async def situation() -> None:
        exchange = Exchange(clients={}, symbols=SYMBOLS, replicas=2, retransmitters=1, gateways=0)
        async with exchange:
            (backup,) = {"e1", "e2"} - {await exchange.primary()}
            exchange.pause(backup)
            statuses = await exchange.statuses()
            assert isinstance(statuses[backup], ControlError)
            with pytest.raises(CommandError, match=f"no answer from {backup}"):
                await exchange.status(backup)
            exchange.unpause(backup)
            assert (await exchange.status(backup))["name"] == backup

    run(situation)


def test_process_that_runs_is_stopped_before_it_is_restarted() -> None:
    async def situation() -> None:
        exchange = Exchange(clients={}, symbols=SYMBOLS, gateways=1, retransmitters=0)
        async with exchange:
            before = exchange.children["g1"].process_id
            await exchange.restart("g1")
            until_gone(before)
            assert exchange.summaries["g1"]["name"] == "g1"
            assert exchange.children["g1"].process_id != before

    run(situation)


def test_exchange_in_a_folder_of_its_own_stays_there_with_its_journals(tmp_path: Path) -> None:
    folder = tmp_path / "kept" / "here"

    def exchange() -> Exchange:
        return Exchange(
            clients=CLIENTS,
            symbols=SYMBOLS,
            retransmitters=0,
            gateways=0,
            journal={"sync": SyncPolicy.NEVER},
            folder=folder,
        )

    async def situation() -> None:
        async with exchange() as kept:
            assert kept.folder == folder
            journal = kept.configuration.journal
            assert journal == JournalSettings(folder=folder / "journal", sync=SyncPolicy.NEVER)
        with pytest.raises(UsageError, match="has an exchange already"):
            async with exchange():
                raise AssertionError("it was written over")

    run(situation)
    assert Configuration.load(folder / "exchange.toml").replicas.keys() == {"e1"}
    assert list((folder / "journal" / "shard-1" / "e1").glob("*.frames"))
    assert processes_with(str(tmp_path)) == []


def test_exchange_runs_on_the_servers_that_it_is_given() -> None:
    async def situation() -> None:
        address = free_addresses(1)[0]
        server = EmbeddedServer(address)
        roots: set[str] = set()
        await server.start()
        try:
            for _ in range(2):  # the past of the first is none of the second's
                exchange = Exchange(
                    clients={},
                    symbols=SYMBOLS,
                    retransmitters=0,
                    gateways=0,
                    zookeeper_hosts=str(address),
                )
                async with exchange:
                    assert list(exchange.children) == ["e1"]
                    status = await exchange.status()
                    assert (status["epoch"], status["sequence"]) == (1, 2)
                    roots.add(exchange.configuration.zookeeper.root)
            assert len(roots) == 2
            assert await asyncio.to_thread(children_of_the_root, str(address)) == []
        finally:
            await server.stop()

    run(situation)


def test_exchange_by_unicast_reaches_every_receiver_and_puts_faults_in() -> None:
    async def situation() -> None:
        exchange = Exchange(
            clients={},
            symbols=SYMBOLS,
            replicas=2,
            gateways=1,
            retransmitters=1,
            faults=FaultShares(duplicate=1.0),
            transport=Transport.UNICAST,
        )
        async with exchange:
            feed = exchange.configuration.feed
            assert feed.transport == "unicast"
            assert exchange.receive in feed.receivers
            assert len(feed.receivers) == 5
            # What was there when they came they have had by TCP.
            for request in ("halt", "resume"):
                asked = {"request": request, "symbol": "AAPL"}
                await exchange.ask(await exchange.primary(), asked)
                await exchange.until("the command's way to all holders", all_follow)
        for received in (exchange.summaries["r1"]["received"], exchange.summaries["g1"]["feed"]):
            assert received["duplicates"] > 0

    run(situation)


def test_exchange_of_several_shards_has_a_primary_in_each_and_lists_where_things_are() -> None:
    async def situation() -> None:
        symbols = [InstrumentSettings(symbol=each) for each in ("AAPL", "MSFT", "NVDA")]
        exchange = Exchange(
            clients={},
            symbols=symbols,
            shards=2,
            replicas=2,
            retransmitters=1,
            gateways=0,
            transport=Transport.UNICAST,
        )
        async with exchange:
            assert list(exchange.children) == ["zookeeper", "e1", "e2", "e3", "e4", "r1", "r2"]
            assert await exchange.primary(1) in ("e1", "e2")
            assert await exchange.primary(2) in ("e3", "e4")
            told = {shard: await exchange.status(shard=shard) for shard in (1, 2)}
            # Beside the frame that begins each epoch, one for each instrument dealt out there.
            listed = {shard: each["sequence"] - each["epoch"] for shard, each in told.items()}
            assert listed == {1: 2, 2: 1}
            assert list(await exchange.statuses(shard=2)) == ["e3", "e4"]
            for shard, view in exchange.shards.items():
                assert exchange.receive_of(shard) in view.feed.receivers
            for ask in (exchange.primary, exchange.status, exchange.statuses):
                with pytest.raises(UsageError, match="say which one"):
                    await ask()
            # Of three holders two are left: they are enough.
            killed = await exchange.primary(2)
            await exchange.kill(killed)
            successor = await exchange.until("a takeover", find_primary, shard=2)
            assert successor["name"] in {"e3", "e4"} - {killed}
            assert successor["epoch"] > told[2]["epoch"]
        assert list(exchange.summaries)[-1] == "zookeeper"

    run(situation)


def test_what_does_not_come_about_is_told_with_how_things_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def situation() -> None:
        exchange = Exchange(clients={}, symbols=SYMBOLS, retransmitters=0, gateways=0)
        async with exchange:
            with pytest.raises(CommandError) as raised:
                await exchange.until("a miracle", lambda statuses: None, within_s=0.1)
            assert str(raised.value) == (
                "a miracle did not come about within 0 s; "
                "e1 is primary in epoch 1, at 2, committed up to 2; acknowledged: "
            )

    run(situation)


def test_process_that_can_not_start_takes_the_exchange_down(tmp_path: Path) -> None:
    async def situation() -> None:
        missing = tmp_path / "missing.pem"
        exchange = Exchange(
            clients={},
            symbols=SYMBOLS,
            retransmitters=0,
            gateway_options={"tls_certificate": missing, "tls_key": missing},
        )
        with pytest.raises(ChildError, match=r"the process g1 ended(.|\n)*missing\.pem"):
            async with exchange:
                raise AssertionError("it came up")

    run(situation)
    assert list(tmp_path.iterdir()) == []
    assert processes_with(str(tmp_path)) == []


def test_process_that_dies_is_noticed_and_the_others_are_stopped(tmp_path: Path) -> None:
    async def situation() -> None:
        exchange = Exchange(clients={}, symbols=SYMBOLS, gateways=0, retransmitters=1)
        async with exchange:
            watching = asyncio.ensure_future(exchange.watch())
            os.kill(exchange.children["e1"].process_id, signal.SIGKILL)
            with pytest.raises(ChildError, match="e1 ended by itself"):
                await watching
            with pytest.raises(CommandError, match="no replica is primary"):
                await exchange.status()
            raise ChildError("as the caller would")

    with pytest.raises(ChildError, match="as the caller would"):
        run(situation)
    assert list(tmp_path.iterdir()) == []
    assert processes_with(str(tmp_path)) == []
