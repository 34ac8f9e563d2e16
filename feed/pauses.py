"""Short pauses for processes that must not look dead: the collector and the thread switches."""

import asyncio
import gc
import sys

# A full collection stops a process with a million objects for longer than a suspicion time. The
# young ones are collected often instead; the old ones, which hardly ever form cycles, never.
_YOUNG_GENERATIONS = 1
_COLLECT_EVERY_S = 1.0
# kazoo's threads wait so long for the interpreter while the event loop computes; Python's default
# of 5 ms would be a good part of a takeover.
_SWITCH_INTERVAL_S = 0.0005


async def keep_pauses_short() -> None:
    """Keep the process's pauses short until the task that runs this is cancelled."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        while True:
            await asyncio.sleep(_COLLECT_EVERY_S)
            gc.collect(_YOUNG_GENERATIONS)
    finally:
        gc.enable()
        gc.unfreeze()
