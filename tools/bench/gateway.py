"""The suite `gateway`: from an order's bytes at a gateway to its acceptance, through all of it.

Three replicas, two retransmitters, ZooKeeper and one gateway, each a process; one more is all the
clients. First as many orders as are taken, then orders at fixed rates and how long each takes.
"""

from collections.abc import Sequence

from engine.settings import MachineKind
from feed.messages import SelfTradePrevention
from feed.settings import SyncPolicy
from gateway.settings import SessionLimits
from tools.bench.figures import Report
from tools.bench.latencies import SYMBOL_FIELDS, drive_answerer, drive_exchange, stages_report
from tools.bench.order_bytes import OrderFlow
from tools.bench.order_driver import Busy, DrivePlan, Paced, Stage, Sweep
from tools.bench.rig import (
    process_ids,
    running_exchange,
    until_all_have_all,
    verify_ends,
    watched,
)
from tools.processes import ClientSpec

RATES = (1_000, 5_000, 10_000, 20_000)
OUTSTANDING = 4_096  # of all busy clients together: half of what a gateway lets wait
_SUITE = "gateway"
_LIMIT = 1_000_000  # orders a second: no client is to be slowed down by its own limit
_SECRET = "benches"


async def measure_gateway(
    machine: MachineKind | None,
    seconds: float,
    clients: int,
    rates: Sequence[int],
    sync: SyncPolicy | None = None,
) -> Report:
    """Orders a second, and latencies at fixed rates; the baseline is a process that answers.

    Raises BenchmarkError when an order is not accepted just once, or not all end with one list.
    """
    users = [f"B{number:03}" for number in range(1, clients + 1)]
    bound = max(1, OUTSTANDING // clients)
    stages: list[Stage] = [
        Busy(seconds, bound, OrderFlow.RESTING),
        Sweep(bound),
        Busy(seconds, bound, OrderFlow.TRADING),
    ]
    stages += [Paced(seconds, rate, OrderFlow.TRADING) for rate in rates]
    bare = await drive_answerer(users, _SECRET, stages)
    exchange = running_exchange(
        machine,
        gateways=1,
        clients=dict.fromkeys(users, ClientSpec(_SECRET, SelfTradePrevention.OFF)),
        gateway_options={"sessions": SessionLimits(orders_per_second=_LIMIT, orders_burst=_LIMIT)},
        sync=sync,
    )
    async with exchange as running:
        began = await until_all_have_all(running)
        (gateway,) = running.configuration.gateways.values()
        processes = process_ids(running)
        plan = DrivePlan(gateway.listen, users, _SECRET, SYMBOL_FIELDS, stages, processes)
        ours = await watched(running, drive_exchange(plan))
        await verify_ends(running, began)
    return stages_report(_SUITE, stages, ours, bare, str(began["name"]))
