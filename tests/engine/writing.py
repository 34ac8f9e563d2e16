"""Lists as primaries write them, with a real machine, and what other holders say about them."""

from collections.abc import Iterable, Sequence
from random import Random

from engine.market import Market
from feed.codec import HEARTBEAT, RETRANSMISSION, PacketHeader, decode_frame, encode_group
from feed.codec import encode_packet as encoded
from feed.datagrams import (
    HolderWord,
    Submission,
    decode_holder_word,
    encode_holder_word,
    encode_submission,
)
from feed.held_list import HeldList
from feed.holder import Holder, HolderIdentity
from feed.messages import (
    Command,
    Epoch,
    LogIn,
    Message,
    SelfTradePrevention,
    Side,
    holder_field,
)
from feed.publisher import chunks
from feed.run import run_of_frames
from feed.schema import HOLDER_MAGIC, HolderKind
from tests.engine.cluster import LISTING, SUSPICION_NS
from tests.engine.trader import CLIENT, LOGIN, order
from tools.simulation.shard import SHARD

PAYLOAD_BYTES = 1400
LOG_IN = LogIn(CLIENT, LOGIN, SelfTradePrevention.OFF)
FIVE = ("e1", "e2", "e3", "r1", "r2")


def submitted(command: Command, login: int = LOGIN) -> bytes:
    """A command as gateways submit it."""
    return encode_submission(Submission(login, command))


class Author:
    """Writes a list as the primaries of several epochs do."""

    def __init__(self, frames: Iterable[bytes] = ()) -> None:
        """Goes on from the whole groups in `frames`."""
        self.market = Market()
        self.frames: list[bytes] = []
        for data in frames:
            frame = decode_frame(data)
            if frame.is_command:
                self._write(frame.message(), frame.time_ns)  # type: ignore[arg-type]
        assert self.frames == list(frames)

    def write(self, *commands: Command, time_ns: int = 1_000) -> list[bytes]:
        """The frames of these commands' groups, at the end of the list."""
        before = len(self.frames)
        for command in commands:
            self._write(command, time_ns)
        return self.frames[before:]

    def begin(self, epoch: int, primary: str) -> list[bytes]:
        """The EPOCH frame of a reign."""
        return self.write(Epoch(epoch, holder_field(primary)))

    def trade(self, first: int, count: int) -> list[bytes]:
        """Orders with these numbers: two that rest, then one that trades with both, and again."""
        commands = []
        for number in range(first, first + count):
            side, quantity = (Side.BUY, 5) if number % 3 else (Side.SELL, 10)
            commands.append(order(number, side, quantity))
        return self.write(*commands)

    def _write(self, command: Command, time_ns: int) -> None:
        first = len(self.frames) + 1
        group: list[Message] = [command, *self.market.apply(first, time_ns, command)]
        self.frames += encode_group(group, first, time_ns)


def begun(orders: int = 6, *, primary: str = "e2") -> Author:
    """A list of epoch 1: EPOCH, a listing, a log-in, and orders from sequence number 4 on."""
    author = Author()
    author.begin(1, primary)
    author.write(LISTING, LOG_IN)
    author.trade(1, orders)
    return author


def held_list(frames: Sequence[bytes]) -> HeldList:
    """A list that is held from its first frame on."""
    held = HeldList(1 << 20)
    for first in range(1, len(frames) + 1, 5):  # groups begin and end anywhere in them
        held.store(run_of_frames(first, frames[first - 1 : first + 4]))
    return held


def packets(
    frames: Sequence[bytes],
    first: int = 1,
    *,
    epoch: int = 1,
    committed: int = 0,
    flags: int = 0,
) -> list[bytes]:
    """Packets of a list's frames from `first` on."""
    made = []
    for chunk in chunks(frames[first - 1 :], PAYLOAD_BYTES):
        made.append(encoded(PacketHeader(flags, SHARD, epoch, first, committed), chunk))
        first += len(chunk)
    return made


def again(frames: Sequence[bytes], first: int, *, epoch: int, committed: int = 0) -> list[bytes]:
    """The same as retransmissions."""
    return packets(frames, first, epoch=epoch, committed=committed, flags=RETRANSMISSION)


def heartbeat(next_sequence: int, *, epoch: int, committed: int = 0) -> bytes:
    """What an idle primary sends."""
    return encoded(PacketHeader(HEARTBEAT, SHARD, epoch, next_sequence, committed))


def holder(name: str = "e1", *, incarnation: int = 1) -> Holder:
    """A replica's holder, whose vote is not known yet."""
    return Holder(
        HolderIdentity(SHARD, name, incarnation),
        peer_count=2,
        last_resort_count=1,
        random=Random(1),
        cache_bytes=1 << 20,
        payload_limit_bytes=PAYLOAD_BYTES,
        suspicion_time_ns=SUSPICION_NS,
    )


def word(
    kind: HolderKind,
    speaker: str,
    *,
    epoch: int,
    last_epoch: int = 0,
    last: int = 0,
    committed: int = 0,
    incarnation: int = 5,
    shard: int = SHARD,
) -> HolderWord:
    """What another holder says."""
    field = holder_field(speaker)
    return HolderWord(kind, shard, epoch, field, incarnation, last_epoch, last, committed)


def datagram(kind: HolderKind, speaker: str, *, epoch: int, last: int = 0) -> bytes:
    """The same on the wire; what is held up to `last` is of epoch 1."""
    return encode_holder_word(word(kind, speaker, epoch=epoch, last_epoch=min(last, 1), last=last))


def said(words: Iterable[tuple[str, bytes]]) -> list[tuple[str, HolderKind, int]]:
    """To whom what is said, and the sequence number in it."""
    assert all(data.startswith(HOLDER_MAGIC) for _, data in words)
    decoded = [(name, decode_holder_word(data)) for name, data in words]
    return [(name, each.kind, each.last_sequence) for name, each in decoded]
