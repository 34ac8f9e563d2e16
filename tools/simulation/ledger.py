"""What every client sent and was told, held against the committed list at every step.

The rules, each checked as soon as it can be:

- A client's numbered events are those that the list says, one after the other from where its
  program began, whatever gateway they come from; and none is told before it is committed.
- A command with a number stands in the list once, as it was sent, and above all earlier ones of its
  client. What nobody sent does not stand there, nor what a gateway has refused, nor what another
  program of the client sent before the last log-in.
- What is taken off an order was open of it: `tools.simulation.expectation`.
- When all is calm, whatever a program sent stands in the list or was refused, its cancels have had
  their effect, it was told of everything, and the market holds what is open by the list.

A client may have several programs, one after the other or at once; each of them is told the same.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from engine.market import Market
from feed.codec import Frame
from feed.messages import (
    CancelOrder,
    CancelReason,
    EnterOrder,
    LogIn,
    MassCancel,
    Message,
    ReplaceOrder,
)
from gateway.events import UNNUMBERED, Event, Rejected
from gateway.rejects import GatewayReject
from tools.simulation.expectation import Expectation

NumberedCommand: TypeAlias = EnterOrder | ReplaceOrder | MassCancel
UNREADABLE = 0  # the number in a refusal of bytes that hold none


@dataclass(slots=True, eq=False)
class Program:
    """One program that trades for a client, from its start to its end."""

    client: int
    name: str  # for people
    next_sequence: int  # of the event that it has to be told next
    let_in_at: int | None = None  # where the list was when it was first let in
    # Neither in the list nor refused, by user_ref_num; None for what a gateway has to refuse.
    unanswered: dict[int, NumberedCommand | None] = field(default_factory=dict)
    cancels: dict[int, int] = field(default_factory=dict)  # what may remain, by user_ref_num
    canceled: dict[int, set[int]] = field(default_factory=dict)  # the same, for all that it sent
    overtaken: set[int] = field(default_factory=set)  # user_ref_nums that another program used up
    asked_at: int = 0  # how many log-ins of the client the list had when it last asked for one
    unreadable: int = 0  # messages that it sent and that were not refused yet


@dataclass(slots=True)
class _Client:
    """What one client's programs did, and what the list says of it."""

    programs: list[Program] = field(default_factory=list)  # that run
    left: list[NumberedCommand] = field(default_factory=list)  # by others; may be on its way yet
    cancels: set[tuple[int, int]] = field(default_factory=set)  # user_ref_num and remainder
    placed: dict[int, int] = field(default_factory=dict)  # sequence by user_ref_num
    last_user_ref_num: int = 0
    log_ins: int = 0  # in the list
    holder: Program | None = None  # whose log-in is the last one of them, where that is known

    def under_way(self, user_ref_num: int) -> Iterator[NumberedCommand]:
        """The commands with this number that may come to stand in the list."""
        for program in self.programs:
            command = program.unanswered.get(user_ref_num)
            if command is not None:
                yield command
        yield from (command for command in self.left if command.user_ref_num == user_ref_num)


class Ledger:
    """Told of each committed frame, and of all that clients send and hear."""

    def __init__(self) -> None:
        self.expectation = Expectation()
        self.commands = 0  # in the list, that clients sent
        self._clients: defaultdict[int, _Client] = defaultdict(_Client)
        self._log_ins: set[int] = set()  # that stand in the list
        self._group: list[Frame] = []  # not whole yet
        self._last_sequence = 0

    # What the clients do.

    def begin(self, client: int, name: str, next_sequence: int) -> Program:
        """A program starts for a client, and asks for its events from this number on."""
        program = Program(client, name, next_sequence)
        self._clients[client].programs.append(program)
        return program

    def end(self, program: Program) -> None:
        """A program is over; what it has sent may still arrive."""
        client = self._clients[program.client]
        client.programs.remove(program)
        client.left += [each for each in program.unanswered.values() if each is not None]

    def on_log_in_asked(self, program: Program) -> None:
        """A program asks to be let in."""
        program.asked_at = self._clients[program.client].log_ins

    def on_logged_in(self, program: Program) -> None:
        """A program has been let in; what others had under way is void."""
        client = self._clients[program.client]
        assert client.log_ins > program.asked_at, f"{program.name} is let in without a log-in"
        if client.log_ins == program.asked_at + 1:
            client.holder = program
        client.left.clear()
        if program.let_in_at is None:
            program.let_in_at = self._last_sequence

    def on_sent(self, program: Program, command: NumberedCommand | CancelOrder) -> None:
        """A program sends a command, as it should stand in the list; repeats are not told."""
        assert command.client == program.client
        number = command.user_ref_num
        if isinstance(command, CancelOrder):
            remaining = min(command.quantity, program.cancels.get(number, command.quantity))
            program.cancels[number] = remaining
            program.canceled.setdefault(number, set()).add(command.quantity)
            self._clients[command.client].cancels |= {(number, command.quantity)}
            return
        self._use_number(program, number, command)

    def on_sent_to_be_refused(self, program: Program, user_ref_num: int) -> None:
        """A program sends what no gateway may let pass; `UNREADABLE` where it has no number."""
        if user_ref_num == UNREADABLE:
            program.unreadable += 1
        else:
            self._use_number(program, user_ref_num, None)

    def on_event(self, program: Program, event: Event) -> None:
        """A program hears of something."""
        if event.sequence == UNNUMBERED:
            self._on_refusal(program, event)
            return
        stream = self.expectation.streams[program.client]
        name, number = program.name, event.sequence
        assert number >= program.next_sequence, f"{name} was told event {number} again: {event}"
        assert number == program.next_sequence, (
            f"{name} was told event {number}, and never {program.next_sequence}: {event}"
        )
        assert number <= len(stream), f"{name} was told what is not committed: {event}"
        expected = stream[number - 1]
        assert type(event) is type(expected), f"{name} was told {event}, not {expected}"
        assert event == expected, f"{name} was told {event}, not {expected}"
        program.next_sequence += 1

    def has_heard_all(self, program: Program) -> bool:
        """Whether a program was told all that is committed of its client."""
        return program.next_sequence == len(self.expectation.streams[program.client]) + 1

    # What the list says.

    def on_committed(self, frame: Frame) -> None:
        """The next frame of the list is committed."""
        self._group.append(frame)
        self._last_sequence = frame.sequence
        if not frame.is_end:
            return
        group, self._group = self._group, []
        self._place(group[0].sequence, group[0].message())
        self.expectation.take(group)

    def check_settled(self, market: Market) -> None:
        """Raise AssertionError if anything was lost, now that nothing is under way any more."""
        assert not self._group, f"the list ends within group {self._group[0].sequence}"
        for client in self._clients.values():
            for program in client.programs:
                self._check_program(program)
        orders = self.expectation.orders
        known = {
            order.number: (order.quantity, order.executed, order.canceled, order.open)
            for order in orders.values()
        }
        held = {
            order.number: (order.quantity, order.executed, order.canceled, order.leaves)
            for order in market.orders.values()
        }
        for number in sorted(known.keys() | held.keys()):
            assert known.get(number) == held.get(number), (
                f"order {number} has (quantity, executed, canceled, open) {held.get(number)} in"
                f" the market, and {known.get(number)} by the list"
            )

    # How it is done.

    def _use_number(self, program: Program, number: int, command: NumberedCommand | None) -> None:
        name, at = program.name, self._clients[program.client].placed.get(number)
        assert number not in program.unanswered, f"{name} uses number {number} twice"
        assert program.let_in_at is not None, f"{name} can't know that {number} is its next number"
        if at is None:
            program.unanswered[number] = command
            return
        assert at > program.let_in_at, f"{name} uses number {number}, which stands at {at}"
        self._overtake(program, number)

    def _overtake(self, program: Program, number: int) -> None:
        """Another program has used the numbers up that this one has used too, up to this one.

        It did not hear that the other one had logged in: so it will take that one's events for its
        own, and what it sent until then for answered, or for refused.
        """
        overtaken = [each for each in program.unanswered if each <= number]
        for each in overtaken:
            del program.unanswered[each]
        program.overtaken.update((*overtaken, number))
        program.cancels.clear()

    def _check_program(self, program: Program) -> None:
        name, stream = program.name, self.expectation.streams[program.client]
        lost = next(iter(program.unanswered.items()), None)
        assert lost is None, f"{name}'s command {lost[0]} was lost: {lost[1] or 'no refusal came'}"
        assert self.has_heard_all(program), (
            f"{name} was never told event {program.next_sequence}: "
            f"{stream[program.next_sequence - 1 :][:1]}"
        )
        for number, remaining in program.cancels.items():
            left = self.expectation.open_quantity(program.client, number)
            assert left <= remaining, (
                f"{name}'s cancel of its order {number} to {remaining} was lost: {left} is open"
            )
        program.cancels.clear()

    def _on_refusal(self, program: Program, event: Event) -> None:
        name, number = program.name, event.user_ref_num
        assert isinstance(event, Rejected), f"{name} was told without a number: {event}"
        assert isinstance(event.reason, GatewayReject), f"{name} was told without a number: {event}"
        if number == UNREADABLE and program.unreadable:
            program.unreadable -= 1
            return
        if number in program.overtaken:
            return
        if number in program.canceled and event.reason is not GatewayReject.CONNECTION_LOST:
            # Of the cancel, or of the order itself: so the order may come to stand in the list.
            program.cancels.pop(number, None)
            command = program.unanswered.pop(number, None)
            if command is not None:
                self._clients[program.client].left.append(command)
            return
        at = self._clients[program.client].placed.get(number)
        assert at is None, f"{name} was told that this is refused; it stands in the list: {event}"
        assert number in program.unanswered, f"{name} was told of what it did not send: {event}"
        command = program.unanswered.pop(number)
        # That its reason got lost is the library's guess; what is missing would look the same.
        assert command is None or event.reason is not GatewayReject.CONNECTION_LOST, (
            f"{name} was told that its command is refused, which it was not: {command}"
        )

    def _place(self, sequence: int, command: Message) -> None:
        """A command stands in the list."""
        match command:
            case MassCancel(number, 0, _, reason):
                assert reason == CancelReason.LINK_LOST, f"nobody asked for {command}"
                self._client(number, sequence)
            case EnterOrder() | ReplaceOrder() | MassCancel():
                self.commands += 1
                self._place_numbered(sequence, command, self._client(command.client, sequence))
            case CancelOrder(number, user_ref_num, remaining):
                self.commands += 1
                client = self._client(number, sequence)
                assert (user_ref_num, remaining) in client.cancels, (
                    f"frame {sequence} was never sent: {command}"
                )
                holder = client.holder
                assert holder is None or remaining in holder.canceled.get(user_ref_num, ()), (
                    f"frame {sequence} was void since {holder.name} logged in: {command}"
                )
            case LogIn(number, login):
                assert login not in self._log_ins, f"log-in {login} stands in the list twice"
                self._log_ins.add(login)
                client = self._client(number, sequence)
                client.log_ins += 1
                client.holder = None

    def _place_numbered(self, sequence: int, command: NumberedCommand, client: _Client) -> None:
        number = command.user_ref_num
        assert number not in client.placed, (
            f"client {command.client}'s command {number} stands in the list twice:"
            f" at {client.placed[number]} and at {sequence}"
        )
        assert number > client.last_user_ref_num, (
            f"client {command.client}'s command {number} stands at {sequence},"
            f" after {client.last_user_ref_num}"
        )
        sent = list(client.under_way(number))
        assert sent, f"frame {sequence} was never sent, or was refused: {command}"
        assert command in sent, f"frame {sequence} is {command}, and what was sent is {sent[-1]}"
        holder = client.holder
        assert holder is None or holder.unanswered.get(number) == command, (
            f"frame {sequence} was void since {holder.name} logged in: {command}"
        )
        client.placed[number] = sequence
        client.last_user_ref_num = number
        for program in client.programs:
            if program.unanswered.get(number) == command:
                del program.unanswered[number]
            else:
                self._overtake(program, number)

    def _client(self, number: int, sequence: int) -> _Client:
        assert number in self._clients, f"frame {sequence} is of client {number}, whom nobody knows"
        return self._clients[number]
