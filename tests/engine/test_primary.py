"""The primary, sans-I/O: commands and acknowledgements in, packets of the list out."""

from random import Random

from engine.markets import market_builder
from engine.primary import LeadSettings, Primary
from feed.codec import COMMIT, HEARTBEAT, RETRANSMISSION, Frame, PacketHeader, decode_packet
from feed.datagrams import (
    HolderWord,
    Repair,
    Submission,
    encode_repair,
    encode_submission,
)
from feed.holder import Holder, HolderIdentity
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
    holder_field,
)
from feed.schema import HolderKind, RepairKind

SYMBOL = b"ACME    "
LISTING = DefineInstrument(SYMBOL, 100, 1, ShortSale.ALLOWED)
LOGIN = 77
SHARD = 3
FIVE = ("e1", "e2", "e3", "r1", "r2")


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


class Leading:
    """A primary, what it holds, and what it sends."""

    def __init__(
        self, *, holders: tuple[str, ...] = ("e1",), payload_limit_bytes: int = 1400
    ) -> None:
        self.holder = Holder(
            HolderIdentity(SHARD, "e1", 1),
            peer_count=0,
            last_resort_count=0,
            random=Random(1),
            cache_bytes=1 << 20,
            payload_limit_bytes=payload_limit_bytes,
            suspicion_time_ns=10**9,
        )
        self.holder.on_start(1, was_here=False, now_ns=0)
        settings = LeadSettings(payload_limit_bytes, window_frames=16)
        self.primary = Primary(self.holder, market_builder()(), holders, settings)

    def submit(self, command: Command, time_ns: int = 2_000, login: int = LOGIN) -> None:
        self.primary.submit(encode_submission(Submission(login, command)), time_ns)

    def ack(self, name: str, last: int, *, epoch: int = 1, incarnation: int = 5) -> int:
        """A holder acknowledges; how far the list is committed then."""
        self.primary.on_ack(word(HolderKind.ACK, name, last, epoch, incarnation), 0)
        return self.primary.committed_sequence


def word(kind: HolderKind, name: str, last: int, epoch: int, incarnation: int) -> HolderWord:
    return HolderWord(kind, SHARD, epoch, holder_field(name), incarnation, epoch, last, 0)


def opened(**options: object) -> Leading:
    """A primary of epoch 1 that has listed an instrument and let a client in: three frames."""
    made = Leading(**options)  # type: ignore[arg-type]
    made.primary.open_epoch(1_000, [LISTING])
    made.submit(LogIn(1, LOGIN, SelfTradePrevention.OFF), 1_000)
    made.primary.flush(0)
    return made


def frames_of(packets: list[bytes]) -> list[Frame]:
    return [frame for packet in packets for frame in decode_packet(packet).frames]


def messages_of(packets: list[bytes]) -> list[Message]:
    return [frame.message() for frame in frames_of(packets)]


def test_epoch_frame_opens_the_list_and_names_the_primary() -> None:
    made = Leading()
    made.primary.open_epoch(1_000, [LISTING])
    (packet,) = made.primary.flush(0)
    header, frames = decode_packet(packet)
    assert header == PacketHeader(0, SHARD, 1, 1, 2)
    assert [(f.sequence, f.time_ns, f.is_command, f.is_end) for f in frames] == [
        (1, 1_000, True, True),
        (2, 1_000, True, True),
    ]
    assert [frame.message() for frame in frames] == [Epoch(1, holder_field("e1")), LISTING]
    assert made.holder.primary == "e1"


def test_what_is_listed_already_is_not_listed_again() -> None:
    made = opened()
    made.primary.open_epoch(2_000, [LISTING])
    assert messages_of(made.primary.flush(0)) == [Epoch(1, holder_field("e1"))]


def test_order_that_rests_is_one_frame_and_a_trade_ends_its_group() -> None:
    made = opened()
    sell, buy = enter(1, Side.SELL), enter(2, Side.BUY)
    for command in (sell, buy):
        made.submit(command)
    frames = frames_of(made.primary.flush(0))
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
    made = opened()
    command = enter(1, Side.SELL)
    for _ in range(3):
        made.submit(command)
    assert messages_of(made.primary.flush(0)) == [command]
    assert made.primary.not_admitted == 2
    assert made.primary.flush(0) == []


def test_command_of_an_earlier_log_in_takes_no_place_in_the_list() -> None:
    made = opened()
    later = LogIn(1, LOGIN + 1, SelfTradePrevention.OFF)
    made.submit(later, login=LOGIN + 1)
    made.submit(enter(1, Side.SELL))
    made.submit(enter(1, Side.BUY), login=LOGIN + 1)
    assert messages_of(made.primary.flush(0)) == [later, enter(1, Side.BUY)]


def test_superfluous_cancel_takes_no_place_in_the_list() -> None:
    made = opened()
    for command in (enter(1, Side.SELL), CancelOrder(1, 1, 0)):
        made.submit(command)
    length = made.primary.last_sequence
    made.submit(CancelOrder(1, 1, 0))
    assert made.primary.last_sequence == length


def test_time_in_the_list_never_runs_backwards() -> None:
    made = opened()
    for user_ref_num, time_ns in ((1, 5_000), (2, 3_000), (3, 6_000)):
        made.submit(enter(user_ref_num, Side.SELL), time_ns)
    assert [frame.time_ns for frame in frames_of(made.primary.flush(0))] == [5_000, 5_000, 6_000]


def test_solo_primary_commits_what_it_sends() -> None:
    made = opened()
    made.submit(enter(1, Side.SELL))
    (packet,) = made.primary.flush(0)
    assert decode_packet(packet).header.committed_sequence == made.primary.last_sequence == 4


def test_commit_needs_a_majority_of_the_configured_holders_and_is_told_at_once() -> None:
    made = opened(holders=FIVE)
    assert made.ack("e2", 3) == 0
    assert made.ack("e2", 3) == 0, "one holder counts once"
    assert made.ack("r1", 2) == 2
    (packet,) = made.primary.on_time(1)
    assert decode_packet(packet).header == PacketHeader(HEARTBEAT | COMMIT, SHARD, 1, 4, 2)
    assert made.holder.committed_sequence == 2
    assert made.ack("r2", 3) == 3
    assert dict(made.primary.held) == {"e1": 3, "e2": 3, "e3": 0, "r1": 2, "r2": 3}


def test_acknowledgement_of_another_epoch_a_stranger_or_itself_counts_nothing() -> None:
    made = opened(holders=("e1", "e2", "r1"))
    assert made.ack("e2", 3, epoch=2) == 0
    assert made.ack("e9", 3) == 0
    assert made.ack("e1", 3) == 0
    assert made.ack("e2", 3) == 3


def test_acknowledgement_beyond_the_list_counts_for_the_list_alone() -> None:
    made = opened(holders=("e1", "e2", "r1"))
    assert made.ack("e2", 99) == 3


def test_holder_that_came_back_has_acknowledged_nothing_and_its_earlier_life_is_not_heard() -> None:
    made = opened(holders=FIVE)
    made.ack("e2", 3, incarnation=5)
    assert made.primary.on_join(word(HolderKind.JOIN, "e2", 0, 1, 6))
    assert made.primary.held["e2"] == 0
    assert made.ack("e2", 3, incarnation=5) == 0, "a late word of the earlier life"
    assert made.ack("r1", 3) == 0
    assert made.primary.on_join(word(HolderKind.JOIN, "e2", 0, 1, 6)), "said again"
    assert made.ack("e2", 3, incarnation=6) == 3
    assert not made.primary.on_join(word(HolderKind.JOIN, "e9", 0, 1, 6))


def test_full_window_is_full_until_half_of_it_is_committed() -> None:
    made = opened(holders=("e1", "e2", "r1"))
    made.ack("e2", 3)
    for number in range(1, 17):
        assert not made.primary.is_full
        made.submit(enter(number, Side.SELL))
    made.primary.flush(0)
    assert made.primary.is_full
    made.ack("e2", 10)
    assert (made.primary.is_full, made.primary.has_room_again) == (False, False)
    made.ack("e2", 11)
    assert made.primary.has_room_again


def test_group_larger_than_a_packet_spans_packets() -> None:
    made = opened(payload_limit_bytes=256)
    for user_ref_num in range(1, 21):
        made.submit(enter(user_ref_num, Side.SELL, 1))
    made.primary.flush(0)
    made.submit(enter(21, Side.BUY, 20))
    packets = made.primary.flush(0)
    frames = frames_of(packets)
    assert len(packets) > 1
    assert all(len(packet) <= 256 for packet in packets)
    assert [frame.is_command for frame in frames] == [True] + [False] * 20
    assert [frame.is_end for frame in frames] == [False] * 20 + [True]


def test_idle_primary_tells_that_it_lives_and_where_the_list_ends() -> None:
    made = opened()
    (heartbeat,) = made.primary.on_time(made.primary.deadline_ns)
    header, frames = decode_packet(heartbeat)
    assert frames == ()
    assert header.first_sequence == made.primary.last_sequence + 1
    assert header.committed_sequence == made.primary.last_sequence


def test_nak_is_answered_with_the_same_bytes() -> None:
    made = opened()
    made.submit(enter(1, Side.SELL))
    sent = frames_of(made.primary.flush(0))
    nak = encode_repair(Repair(RepairKind.NAK, SHARD, 1, 4, 4))
    assert frames_of(made.holder.on_nak(nak, ("127.0.0.1", 5), 10**9)) == sent


def test_new_primary_repeats_what_may_not_be_committed_as_retransmissions_before_its_epoch() -> (
    None
):
    made = opened(holders=FIVE)
    made.ack("e2", 2)
    made.ack("r1", 2)
    made.submit(enter(1, Side.SELL))
    made.primary.flush(0)
    machine = made.primary.machine
    made.holder.follow(0)
    made.holder.promise(2, 0)
    successor = Primary(made.holder, machine, FIVE, LeadSettings())
    successor.open_epoch(3_000, [LISTING])
    repeated, begun = (decode_packet(packet) for packet in successor.flush(0))
    assert repeated.header == PacketHeader(RETRANSMISSION, SHARD, 2, 3, 2)
    assert [frame.sequence for frame in repeated.frames] == [3, 4]
    assert begun.header == PacketHeader(0, SHARD, 2, 5, 2)
    assert [frame.message() for frame in begun.frames] == [Epoch(2, holder_field("e1"))]
    for name in ("e2", "e3"):
        ack = word(HolderKind.ACK, name, 4, 2, 1)
        successor.on_ack(ack, 0)
    assert successor.committed_sequence == 2, "nothing before its EPOCH frame counts"
    for name in ("e2", "e3"):
        ack = word(HolderKind.ACK, name, 5, 2, 1)
        successor.on_ack(ack, 0)
    assert successor.committed_sequence == 5
