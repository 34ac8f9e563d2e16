"""What one seed draws: the exchange, its network, how much is traded, and what may go wrong."""

from dataclasses import dataclass, replace
from random import Random

from feed.settings import SyncPolicy
from gateway.client_policy import ClientPolicy
from gateway.settings import GatewaySettings, SessionLimits, UplinkLimits
from tools.simulation.bounds import SMALL_CACHE_BYTES
from tools.simulation.faults import FAULTS
from tools.simulation.hosts import DiskShape
from tools.simulation.network import Weather
from tools.simulation.scene import Fault
from tools.simulation.shard import Shape
from tools.simulation.world import MICROSECOND_NS, MILLISECOND_NS, SECOND_NS

# Replicas and retransmitters. Three and two most of the time: it is what the demo runs.
HOLDERS = ((3, 2),) * 6 + ((2, 1), (2, 3), (4, 1), (1, 2))
# Suspicion and heartbeat, in ms: those of the default configuration, and calmer ones.
PACES_MS = ((30, 5), (30, 5), (60, 10), (120, 20))
SESSIONS_NS = (500 * MILLISECOND_NS, SECOND_NS, 2 * SECOND_NS)
WINDOWS = (16_384, 16_384, 200, 20)
PAYLOADS = (256, 256, 1400)
DELAYS_NS = ((20, 60), (20, 400), (20, 400), (100, 3000))  # in µs
STARTS_MS = (0, 20, 1500)
# With journals: all holders most of the time, some, or none.
JOURNALS = ("all",) * 6 + ("some", "none")
SYNCS = (SyncPolicy.GROUP,) * 6 + (SyncPolicy.INTERVAL, SyncPolicy.NEVER)
LONGEST_SYNCS_NS = (200, 2000, 2000, 15_000)  # in µs
SEGMENTS_BYTES = (1500, 4096, 16 << 10, 64 << 10)
SNAPSHOT_FRAMES = (5, 20, 100, 1000)
LONG_GAPS_FRAMES = (30, 200)


@dataclass(frozen=True, slots=True)
class Plan:
    """One run, before anything has happened in it."""

    shape: Shape
    weather: Weather
    starts_ms: dict[str, int]
    rounds: int
    orders: int  # of each client, in each round
    interval_ns: int  # between two of them
    faults: tuple[Fault, ...]


def draw_plan(random: Random) -> Plan:
    """A plan at the whim of `random`."""
    shape = _draw_shape(random)
    names = (
        *shape.holder_names,
        *shape.subscriber_names,
        *shape.gateway_names,
        *shape.client_names,
    )
    longest_ms = random.choice(STARTS_MS)
    return Plan(
        shape=shape,
        weather=_draw_weather(random),
        starts_ms={name: random.randint(0, longest_ms) for name in names},
        rounds=random.randint(1, 3),
        orders=random.choice((5, 20, 40)),
        interval_ns=random.choice((500 * MICROSECOND_NS, 2 * MILLISECOND_NS, 5 * MILLISECOND_NS)),
        faults=_draw_faults(random),
    )


def _draw_shape(random: Random) -> Shape:
    replicas, retransmitters = random.choice(HOLDERS)
    suspicion_ms, heartbeat_ms = random.choice(PACES_MS)
    shape = Shape(
        replicas=replicas,
        retransmitters=retransmitters,
        gateways=random.randint(1, 3),
        clients=random.randint(1, 3),
        subscribers=random.randint(1, 2),
        suspicion_time_ns=suspicion_ms * MILLISECOND_NS,
        heartbeat_interval_ns=heartbeat_ms * MILLISECOND_NS,
        window_frames=random.choice(WINDOWS),
        payload_limit_bytes=random.choice(PAYLOADS),
        session_timeout_ns=random.choice(SESSIONS_NS),
        gateway=_gateway_settings(random),
        client=CLIENT_POLICY,
    )
    return _with_disks(shape, random)


def _with_disks(shape: Shape, random: Random) -> Shape:
    """The same exchange, most of the time with journals."""
    names = shape.holder_names
    who = random.choice(JOURNALS)
    if who == "none":
        return shape
    without: list[str] = []
    if who == "some":
        without = random.sample(names, random.randint(1, len(names) - 1))
    pair: list[str] = []
    if random.random() < 0.2:
        pair = random.sample(names, 2)
    disk = DiskShape(
        sync=random.choice(SYNCS),
        segment_bytes=random.choice(SEGMENTS_BYTES),
        snapshot_frames=random.choice(SNAPSHOT_FRAMES),
        snapshots=random.randint(1, 3),
        longest_sync_ns=random.choice(LONGEST_SYNCS_NS) * MICROSECOND_NS,
    )
    # Who has no journal must hold all of the list in memory, for those who begin anew.
    is_small = not without and random.random() < 0.7
    return replace(
        shape,
        disk=disk,
        without_journal=tuple(sorted(without)),
        hosts=(tuple(pair),) if pair else (),
        cache_bytes=SMALL_CACHE_BYTES if is_small else shape.cache_bytes,
        long_gap_frames=random.choice(LONG_GAPS_FRAMES),
    )


# As in production, but that nobody has the patience of a person: what takes seconds there takes
# tenths of one here, so that dead connections are found within a run.
CLIENT_POLICY = ClientPolicy(
    heartbeat_interval_ns=200 * MILLISECOND_NS,
    dead_link_ns=800 * MILLISECOND_NS,
    log_in_timeout_ns=1_500 * MILLISECOND_NS,
    connect_timeout_ns=300 * MILLISECOND_NS,
    first_wait_ns=10 * MILLISECOND_NS,
    longest_wait_ns=200 * MILLISECOND_NS,
    give_up_first_ns=600 * SECOND_NS,
    give_up_after_ns=600 * SECOND_NS,
    stable_after_ns=100 * MILLISECOND_NS,
)


def _gateway_settings(random: Random) -> GatewaySettings:
    few = random.random() < 0.3
    return GatewaySettings.model_validate(
        {
            "listen": "127.0.0.1:0",
            "clients": "clients.toml",
            "sessions": SessionLimits(
                heartbeat_interval_ns=200 * MILLISECOND_NS,
                dead_link_ns=800 * MILLISECOND_NS,
                log_in_timeout_ns=SECOND_NS,
                output_bytes=random.choice((4096, 1 << 18)),
                stalled_ns=SECOND_NS,
            ),
            "uplink": UplinkLimits(
                pending=6 if few else 8192,
                pending_per_client=4 if few else 2048,
                decision_timeout_ns=random.choice((500, 2000)) * MILLISECOND_NS,
                connect_timeout_ns=200 * MILLISECOND_NS,
                longest_wait_ns=100 * MILLISECOND_NS,
            ),
        }
    )


def _draw_weather(random: Random) -> Weather:
    """Fair in one run of three, else some of each; on a fast or a slow network."""
    shortest, longest = random.choice(DELAYS_NS)
    delays = {
        "shortest_delay_ns": shortest * MICROSECOND_NS,
        "longest_delay_ns": longest * MICROSECOND_NS,
    }
    if random.random() < 1 / 3:
        return Weather(**delays)
    return Weather(drop=0.02, duplicate=0.02, reorder=0.05, corrupt=0.01, **delays)


def _draw_faults(random: Random) -> tuple[Fault, ...]:
    """Some kinds of faults only: what all together hide, a few show."""
    if random.random() < 0.25:
        return FAULTS
    return tuple(random.sample(FAULTS, random.randint(1, 8)))
