"""What every client sent and was told, held against the committed lists at every step.

The rules, each checked as soon as it can be:

- A client's numbered events are those that the lists say, one after the other from where its
  program began, whatever gateway they come from; and none is told before it is committed.
- A command with a number stands in one list once, as it was sent, and above all earlier ones of its
  client there; a cancel of all orders may stand once in each. What nobody sent does not stand
  there, nor what a gateway has refused, nor what another program of the client sent before the
  last log-in. A log-in in any other shard stands for one at the client's home.
- What is taken off an order was open of it: `tools.simulation.expectation`. An order that leaves a
  shard comes to another once, as it was: `tools.simulation.transit`.
- When all is calm, whatever a program sent stands in a list or was refused, its cancels have had
  their effect, it was told of everything, and the markets hold what is open by the lists.

A client may have several programs, one after the other or at once; each of them is told the same.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from engine.market import Market
from feed.codec import Frame
from feed.messages import (
    CancelOrder,
    CancelReason,
    EnterOrder,
    LogIn,
    MassCancel,
    Message,
    NewDay,
    Rejected,
    ReplaceOrder,
    ShardMark,
)
from gateway import events
from gateway.events import UNNUMBERED, Event
from gateway.rejects import GatewayReject
from tools.simulation.client_streams import ClientStreams
from tools.simulation.expectation import Expectation
from tools.simulation.programs import Client, NumberedCommand, Program, is_sweep
from tools.simulation.transit import Transit

_MISSING = (GatewayReject.CONNECTION_LOST, GatewayReject.NUMBER_PASSED)
UNREADABLE = 0  # the number in a refusal of bytes that hold none


class Ledger:
    """Told of each committed frame, and of all that clients send and hear."""

    def __init__(
        self, shards: Iterable[int] = (1,), homes: Iterable[int] = (1,), session: str = ""
    ) -> None:
        """`homes` are those of the shards that clients are at home in; `session` names the time
        before the first day."""
        self.streams = ClientStreams(tuple(homes), session)
        self.transit = Transit()
        self.expectations = {shard: Expectation(self.transit) for shard in shards}
        self.commands = 0  # in the lists, that clients sent
        self._commands_of: Counter[tuple[int, int]] = Counter()  # by shard and the client's home
        self._clients: defaultdict[int, Client] = defaultdict(Client)
        self._log_ins: set[int] = set()  # that stand in a list
        self._groups: dict[int, list[Frame]] = {shard: [] for shard in shards}  # not whole yet
        self._committed = 0  # frames, of all lists

    # What the clients do.

    def begin(self, client: int, name: str, next_sequence: int) -> Program:
        """A program starts for a client, and asks for its events from this number on."""
        program = Program(client, name, next_sequence)
        self._clients[client].programs.append(program)
        return program

    def end(self, program: Program) -> None:
        """A program is over; what it has sent may still arrive."""
        self._clients[program.client].leave(program)

    def on_log_in_asked(self, program: Program) -> None:
        """A program asks to be let in."""
        program.asked_at = len(self._clients[program.client].log_ins)

    def on_logged_in(self, program: Program, session: str = "") -> None:
        """A program has been let in to a session; what others had under way is void.

        One that reads a day that is over is not logged in.
        """
        program.session = program.session or session
        client = self._clients[program.client]
        if session != self.streams.session_of(program.client):
            return
        log_ins = client.log_ins
        assert len(log_ins) > program.asked_at, f"{program.name} is let in without a log-in"
        if len(log_ins) == program.asked_at + 1:
            client.holders[log_ins[-1]] = program
        client.void_what_is_left()
        if program.let_in_at is None:
            program.let_in_at = self._committed

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
        if isinstance(command, MassCancel):
            client = self._clients[command.client]
            client.mass_canceled = max(client.mass_canceled, number)
            if is_sweep(command):
                program.sweeps[number] = command
        self._use_number(program, number, command)

    def on_sent_to_be_refused(self, program: Program, user_ref_num: int) -> None:
        """A program sends what no gateway may let pass; `UNREADABLE` where it has no number."""
        if user_ref_num == UNREADABLE:
            program.unreadable += 1
        else:
            self._use_number(program, user_ref_num, None)

    def on_event(self, program: Program, event: Event) -> None:
        """A program hears of something."""
        stream = self.streams.stream(program.client, program.session)
        if isinstance(event, events.SessionBegan):
            self._on_session(program, event, len(stream))
            return
        if event.sequence == UNNUMBERED:
            self._on_refusal(program, event)
            return
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
        client, session = program.client, program.session
        has_heard = program.next_sequence == len(self.streams.stream(client, session)) + 1
        is_current = session == self.streams.session_of(client)
        return has_heard and is_current and self.streams.has_all(client)

    # What the list says.

    def on_committed(self, frame: Frame, shard: int = 1) -> None:
        """The next frame of a shard's list is committed."""
        group = self._groups[shard]
        group.append(frame)
        self._committed += 1
        if not frame.is_end:
            return
        self._groups[shard] = []
        command = group[0].message()
        caused = [each.message() for each in group[1:2]]
        self._place(shard, group[0].sequence, command)
        expectation = self.expectations[shard]
        expectation.take(group)
        self.streams.take(shard, frame.sequence, expectation.told)
        if isinstance(command, ShardMark):
            self.streams.mark(shard, command, caused)
        if isinstance(command, NewDay) and not any(isinstance(each, Rejected) for each in caused):
            used = {
                number: client.standings[shard].last_user_ref_num
                for number, client in self._clients.items()
            }
            self.streams.begin_day(shard, command.day, frame.sequence, used)

    def commands_in(self, shard: int, *, without_home: int) -> int:
        """How many commands of clients a shard has taken, but of those who are at home there."""
        counts = self._commands_of.items()
        return sum(count for (at, home), count in counts if at == shard and home != without_home)

    def open_quantity(self, client: int, user_ref_num: int) -> int:
        """What is open of the order that goes by this number, wherever it is."""
        named = (each.open_quantity(client, user_ref_num) for each in self.expectations.values())
        return sum(named)

    def check_settled(self, markets: Mapping[int, Market]) -> None:
        """Raise AssertionError if anything was lost, now that nothing is under way any more."""
        for shard, group in self._groups.items():
            assert not group, f"shard {shard}'s list ends within group {group[0].sequence}"
        assert self.transit.is_empty, "orders are on their way from one shard to another"
        for client in self._clients.values():
            for program in client.programs:
                self._check_program(program)
        for shard, market in markets.items():
            self._check_orders(shard, market)
        self.transit.moved.clear()

    # How it is done.

    def _on_session(self, program: Program, event: events.SessionBegan, last: int) -> None:
        """A program goes on with the next day, once it has had all of the one before."""
        name = program.name
        assert not event.may_have_missed, f"{name} has missed a part of {event.previous}"
        assert program.next_sequence == last + 1, f"{name} leaves {event.previous} before its end"
        assert event.session == self.streams.session_of(program.client), f"{name}: {event}"
        program.session, program.next_sequence = event.session, 1

    def _use_number(self, program: Program, number: int, command: NumberedCommand | None) -> None:
        name, at = program.name, self._clients[program.client].placed.get(number)
        assert number not in program.unanswered, f"{name} uses number {number} twice"
        assert program.let_in_at is not None, f"{name} can't know that {number} is its next number"
        if at is None:
            program.unanswered[number] = command
            return
        # Of several shards, a gateway that does not hear them all may not know what is used there.
        is_news = at > program.let_in_at or len(self.expectations) > 1
        assert is_news, f"{name} uses number {number}, which stands at {at}"
        program.overtaken[number] = command
        self._overtake(program, number)

    def _overtake(self, program: Program, number: int) -> None:
        """Another program has used the numbers up that this one has used too, up to this one.

        It did not hear that the other one had logged in: so it will take that one's events for its
        own, and what it sent until then for answered, or for refused.
        """
        for each in [each for each in program.unanswered if each <= number]:
            program.overtaken[each] = program.unanswered.pop(each)
        program.overtaken.setdefault(number, None)
        program.cancels.clear()

    def _check_program(self, program: Program) -> None:
        name, stream = program.name, self.streams.streams[program.client]
        lost = next(iter(program.unanswered.items()), None)
        assert lost is None, f"{name}'s command {lost[0]} was lost: {lost[1] or 'no refusal came'}"
        assert self.has_heard_all(program), (
            f"{name} was never told event {program.next_sequence}: "
            f"{stream[program.next_sequence - 1 :][:1] or 'no mark names it'}"
        )
        for number, remaining in program.cancels.items():
            left = self.open_quantity(program.client, number)
            assert left <= remaining, (
                f"{name}'s cancel of its order {number} to {remaining} was lost: {left} is open"
            )
        program.cancels.clear()

    def _check_orders(self, shard: int, market: Market) -> None:
        known = {
            order.number: (order.quantity, order.executed, order.canceled, order.open)
            for order in self.expectations[shard].orders.values()
        }
        held = {
            order.number: (order.quantity, order.executed, order.canceled, order.leaves)
            for order in market.orders.values()
        }
        for number in sorted(known.keys() | held.keys()):
            assert known.get(number) == held.get(number), (
                f"order {number} has (quantity, executed, canceled, open) {held.get(number)} in"
                f" the market, and {known.get(number)} by the list of shard {shard}"
            )

    def _is_home(self, shard: int, client: int) -> bool:
        return self.streams.home_of(client) == shard

    def _on_refusal(self, program: Program, event: Event) -> None:
        name, number = program.name, event.user_ref_num
        assert isinstance(event, events.Rejected), f"{name} was told without a number: {event}"
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
                program.overtaken[number] = command
            return
        at = self._clients[program.client].placed.get(number)
        assert at is None, f"{name} was told that this is refused; it stands in the list: {event}"
        assert number in program.unanswered, f"{name} was told of what it did not send: {event}"
        command = program.unanswered.pop(number)
        # What is missing would look the same as what was passed over; and as what the library then
        # guesses, that the reason got lost. That may be where a symbol has moved to a shard that
        # was ahead of the one where it was.
        is_missing = event.reason in _MISSING and not self.transit.has_moves
        assert command is None or not is_missing, (
            f"{name} was told that its command is refused, which it was not: {command}"
        )

    def _place(self, shard: int, sequence: int, command: Message) -> None:
        """A command stands in the list of a shard."""
        match command:
            case MassCancel(number, 0, _, reason):
                assert reason == CancelReason.LINK_LOST, f"nobody asked for {command}"
                self._client(number, sequence)
            case EnterOrder() | ReplaceOrder() | MassCancel():
                self.commands += 1
                self._commands_of[shard, self.streams.home_of(command.client)] += 1
                client = self._client(command.client, sequence)
                self._place_numbered(shard, sequence, command, client)
            case CancelOrder(number, user_ref_num, remaining):
                self.commands += 1
                client = self._client(number, sequence)
                # A gateway cancels what was on its way to another shard when a mass cancel came.
                is_swept = (
                    not remaining and user_ref_num < client.mass_canceled and self.transit.has_moves
                )
                assert is_swept or (user_ref_num, remaining) in client.cancels, (
                    f"frame {sequence} was never sent: {command}"
                )
                holder = None if is_swept else client.holder(shard)
                assert holder is None or remaining in holder.canceled.get(user_ref_num, ()), (
                    f"frame {sequence} was void since {holder.name} logged in: {command}"
                )
            case LogIn():
                self._place_log_in(shard, sequence, command)

    def _place_log_in(self, shard: int, sequence: int, command: LogIn) -> None:
        number, login, _, home_sequence = command
        assert login not in self._log_ins, f"log-in {login} stands in the lists twice"
        self._log_ins.add(login)
        client = self._client(number, sequence)
        standing = client.standings[shard]
        if self._is_home(shard, number):
            assert not home_sequence, f"{command} is at home in shard {shard}"
            client.log_ins.append(sequence)
            standing.log_in = sequence
            return
        assert home_sequence in client.log_ins, f"{command} has none at home that it stands for"
        assert home_sequence >= standing.log_in, (
            f"shard {shard} takes {command} after one that stands for {standing.log_in}"
        )
        standing.log_in = home_sequence

    def _place_numbered(
        self, shard: int, sequence: int, command: NumberedCommand, client: Client
    ) -> None:
        number, standing = command.user_ref_num, client.standings[shard]
        is_for_all = is_sweep(command)
        # Another one of this number may stand in another shard: a program that starts while that
        # shard is cut off can't know what the one before had on its way there.
        is_first = command not in client.commands[number] or (
            is_for_all and (number, shard) not in client.swept
        )
        assert is_first, f"client {command.client}'s command {number} stands in the lists twice"
        assert number > standing.last_user_ref_num, (
            f"client {command.client}'s command {number} stands at {sequence},"
            f" after {standing.last_user_ref_num}"
        )
        # What is done at home a gateway completes, whoever has logged in since.
        is_completed = is_for_all and (number, self.streams.home_of(command.client)) in client.swept
        sent = list(client.under_way(shard, number, even_void=is_completed))
        assert sent, f"frame {sequence} was never sent, or was refused: {command}"
        assert command in sent, f"frame {sequence} is {command}, and what was sent is {sent[-1]}"
        holder = client.holder(shard)
        assert is_completed or holder is None or holder.has_sent(command), (
            f"frame {sequence} was void since {holder.name} logged in: {command}"
        )
        client.placed.setdefault(number, self._committed)
        client.commands[number].append(command)
        if is_for_all:
            client.swept.add((number, shard))
        standing.last_user_ref_num = number
        for program in client.programs:
            if program.unanswered.get(number) == command:
                # What goes to all shards is not answered before it stands in the home's list.
                if not is_for_all or self._is_home(shard, command.client):
                    del program.unanswered[number]
            elif not program.has_sent(command):
                self._overtake(program, number)

    def _client(self, number: int, sequence: int) -> Client:
        assert number in self._clients, f"frame {sequence} is of client {number}, whom nobody knows"
        return self._clients[number]
