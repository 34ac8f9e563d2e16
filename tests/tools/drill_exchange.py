"""An exchange without processes for tests of the audit: a list, and what it tells its clients."""

from random import Random

from engine.market import Market
from engine.settings import InstrumentSettings
from feed.codec import decode_frame, encode_group
from feed.messages import (
    NO_CLIENT_ORDER_ID,
    CancelOrder,
    Capacity,
    Command,
    DefineInstrument,
    EnterOrder,
    LogIn,
    MassCancel,
    OrderType,
    PostOnly,
    ReplaceOrder,
    SelfTradePrevention,
    ShortSale,
    Side,
    TimeInForce,
    symbol_field,
)
from feed.subscriber import Group
from gateway.events import Event, to_event
from gateway.ouch_codec import decode_outbound
from gateway.translate import client_messages
from tools.drill.audit import ClientCommand, ClientRecord
from tools.load.flow import Cancel, ClientFlow, Enter, LoadCommand, Replace

TIME_NS = 1_700_000_000_000_000_000
INSTRUMENTS = (InstrumentSettings(symbol="AAPL"), InstrumentSettings(symbol="MSFT"))
NAMES = {1: "ALICE", 2: "BOB"}


class ListedExchange:
    """Takes commands into a list at once; `records` has what clients sent and were told."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self.sent: dict[int, list[ClientCommand]] = {client: [] for client in NAMES}
        self.received: dict[int, list[Event]] = {client: [] for client in NAMES}
        self._market = Market()
        self._sequence = 1
        for each in INSTRUMENTS:
            symbol = symbol_field(each.symbol)
            self.apply(DefineInstrument(symbol, each.tick_size, each.lot_size, ShortSale.ALLOWED))
        for client in NAMES:
            self.apply(LogIn(client, client, SelfTradePrevention.CANCEL_NEWEST))

    @property
    def records(self) -> list[ClientRecord]:
        return [
            ClientRecord(name, client, self.sent[client], self.received[client])
            for client, name in NAMES.items()
        ]

    def apply(self, command: Command) -> Group:
        """Put a command into the list, and tell the clients what became of it."""
        events = self._market.apply(self._sequence, TIME_NS, command)
        frames = encode_group((command, *events), self._sequence, TIME_NS)
        group = Group(tuple(decode_frame(frame) for frame in frames))
        self._sequence += len(frames)
        self.groups.append(group)
        for client, payload in client_messages(group.frames):
            received = self.received[client]
            received.append(to_event(decode_outbound(payload), len(received) + 1))
        return group

    def send(self, command: ClientCommand) -> None:
        """A client sends a command; one that has nothing to do gets no place in the list."""
        self.sent[command.client].append(command)
        if self._market.admits(command.client, command):
            self.apply(command)


def traded(seed: int, commands: int) -> ListedExchange:
    """An exchange after so many commands of ordinary flow."""
    exchange = ListedExchange()
    random = Random(seed)
    flows = {client: ClientFlow(seed, name, INSTRUMENTS) for client, name in NAMES.items()}
    for _ in range(commands):
        client = random.choice(list(flows))
        exchange.send(as_sent(client, flows[client].next_command()))
    return exchange


def as_sent(client: int, command: LoadCommand) -> ClientCommand:
    """A command of a flow as it stands in the list, with numbers from 1."""
    match command:
        case Enter():
            return EnterOrder(
                client,
                command.key + 1,
                symbol_field(command.symbol),
                command.side,
                command.order_type,
                command.time_in_force,
                PostOnly.YES if command.post_only else PostOnly.NO,
                command.quantity,
                command.price or 0,
                command.stop_price or 0,
                Capacity.AGENCY,
                NO_CLIENT_ORDER_ID,
            )
        case Replace(original, key, quantity, price):
            day = TimeInForce.DAY
            return ReplaceOrder(
                client, original + 1, key + 1, quantity, price, 0, day, NO_CLIENT_ORDER_ID
            )
        case Cancel(key, remaining):
            return CancelOrder(client, key + 1, remaining)
    symbol = b" " * 8 if command.symbol is None else symbol_field(command.symbol)
    return MassCancel(client, command.key + 1, symbol, ord("U"))


def order(client: int, user_ref_num: int, quantity: int = 100) -> EnterOrder:
    """A buy order that rests."""
    return EnterOrder(
        client,
        user_ref_num,
        symbol_field("AAPL"),
        Side.BUY,
        OrderType.LIMIT,
        TimeInForce.DAY,
        PostOnly.NO,
        quantity,
        10_000,
        0,
        Capacity.AGENCY,
        NO_CLIENT_ORDER_ID,
    )
