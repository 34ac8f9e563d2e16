"""Planted bugs of the machine, and of the backups that carry out its list."""

from engine import reference
from engine.book import Ladder
from engine.market import Market
from engine.replica import Replica
from tools.simulation.planted import Patch, PlantedBug

_SETTING_MADE_ON_ADMISSION = (
    Patch(
        Market,
        "_admits_log_in",
        "    client = self.clients.get(command.client) or Client()\n",
        "    client = self.clients.setdefault(command.client, Client())\n"
        "    client.self_trade_prevention = command.self_trade_prevention\n",
    ),
    Patch(
        Market,
        "_log_in",
        "    client.self_trade_prevention = command.self_trade_prevention\n",
        "",
    ),
)

MACHINE = (
    PlantedBug(
        "the dedupe state not replicated",
        "The machine remembers a user_ref_num where it admits a command, which only the primary's"
        " does: after a takeover a command that is sent again is carried out twice.",
        (
            Patch(
                Market,
                "admits",
                "return client is not None and _is_new(client, command.user_ref_num)",
                "if client is None or not _is_new(client, command.user_ref_num):\n"
                "                return False\n"
                "            client.last_user_ref_num = command.user_ref_num\n"
                "            return True",
            ),
            Patch(Market, "_enter", "    client.last_user_ref_num = command.user_ref_num\n", ""),
            Patch(Market, "_replace", "    client.last_user_ref_num = command.user_ref_num\n", ""),
        ),
    ),
    PlantedBug(
        "an old log-in's order let through",
        "The machine admits orders under a log-in that has been replaced: what an old gateway still"
        " had under way takes effect behind the client's back.",
        (
            Patch(
                Market,
                "_client_under",
                "return client if client is not None and login == client.login and login != 0"
                " else None",
                "return client",
            ),
        ),
    ),
    PlantedBug(
        "a set iterated",
        "The machine cancels a client's orders in the order in which a set has them: each replica"
        " computes another list.",
        (
            Patch(
                Market,
                "_orders_to_cancel",
                "return sorted(orders, key=lambda order: order.number)",
                "return list(set(orders))",
            ),
        ),
    ),
    PlantedBug(
        "a setting not replicated",
        "The machine takes a client's self-trade prevention over where it admits the log-in, which"
        " only the primary's does: backups match otherwise.",
        _SETTING_MADE_ON_ADMISSION,
    ),
    PlantedBug(
        "divergence not compared",
        "A backup does not compare its frames with the list's: one whose machine has another state"
        " goes on, and may lead.",
        (
            *_SETTING_MADE_ON_ADMISSION,
            Patch(reference, "_compare", "if their.data != our.data:", "if not our.data:"),
            Patch(
                reference,
                "_compare",
                "if whole and len(ours) != len(theirs):",
                "if whole and not ours:",
            ),
        ),
    ),
    PlantedBug(
        "a lost tail stays carried out",
        "A backup whose tail has lost keeps the machine that has carried it out: its state is not"
        " that of the list.",
        (Patch(Replica, "_apply", "        self._backup.drop(dropped)\n", ""),),
    ),
    PlantedBug(
        "the own reign carried out twice",
        "A primary that steps down forgets how far its machine is, which carries out again what it"
        " has written itself.",
        (
            Patch(
                Replica,
                "_give_way",
                "        self._backup.led(self.primary.last_sequence)\n",
                "",
            ),
        ),
    ),
    PlantedBug(
        "equal prices do not trade",
        "An order whose limit is just the best price of the other side does not trade: the book is"
        " locked.",
        (
            Patch(
                Ladder,
                "best_within",
                "(limit - best.price) * self._sign < 0",
                "(limit - best.price) * self._sign <= 0",
            ),
        ),
    ),
    PlantedBug(
        "a replace forgets what was executed",
        "The new terms of an order that was executed in part leave all of the new quantity open:"
        " more is traded than was asked for.",
        (
            Patch(
                Market,
                "_replace",
                "leaves = command.quantity - order.executed",
                "leaves = command.quantity",
            ),
        ),
    ),
)
