"""A process that must not look dead collects its young objects only, until it ends."""

import asyncio
import gc
import sys

import pytest

from feed import pauses
from feed.pauses import keep_pauses_short
from tests.feed.sockets import PATIENCE_SECONDS


def test_old_objects_are_left_alone_young_ones_collected_and_all_is_undone_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pauses, "_COLLECT_EVERY_S", 0.001)
    collected: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start" and (collected or info["generation"] == 2):
            collected.append(info["generation"])

    async def scenario() -> None:
        keeping = asyncio.create_task(keep_pauses_short())
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(collected) < 4:
                    await asyncio.sleep(0.001)
            assert collected[:4] == [2, 1, 1, 1], "everything once, then never the old ones"
            assert not gc.isenabled(), "or a collection would come of itself"
            assert gc.get_freeze_count() > 0
            assert sys.getswitchinterval() == pytest.approx(0.0005)
        finally:
            keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeping

    interval_s = sys.getswitchinterval()
    gc.collect()
    gc.callbacks.append(note)
    try:
        asyncio.run(scenario())
    finally:
        gc.callbacks.remove(note)
        sys.setswitchinterval(interval_s)
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
