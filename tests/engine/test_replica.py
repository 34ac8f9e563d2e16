"""The primary, sans-I/O: commands in, packets of the list out."""

from engine.market import Market
from engine.replica import Primary, ShardIdentity
from feed.codec import Frame, PacketHeader, decode_packet
from feed.datagrams import Repair, Submission, encode_repair
from feed.messages import (
    NO_CLIENT_ORDER_ID,
    CancelOrder,
    Capacity,
    Command,
    DefineInstrument,
    EnterOrder,
    Epoch,
    LogIn,
    Message,
    OrderType,
    PostOnly,
    SelfTradePrevention,
    ShortSale,
    Side,
    TimeInForce,
    Trade,
)
from feed.schema import RepairKind

SYMBOL = b"ACME    "
LISTING = DefineInstrument(SYMBOL, 100, 1, ShortSale.ALLOWED)
LOGIN = 77


def enter(user_ref_num: int, side: Side, quantity: int = 10, price: int = 10_000) -> EnterOrder:
    return EnterOrder(
        1,
        user_ref_num,
        SYMBOL,
        side,
        OrderType.LIMIT,
        TimeInForce.DAY,
        PostOnly.NO,
        quantity,
        price,
        0,
        Capacity.AGENCY,
        NO_CLIENT_ORDER_ID,
    )


def primary(*, holders: tuple[str, ...] = ("engine",), payload_limit_bytes: int = 1400) -> Primary:
    return Primary(
        ShardIdentity(shard=3, epoch=1, name="engine", holders=holders),
        Market(),
        payload_limit_bytes=payload_limit_bytes,
        cache_bytes=1 << 20,
    )


def opened(**options: object) -> Primary:
    replica = primary(**options)  # type: ignore[arg-type]
    replica.open_epoch(1_000, [LISTING])
    replica.submit(Submission(LOGIN, LogIn(1, LOGIN, SelfTradePrevention.OFF)), 1_000)
    replica.flush(0)
    return replica


def frames_of(packets: list[bytes]) -> list[Frame]:
    return [frame for packet in packets for frame in decode_packet(packet).frames]


def messages_of(packets: list[bytes]) -> list[Message]:
    return [frame.message() for frame in frames_of(packets)]


def test_epoch_frame_opens_the_list() -> None:
    replica = primary()
    replica.open_epoch(1_000, [LISTING])
    (packet,) = replica.flush(0)
    header, frames = decode_packet(packet)
    assert header == PacketHeader(0, 3, 1, 1, 2)
    assert [(f.sequence, f.time_ns, f.is_command, f.is_end) for f in frames] == [
        (1, 1_000, True, True),
        (2, 1_000, True, True),
    ]
    assert [frame.message() for frame in frames] == [Epoch(1), LISTING]


def test_order_that_rests_is_one_frame_and_a_trade_ends_its_group() -> None:
    replica = opened()
    sell, buy = enter(1, Side.SELL), enter(2, Side.BUY)
    for command in (sell, buy):
        replica.submit(Submission(LOGIN, command), 2_000)
    frames = frames_of(replica.flush(0))
    assert [frame.message() for frame in frames] == [
        sell,
        buy,
        Trade(SYMBOL, 10_000, 10, Side.BUY, 4, 1, 1, 5, 1, 2),
    ]
    assert [(f.sequence, f.is_command, f.is_end) for f in frames] == [
        (4, True, True),
        (5, True, False),
        (6, False, True),
    ]


def test_repeat_takes_no_place_in_the_list() -> None:
    replica = opened()
    command = enter(1, Side.SELL)
    for _ in range(3):
        replica.submit(Submission(LOGIN, command), 2_000)
    assert messages_of(replica.flush(0)) == [command]
    assert replica.not_admitted == 2
    assert replica.flush(0) == []


def test_command_of_an_earlier_log_in_takes_no_place_in_the_list() -> None:
    replica = opened()
    later = LogIn(1, LOGIN + 1, SelfTradePrevention.OFF)
    commands: list[tuple[int, Command]] = [
        (LOGIN + 1, later),
        (LOGIN, enter(1, Side.SELL)),
        (LOGIN + 1, enter(1, Side.BUY)),
    ]
    for login, command in commands:
        replica.submit(Submission(login, command), 2_000)
    assert messages_of(replica.flush(0)) == [later, enter(1, Side.BUY)]


def test_superfluous_cancel_takes_no_place_in_the_list() -> None:
    replica = opened()
    for command in (enter(1, Side.SELL), CancelOrder(1, 1, 0)):
        replica.submit(Submission(LOGIN, command), 2_000)
    length = replica.last_sequence
    replica.submit(Submission(LOGIN, CancelOrder(1, 1, 0)), 2_000)
    assert replica.last_sequence == length


def test_time_in_the_list_never_runs_backwards() -> None:
    replica = opened()
    for user_ref_num, time_ns in ((1, 5_000), (2, 3_000), (3, 6_000)):
        replica.submit(Submission(LOGIN, enter(user_ref_num, Side.SELL)), time_ns)
    assert [frame.time_ns for frame in frames_of(replica.flush(0))] == [5_000, 5_000, 6_000]


def test_solo_primary_commits_what_it_sends() -> None:
    replica = opened()
    replica.submit(Submission(LOGIN, enter(1, Side.SELL)), 2_000)
    (packet,) = replica.flush(0)
    assert decode_packet(packet).header.committed_sequence == replica.last_sequence == 4


def test_primary_with_other_holders_commits_nothing_alone() -> None:
    replica = opened(holders=("engine", "r1", "r2"))
    replica.submit(Submission(LOGIN, enter(1, Side.SELL)), 2_000)
    (packet,) = replica.flush(0)
    assert decode_packet(packet).header.committed_sequence == 0


def test_group_larger_than_a_packet_spans_packets() -> None:
    replica = opened(payload_limit_bytes=256)
    for user_ref_num in range(1, 21):
        replica.submit(Submission(LOGIN, enter(user_ref_num, Side.SELL, 1)), 2_000)
    replica.flush(0)
    replica.submit(Submission(LOGIN, enter(21, Side.BUY, 20)), 2_000)
    packets = replica.flush(0)
    frames = frames_of(packets)
    assert len(packets) > 1
    assert all(len(packet) <= 256 for packet in packets)
    assert [frame.is_command for frame in frames] == [True] + [False] * 20
    assert [frame.is_end for frame in frames] == [False] * 20 + [True]


def test_idle_primary_tells_that_it_lives_and_where_the_list_ends() -> None:
    replica = opened()
    (heartbeat,) = replica.on_time(replica.deadline_ns)
    header, frames = decode_packet(heartbeat)
    assert frames == ()
    assert header.first_sequence == replica.last_sequence + 1
    assert header.committed_sequence == replica.last_sequence


def test_nak_is_answered_with_the_same_bytes() -> None:
    replica = opened()
    replica.submit(Submission(LOGIN, enter(1, Side.SELL)), 2_000)
    sent = frames_of(replica.flush(0))
    nak = encode_repair(Repair(RepairKind.NAK, 3, 1, 4, 4))
    answers = replica.on_nak(nak, ("127.0.0.1", 5), 10**9)
    assert frames_of(answers) == sent
