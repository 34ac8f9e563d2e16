"""Whoever comes in the middle of a day, under load, ends with the same list as everybody else."""

import asyncio
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from engine.settings import InstrumentSettings
from feed.schema import ReplayKind
from tools.observer import Observer
from tools.outcome import LOAD
from tools.processes import ClientSpec, Exchange
from tools.replicas import Statuses, find_primary
from tools.settling import digests_equal, settle

# More than NAKs are for.
BEFORE_FRAMES = 21_000
RATE = 10_000


def gone_on(statuses: Statuses, frames: int) -> str | None:
    """The primary's name, once so many frames are committed."""
    primary = find_primary(statuses)
    if primary is None or primary["committed_sequence"] < frames:
        return None
    return str(primary["name"])


def test_a_backup_a_retransmitter_a_gateway_and_a_subscriber_that_come_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    async def situation() -> None:
        exchange = Exchange(
            clients={"ALICE": ClientSpec(), "BOB": ClientSpec()},
            symbols=[InstrumentSettings(symbol=name) for name in ("AAPL", "MSFT")],
            replicas=3,
            gateways=2,
            journal={"sync": "never", "snapshot_frames": 5_000},
        )
        async with exchange:
            configuration = exchange.configuration
            folder = configuration.journal.folder if configuration.journal else Path()
            await exchange.kill("g2")
            first = Observer(configuration, receive=exchange.receive)
            late = Observer(configuration, begin=ReplayKind.STATE)
            files = (exchange.configuration_path, exchange.secrets_path)
            arguments = ["load", "--configuration", str(files[0]), "--secrets", str(files[1])]
            arguments += ["--keep-orders", "--rate", str(RATE)]
            with closing(first), closing(late):
                first.start()
                await exchange.start(LOAD, arguments)
                leader = await exchange.until(
                    "a long list", lambda statuses: gone_on(statuses, BEFORE_FRAMES)
                )
                backup = next(name for name in ("e1", "e2") if name != leader)
                await exchange.kill(backup, "r2")
                for name in (backup, "r2"):
                    shutil.rmtree(folder / "shard-1" / name)
                late.start()
                await exchange.restart(backup, "r2", "g2")
                sequence = (await exchange.status(leader))["sequence"]
                await exchange.until(
                    "more of it", lambda statuses: gone_on(statuses, sequence + RATE // 2)
                )
                await exchange.finish(LOAD)
                settled = await settle(exchange, first)
                while late.sequence < settled.status["sequence"]:
                    await late.watch_until(asyncio.Event(), within_s=0.1)
                assert settled.failure is None
                assert settled.books_equal
                assert late.books.digest() == settled.status["book_digest"]
                assert late.digest is not None
                assert late.digest.hex() == settled.status["list_digest"]
            summaries = await exchange.stop()
            assert digests_equal(settled, summaries)
            gateway, retransmitter = summaries["g2"], summaries["r2"]
            assert gateway["list_digest"] == settled.status["list_digest"]
            assert retransmitter["first_sequence"] == 1
            assert retransmitter["catch_up"]["answers"] >= 1
            assert summaries[backup]["state_digest"] == settled.status["state_digest"]

    asyncio.run(situation())
