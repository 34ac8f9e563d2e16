"""Do the lists of several shards fit together? What each says of the others, held against them.

Sans-I/O. Every mark names the end of a group that the other list has; every log-in elsewhere
follows one at home; an instrument that arrives has left another shard once, and all its orders with
it; and no command was carried out in two shards. What is said of a shard whose journals are not
there, or of frames that were pruned, can't be compared: that is told.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from feed.messages import AdoptOrder, OrderState, unpad
from tools.audit.crossings import Arrival, Crossings, Departure
from tools.audit.findings import Findings, Kind


class Side(NamedTuple):
    """One of the lists, as it was audited."""

    shard: int
    crossings: Crossings
    findings: Findings
    last_sequence: int
    has_grown: bool = False  # frames were added to it since it was read


class Comparison:
    """Holds the lists of one exchange against one another, and adds to their findings."""

    def __init__(self, sides: Sequence[Side]) -> None:
        self._sides = {side.shard: side for side in sides}
        self._has_grown = any(side.has_grown for side in sides)
        whole = [side for side in sides if _is_whole(side)]
        named = {shard for side in sides for shard in _named_by(side)}
        # Whether a list that something is not found in could be another than these.
        self._has_all = len(sides) > 1 and named <= {side.shard for side in whole}
        self._homes: dict[int, Side] = {}  # where each client logs in first
        self._departures: defaultdict[tuple[bytes, int], list[tuple[Side, Departure]]]
        self._departures = defaultdict(list)
        for side in sides:
            for departure in side.crossings.departures:
                key = departure.symbol, departure.moves
                self._departures[key].append((side, departure))
            for client in side.crossings.home_log_ins.values():
                self._homes.setdefault(client, side)

    def run(self) -> None:
        """Compare all that there is."""
        for side in self._sides.values():
            self._compare_marks(side)
            self._compare_log_ins(side)
        self._compare_moves()
        for one, other in combinations(self._sides.values(), 2):
            self._compare_numbers(one, other)
            self._compare_live_orders(one, other)

    # Marks.

    def _compare_marks(self, side: Side) -> None:
        for shard, marks in sorted(side.crossings.marks.items()):
            other = self._sides.get(shard)
            if shard == side.shard or other is None:
                count = len(marks.named)
                if shard == side.shard:
                    text = f"{count:,} marks are of the shard itself"
                    side.findings.add(Kind.MARK, marks.places[0], text, expected="another shard")
                else:
                    text = f"shard {shard}'s journals are not there: {count:,} marks of it"
                    side.findings.note(f"{text} could not be compared")
                continue
            for named, place in zip(marks.named, marks.places, strict=True):
                self._compare_mark(side, other, named, place)

    def _compare_mark(self, side: Side, other: Side, named: int, place: int) -> None:
        ends = other.crossings.ends
        is_unread = named < ends.first or (named > other.last_sequence and other.has_grown)
        if is_unread or not other.crossings.is_whole:
            return
        side.findings.checked["marks compared"] += 1
        text = f"shard {other.shard} is marked at {named:,}"
        if named > other.last_sequence:
            expected = f"{other.last_sequence:,} at most: nobody has more, and it was committed"
            side.findings.add(Kind.MARK, place, text, expected=expected)
        elif named not in ends:
            side.findings.add(Kind.MARK, place, text, expected="the end of a group in its list")

    # Log-ins.

    def _compare_log_ins(self, side: Side) -> None:
        for sequence, client in side.crossings.home_log_ins.items():
            first = self._homes[client]
            if first is not side:
                text = f"client {client} logs in as at home, which is shard {first.shard}"
                expected = "with the number of a log-in there"
                side.findings.add(Kind.HOME, sequence, text, expected=expected)
        unknown = 0
        for sequence, client, home_sequence in side.crossings.later_log_ins:
            home = self._homes.get(client)
            if home is None and not self._has_all:
                unknown += 1
            elif home is None or not _may_be_unread(home, home_sequence):
                side.findings.checked["log-ins compared"] += 1
                log_ins = {} if home is None else home.crossings.home_log_ins
                if home is side or log_ins.get(home_sequence) != client:
                    where = "some shard" if home is None else f"shard {home.shard}"
                    text = f"client {client} logs in by frame {home_sequence:,} of its home's list"
                    expected = f"a LOG_IN of client {client} in {where}, which is its home"
                    side.findings.add(Kind.HOME, sequence, text, expected=expected)
        if unknown:
            side.findings.note(
                f"{unknown:,} log-ins are of clients whose home's journals are not there"
            )

    # Moves.

    def _compare_moves(self) -> None:
        arrived: dict[tuple[bytes, int], Side] = {}
        for side in self._sides.values():
            for arrival in side.crossings.arrivals:
                key = arrival.terms.symbol, arrival.terms.moves
                if key in arrived:
                    text = f"{unpad(key[0])} arrives here and in shard {arrived[key].shard}"
                    side.findings.add(Kind.MOVE, arrival.sequence, text, expected="one of them")
                arrived[key] = side
                self._compare_arrival(side, arrival)
        for key, departures in self._departures.items():
            (side, first), *again = departures
            if key not in arrived:
                self._note_departure(side, first)
            for other, departure in again:
                text = f"{unpad(key[0])} leaves here, and left shard {side.shard}, as move {key[1]}"
                other.findings.add(Kind.MOVE, departure.sequence, text, expected="one of them")

    def _note_departure(self, side: Side, departure: Departure) -> None:
        what = f"{unpad(departure.symbol)} with {len(departure.orders):,} orders"
        other = self._sides.get(departure.shard)
        if other is None:
            why = f"shard {departure.shard}'s journals are not there"
        elif not _is_whole(other):
            why = f"shard {departure.shard}'s list was not read whole"
        else:
            why = f"it has not arrived in shard {departure.shard} yet"
        side.findings.note(f"{what} left in frame {departure.sequence:,}: {why}")

    def _compare_arrival(self, side: Side, arrival: Arrival) -> None:
        terms, findings = arrival.terms, side.findings
        name = unpad(terms.symbol)
        found = self._departures.get((terms.symbol, terms.moves))
        if found is None:
            refused = sum(each.is_refused for each in arrival.orders.values())
            if self._has_all:
                text = f"{name} arrives, and has not left any shard"
                expected = f"a MOVE_OUT of {name}, its move {terms.moves}"
                findings.add(Kind.MOVE, arrival.sequence, text, expected=expected)
            else:
                text = f"{name} arrived with {len(arrival.orders):,} orders, {refused:,} refused"
                findings.note(f"{text}; the list that it came from is not there")
            return
        source, departure = found[0]
        if departure.shard != side.shard or source is side:
            text = f"{name} arrives from shard {source.shard}"
            findings.add(Kind.MOVE, arrival.sequence, text, expected=f"in shard {departure.shard}")
        state = departure.state
        if arrival.sequence and state is not None:
            left_as = (*state[:4], state.last_price)
            if left_as != terms[:5]:
                text = f"{name} arrives as another instrument than it left shard {source.shard}"
                findings.add(Kind.MOVE, arrival.sequence, text, expected=f"{left_as}")
        self._compare_orders(side, arrival, source, departure)

    def _compare_orders(
        self, side: Side, arrival: Arrival, source: Side, departure: Departure
    ) -> None:
        for number, (sequence, order, is_refused) in arrival.orders.items():
            side.findings.checked["arrivals compared"] += 1
            left = departure.orders.get(number)
            text = f"client {order.client}'s order {order.user_ref_num}"
            where = f"frame {number:,} of shard {source.shard}"
            if left is None:
                text = f"{text} arrives, and did not leave with {unpad(order.symbol)}"
                expected = f"an ORDER_STATE in {where}"
                side.findings.add(Kind.MOVE, sequence, text, expected=expected)
            elif differing := list(_differing(order, left)):
                text = f"{text} arrives with other terms than it left with in {where}"
                expected = ", ".join(f"{name}={getattr(left, name)}" for name in differing)
                side.findings.add(Kind.MOVE, sequence, text, expected=expected)
            elif is_refused:
                text = f"{text} was refused as it arrived, and lives nowhere"
                side.findings.add(Kind.MOVE, sequence, text, expected=f"as it left in {where}")
        missing = [
            number
            for number in departure.orders
            if number not in arrival.orders and number > arrival.adopted_sequence
        ]
        if missing and arrival.end_sequence:
            text = f"{unpad(departure.symbol)} is here, without {len(missing):,} of its orders"
            expected = f"those of the frames {missing[:5]} of shard {source.shard}, before this"
            side.findings.add(Kind.MOVE, arrival.end_sequence, text, expected=expected)
        elif not arrival.end_sequence:
            side.findings.note(
                f"{unpad(departure.symbol)} is arriving from shard {source.shard}: "
                f"{len(missing):,} of {len(departure.orders):,} orders are to come"
            )

    # Clients.

    def _compare_numbers(self, one: Side, other: Side) -> None:
        for client, numbers in one.crossings.numbers.items():
            theirs = other.crossings.numbers.get(client)
            if theirs is None:
                continue
            other.findings.checked["numbers compared"] += len(numbers.of_orders)
            twice = {*numbers.of_orders} & {*theirs.of_orders, *theirs.of_all_symbols}
            twice |= {*numbers.of_all_symbols} & {*theirs.of_orders}
            for number in sorted(twice):
                text = f"client {client}'s command {number} stands here and in shard {one.shard}"
                other.findings.add(Kind.TWICE, 0, text, expected="one shard")

    def _compare_live_orders(self, one: Side, other: Side) -> None:
        if self._has_grown:
            return
        for client, number in sorted(one.crossings.live & other.crossings.live):
            text = f"client {client}'s order {number} lives here and in shard {one.shard}"
            other.findings.add(Kind.TWICE, 0, text, expected="one shard")


def compare(sides: Sequence[Side]) -> None:
    """Hold the lists of one exchange against one another, and add to their findings."""
    Comparison(sides).run()


def _is_whole(side: Side) -> bool:
    """Whether all that the list ever said is known."""
    return side.crossings.is_whole and not side.crossings.began_after and not side.has_grown


def _may_be_unread(side: Side, sequence: int) -> bool:
    """Whether a frame that is not known of may be there: it was pruned, or came later."""
    return (
        sequence <= side.crossings.began_after
        or not side.crossings.is_whole
        or (side.has_grown and sequence > side.last_sequence)
    )


def _named_by(side: Side) -> Iterator[int]:
    """The shards that there are, as far as a list tells."""
    yield side.shard
    yield from side.crossings.marks
    yield from (departure.shard for departure in side.crossings.departures)


def _differing(order: AdoptOrder, left: OrderState) -> Iterable[str]:
    """The fields in which an order that arrived is not the one that left."""
    for name, value in left._asdict().items():
        if name != "number" and getattr(order, name) != value:
            yield name
