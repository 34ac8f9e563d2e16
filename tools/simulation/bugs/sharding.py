"""Planted bugs of exchanges with several shards: marks, log-ins, routes, and moves between them."""

from engine import moving
from engine.market import Market
from gateway.home import Home
from gateway.numbers import Numbers
from gateway.routing import Router
from gateway.shards import Shards
from tools.simulation.planted import Patch, PlantedBug
from zk.directory import Directory

SHARDING = (
    PlantedBug(
        "an earlier mark taken",
        "The machine takes a mark that is earlier than the one before, from a gateway that lags"
        " behind: what the mark before named comes into streams twice.",
        (Patch(Market, "_admits_mark", "command.sequence > last", "command.sequence != last"),),
    ),
    PlantedBug(
        "a mark heeded too soon",
        "A gateway goes on with a stream at a mark before it has heard the other list that far:"
        " what comes later has other numbers here than elsewhere.",
        (
            Patch(
                Home,
                "_has_to_wait",
                "return other is None or other.heard_sequence < item.sequence",
                "return other is None",
            ),
        ),
    ),
    PlantedBug(
        "streams in the order of arrival",
        "A gateway puts what other lists tell into streams as it hears it: each gateway gives it"
        " other numbers.",
        (
            Patch(
                Shards,
                "_hear_other",
                "    other.add(parts)\n",
                "    home.home.hear(OwnMessages(parts))\n",
            ),
        ),
    ),
    PlantedBug(
        "nobody marks",
        "A gateway does not have the streams of its clients go on with what other lists tell them:"
        " they wait for it for ever.",
        (
            Patch(
                Shards,
                "_hear_other",
                "    if is_here or other.size_bytes > UNMARKED_LIMIT_BYTES:\n"
                "        self._want_mark(home.number, number)\n",
                "",
            ),
        ),
    ),
    PlantedBug(
        "a log-in out of its home's order",
        "A shard takes a log-in that stands for an earlier one at the client's home than the last"
        " one does: the newest session's orders are void, and the old one's count.",
        (
            Patch(
                Market,
                "_admits_log_in",
                "        and command.home_sequence >= client.home_sequence\n",
                "",
            ),
        ),
    ),
    PlantedBug(
        "orders before the log-in",
        "A gateway sends a client's commands to a shard where its log-in is not committed yet: they"
        " are dropped there, and lost.",
        (
            Patch(
                Shards,
                "_submit_waiting",
                "    if not all(seats.by_shard[each].is_taken for each in needed):\n"
                "        return\n",
                "",
            ),
        ),
    ),
    PlantedBug(
        "a repeat let through after a move",
        "A gateway drops what is sent again only where it would go now: an order whose symbol has"
        " moved since is carried out once more.",
        (
            Patch(
                Router,
                "_numbered",
                "if numbers.is_used(client, number) or",
                "if numbers.is_used_in(client, number, shard) or",
            ),
        ),
    ),
    PlantedBug(
        "an adopted order not found",
        "A gateway goes on looking for orders where they were entered: cancels of those that have"
        " moved come to nothing.",
        (Patch(Numbers, "adopt", "    known.placed[number] = shard\n", ""),),
    ),
    PlantedBug(
        "one answer for all shards",
        "A gateway tells a client that a mass cancel of all symbols is done when the first shard"
        " says so, and again for each other one.",
        (Patch(Home, "_is_last", "    return is_last\n", "    return True\n"),),
    ),
    PlantedBug(
        "a home among the present shards",
        "A client's home is drawn from the shards that there are now: with one shard more, some"
        " streams go on in another list.",
        (Patch(Directory, "home_of", "self.homes", "self.shards"),),
    ),
    PlantedBug(
        "an order adopted twice",
        "A shard takes an order that it has been told to adopt before, when that is said again.",
        (
            Patch(
                moving,
                "may_adopt_order",
                "        and command.source_sequence > instrument.adopted_sequence\n",
                "",
            ),
        ),
    ),
    PlantedBug(
        "orders stay behind",
        "The orders of an instrument that has left a shard stay open there, too.",
        (
            Patch(
                moving,
                "move_out",
                "            del market.orders[order.number]\n"
                "            del order.owner.orders[order.user_ref_num]\n",
                "",
            ),
        ),
    ),
    PlantedBug(
        "an adopted order is new",
        "What was executed of an order before it moved is forgotten: more of it trades than was"
        " asked for.",
        (
            Patch(
                moving,
                "adopt_order",
                "    order = order_of(record, client)\n",
                "    order = order_of(record, client)\n    order.executed = 0\n",
            ),
        ),
    ),
)
