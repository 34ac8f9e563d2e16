"""The suite `clients`: thousands of clients at one gateway, all logged in, and orders from all.

The exchange is that of the suite `gateway`. Each client says once a second that it is there, and so
does the gateway to each; the orders come from the clients in turn, at fixed rates.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import tomli_w
from argon2 import PasswordHasher

from engine.settings import MachineKind
from feed.messages import SelfTradePrevention
from gateway.settings import ConnectionLimits
from tools.bench.figures import Report, measurement
from tools.bench.fleet import LOG_INS_AT_ONCE, allow_open_files
from tools.bench.latencies import SYMBOL_FIELDS, drive_answerer, drive_exchange, stages_report
from tools.bench.order_bytes import OrderFlow
from tools.bench.order_driver import DrivePlan, DriveResult, Paced, Stage
from tools.bench.rig import (
    process_ids,
    running_exchange,
    until_all_have_all,
    verify_ends,
    watched,
)
from tools.processes import CLIENTS_FILE

CLIENTS = 10_000
RATES = (1_000, 5_000)
_SUITE = "clients"
_SECRET = "benches"
_SPARE_CONNECTIONS = 100
_NS_PER_MS = 1_000_000
# What a check of a secret costs is no part of this suite: a deliberate 25 ms for each would be four
# minutes for all. These are the least that argon2 takes.
_CHEAP_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


async def measure_clients(
    machine: MachineKind | None, seconds: float, clients: int, rates: Sequence[int]
) -> Report:
    """How long all take to log in, and orders at fixed rates; the baseline is a process that lets
    everybody in and answers at once.

    Raises BenchmarkError when a client is dropped or not let in, an order is not accepted just
    once, not all end with one list, or the system does not allow so many connections.
    """
    allow_open_files(clients)
    users = [f"C{number:05}" for number in range(1, clients + 1)]
    stages: list[Stage] = [Paced(seconds, rate, OrderFlow.TRADING) for rate in rates]
    bare = await drive_answerer(users, _SECRET, stages)
    limits = ConnectionLimits(
        connections=clients + _SPARE_CONNECTIONS,
        strangers=2 * LOG_INS_AT_ONCE,
        strangers_per_host=2 * LOG_INS_AT_ONCE,
    )
    exchange = running_exchange(machine, gateways=1, gateway_options={"connections": limits})
    async with exchange as running:
        began = await until_all_have_all(running)
        write_clients(running.folder / CLIENTS_FILE, users)
        (gateway,) = running.configuration.gateways.values()
        processes = process_ids(running)
        plan = DrivePlan(gateway.listen, users, _SECRET, SYMBOL_FIELDS, stages, processes)
        ours = await watched(running, drive_exchange(plan))
        await verify_ends(running, began)
    report = stages_report(_SUITE, stages, ours, bare, str(began["name"]))
    figures = [
        measurement(_SUITE, "clients connected", ours.clients, "clients", clients),
        measurement(_SUITE, "all logged in", ours.log_in_s, "s", bare.log_in_s),
        *(
            measurement(_SUITE, f"{rate:,}/s, accepted", each.per_second, "orders/s", rate)
            for rate, each in zip(rates, ours.stages, strict=True)
        ),
        measurement(_SUITE, "heartbeats to clients", _heartbeats(ours), "1/s", _heartbeats(bare)),
        measurement(
            _SUITE,
            "longest silence towards a client",
            ours.longest_silence_ns / _NS_PER_MS,
            "ms",
            bare.longest_silence_ns / _NS_PER_MS,
        ),
    ]
    return Report([*figures, *report.measurements], report.drawings)


def write_clients(path: Path, users: Sequence[str]) -> None:
    """A clients file with these, whose secrets are cheap to check.

    Whoever checks a secret finds the same hash at each of them: it is one secret for all.
    """
    secret = _CHEAP_HASHER.hash(_SECRET)
    mode = SelfTradePrevention.OFF.name.lower()
    tables = {
        user: {"number": number, "secret": secret, "self_trade_prevention": mode}
        for number, user in enumerate(users, 1)
    }
    content = tomli_w.dumps({"next_number": len(users) + 1, "clients": tables})
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    Path(temporary).replace(path)  # at once: the gateway reads it when it likes


def _heartbeats(result: DriveResult) -> float:
    return result.heartbeats_heard / result.seconds
