"""The port of production that takes commands runs on simulated TCP as it is."""

from random import Random

from engine.command_port import CommandConnection, CommandPort
from engine.markets import ReferenceMarket
from engine.primary import LeadSettings
from engine.replica import Replica, ReplicaRules, State
from feed.datagrams import Decision, Submission, encode_submission, take_decisions
from feed.holder import Holder, HolderIdentity
from feed.messages import CancelReason, LogIn, MassCancel, SelfTradePrevention
from tests.simulation.lines import Pair, Recorder

ALL = bytes(8)


def lone_replica(window_frames: int) -> Replica:
    """The only holder of its shard, so that it commits by itself."""
    holder = Holder(
        HolderIdentity(1, "b", 1),
        peer_count=0,
        last_resort_count=0,
        random=Random(1),
        cache_bytes=1 << 20,
        payload_limit_bytes=1400,
        suspicion_time_ns=30_000_000,
    )
    lead = LeadSettings(window_frames=window_frames)
    replica = Replica(holder, ReplicaRules(("b",), ("b",), lead, ()), ReferenceMarket, lambda: 1)
    holder.on_start(0, was_here=False, now_ns=0)
    return replica


def command(number: int) -> bytes:
    return encode_submission(Submission(7, MassCancel(1, number, ALL, CancelReason.USER)))


def decided(gateway: Recorder) -> list[Decision]:
    return take_decisions(bytearray(gateway.data))


def test_a_backup_turns_gateways_away_and_a_primary_serves_them_as_far_as_it_has_room() -> None:
    pair = Pair()
    replica = lone_replica(window_frames=4)

    def turn() -> None:
        replica.turn(pair.network.now_ns)

    port = CommandPort(replica, lambda: None)
    pair.tcp.listen(pair.b, "port", lambda: CommandConnection(port))
    early, _ = pair.dial()
    pair.run()
    assert early.told[-1] in ("reset", "lost")

    replica.on_epochs(1, 1, pair.network.now_ns)
    pair.during(pair.b, turn)
    assert replica.state is State.PRIMARY
    gateway, _ = pair.dial()
    pair.run()
    log_in = encode_submission(Submission(7, LogIn(1, 7, SelfTradePrevention.OFF)))
    for data in (log_in, command(1)[:5], command(1)[5:] + command(2) + command(3), command(4)):
        pair.write(gateway.end, data)
        pair.run()
    assert decided(gateway) == [], "it is not read before the primary says so"
    pair.during(pair.b, port.settle)
    pair.run()
    first = decided(gateway)[-1]
    assert (first.epoch, first.submission) == (1, 5)

    pair.during(pair.b, port.settle)  # nothing of all that is committed: its window is full
    pair.write(gateway.end, command(5))
    pair.run()
    assert decided(gateway)[-1] == first
    pair.during(pair.b, turn)
    pair.during(pair.b, port.settle)
    pair.run()
    assert decided(gateway)[-1] == Decision(1, 6, first.sequence + 2)

    pair.write(gateway.end, b"\xff" * 40)
    pair.run()
    assert port.bad_submissions == 1
    assert gateway.told[-1] in ("reset", "lost")
