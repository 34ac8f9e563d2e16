"""The programs that trade for one client, what they have sent, and what may come of that yet."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from feed.messages import ALL_SYMBOLS, EnterOrder, MassCancel, ReplaceOrder

NumberedCommand: TypeAlias = EnterOrder | ReplaceOrder | MassCancel


@dataclass(slots=True, eq=False)
class Program:
    """One program that trades for a client, from its start to its end."""

    client: int
    name: str  # for people
    next_sequence: int  # of the event that it has to be told next
    session: str = ""  # in which that counts; empty before it was first let in
    let_in_at: int | None = None  # how much was committed when it was first let in
    # Neither in a list nor refused, by user_ref_num; None for what a gateway has to refuse.
    unanswered: dict[int, NumberedCommand | None] = field(default_factory=dict)
    cancels: dict[int, int] = field(default_factory=dict)  # what may remain, by user_ref_num
    canceled: dict[int, set[int]] = field(default_factory=dict)  # the same, for all that it sent
    # By user_ref_nums that another program used up, or may have: what it sent under them itself.
    overtaken: dict[int, NumberedCommand | None] = field(default_factory=dict)
    sweeps: dict[int, MassCancel] = field(default_factory=dict)  # of all symbols: for all shards
    asked_at: int = 0  # how many log-ins of the client its home had when it last asked for one
    unreadable: int = 0  # messages that it sent and that were not refused yet

    def has_sent(self, command: NumberedCommand) -> bool:
        """Whether this may come from it."""
        number = command.user_ref_num
        sent = self.unanswered.get(number), self.overtaken.get(number), self.sweeps.get(number)
        return command in sent


@dataclass(slots=True)
class _Left:
    """What a program sent that has ended; on its way yet, perhaps."""

    command: NumberedCommand
    void_from: int | None = None  # the log-in at home that it is void from on


@dataclass(slots=True)
class Standing:
    """What a client is to one shard."""

    last_user_ref_num: int = 0
    log_in: int = 0  # the one at home, by its frame there, that the last one here stands for


@dataclass(slots=True)
class Client:
    """What one client's programs did, and what the lists say of it."""

    programs: list[Program] = field(default_factory=list)  # that run
    left: list[_Left] = field(default_factory=list)
    cancels: set[tuple[int, int]] = field(default_factory=set)  # user_ref_num and remainder
    mass_canceled: int = 0  # the user_ref_num of the newest mass cancel that was sent
    placed: dict[int, int] = field(default_factory=dict)  # how much was committed before
    commands: defaultdict[int, list[NumberedCommand]] = field(
        default_factory=lambda: defaultdict(list)
    )  # that stand in lists, by user_ref_num
    swept: set[tuple[int, int]] = field(default_factory=set)  # user_ref_nums, in which shards
    standings: defaultdict[int, Standing] = field(default_factory=lambda: defaultdict(Standing))
    log_ins: list[int] = field(default_factory=list)  # at home, by their frames
    holders: dict[int, Program] = field(default_factory=dict)  # by log-in, where it is known

    def holder(self, shard: int) -> Program | None:
        """Whose log-in is the last one in a shard, where that is known."""
        return self.holders.get(self.standings[shard].log_in)

    def leave(self, program: Program) -> None:
        """A program ends; what it has sent may still arrive."""
        self.programs.remove(program)
        sent = (*program.unanswered.values(), *program.overtaken.values())
        self.left += [_Left(each) for each in sent if each is not None]
        self.left += map(_Left, program.sweeps.values())

    def void_what_is_left(self) -> None:
        """Somebody has been let in: from its log-in on, nothing counts that others left behind."""
        for each in self.left:
            if each.void_from is None:
                each.void_from = self.log_ins[-1]

    def under_way(
        self, shard: int, number: int, *, even_void: bool = False
    ) -> Iterator[NumberedCommand]:
        """The commands with this number that may come to stand in the list of a shard."""
        for program in self.programs:
            for sent in (program.unanswered, program.overtaken, program.sweeps):
                command = sent.get(number)
                if command is not None:
                    yield command
        log_in = self.standings[shard].log_in
        for each in self.left:
            if each.command.user_ref_num == number and (
                even_void or each.void_from is None or log_in < each.void_from
            ):
                yield each.command


def is_sweep(command: NumberedCommand) -> bool:
    """Whether it goes to all shards."""
    return isinstance(command, MassCancel) and command.symbol == ALL_SYMBOLS
