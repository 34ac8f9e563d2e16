"""A client and its gateways in one: it sends orders, and again what was not committed."""

from collections.abc import Mapping
from functools import partial

from engine.market import Market
from engine.reference import Reference
from feed.codec import Frame
from feed.datagrams import Submission, encode_submission
from feed.messages import (
    NO_CLIENT_ORDER_ID,
    Capacity,
    EnterOrder,
    LogIn,
    OrderType,
    PostOnly,
    SelfTradePrevention,
    Side,
    TimeInForce,
)
from tools.simulation.holders import ReplicaNode
from tools.simulation.network import Network
from tools.simulation.world import MILLISECOND_NS

CLIENT = 1
LOGIN = 77
SYMBOL = b"ACME    "
RESEND_NS = 20 * MILLISECOND_NS


def order(user_ref_num: int, side: Side = Side.BUY, quantity: int = 10) -> EnterOrder:
    """An order that rests beside those of its side, and trades with those of the other."""
    return EnterOrder(
        CLIENT,
        user_ref_num,
        SYMBOL,
        side,
        OrderType.LIMIT,
        TimeInForce.DAY,
        PostOnly.NO,
        quantity,
        10_000,
        0,
        Capacity.AGENCY,
        NO_CLIENT_ORDER_ID,
    )


class Trader:
    """Orders that rest, trade, and now and then sweep the other side of the book."""

    def __init__(self, network: Network, replicas: Mapping[str, ReplicaNode]) -> None:
        self.sent = 0
        self.entered: list[int] = []  # the numbers of the committed orders, in the list's order
        self.logged_in: set[int] = set()  # the committed log-ins
        self._network = network
        self._replicas = replicas

    def on_committed(self, frame: Frame) -> None:
        """The next frame of the list is committed."""
        message = frame.message()
        if isinstance(message, EnterOrder):
            assert message.user_ref_num not in self.entered, "an order stands there twice"
            self.entered.append(message.user_ref_num)
        elif isinstance(message, LogIn):
            self.logged_in.add(message.login)

    def log_in(self) -> None:
        """Log in, again and again until that is committed."""
        if LOGIN not in self.logged_in:
            self.submit(Submission(LOGIN, LogIn(CLIENT, LOGIN, SelfTradePrevention.OFF)))
            self._network.after(RESEND_NS, self.log_in)

    def trade(self, count: int, interval_ns: int) -> list[int]:
        """Send so many orders; their numbers. What is not committed is sent again."""
        numbers = list(range(self.sent + 1, self.sent + count + 1))
        self.sent += count
        for i, number in enumerate(numbers):
            self._network.after(i * interval_ns, partial(self._enter, number))
        return numbers

    def submit(self, submission: Submission) -> None:
        """Hand a command to whoever believes that it leads: another gateway may believe it too."""
        for node in self._replicas.values():
            if _takes(node, submission):
                node.do(node.life, partial(_submit, node, submission))

    def _enter(self, number: int) -> None:
        if number in self.entered:
            return
        side = Side.BUY if number % 2 else Side.SELL
        quantity = 200 if number % 15 == 0 else 5 + number % 7
        self.submit(Submission(LOGIN, order(number, side, quantity)))
        self._network.after(RESEND_NS, partial(self._enter, number))


def _takes(node: ReplicaNode, submission: Submission) -> bool:
    if not node.is_alive or node.core.primary is None:
        return False
    command = submission.command
    if not isinstance(command, EnterOrder):
        return True
    machine = node.core.machine
    assert isinstance(machine, Reference)
    assert isinstance(machine.rules, Market)
    client = machine.rules.clients.get(CLIENT)
    # A gateway sends in order: else the machine would take the earlier ones for repeats.
    return client is not None and client.last_user_ref_num + 1 == command.user_ref_num


def _submit(node: ReplicaNode, submission: Submission) -> None:
    """A primary takes no command when its window is full."""
    if node.core.primary is not None and not node.core.primary.is_full:
        node.core.submit(encode_submission(submission))
