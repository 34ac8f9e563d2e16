"""A client's orders in one call, in plain Python: what `gateway._orders_c` has to do alike.

Only what goes on to the primary is taken here. Everything else, down to the first byte that is
wrong, is left to `gateway.session`, packet by packet: so each refusal has one place.
"""

from typing import NamedTuple

from feed.datagrams import Submission, encode_submission
from gateway.limits import Rate
from gateway.ouch import AccountQuery
from gateway.soup import SoupError, UnsequencedData, client_packet_at
from gateway.translate import Refusal, to_command


class Taken(NamedTuple):
    """The commands at the beginning of what a client sent."""

    end: int  # where they end
    command_count: int
    submissions: bytes  # encoded, back to back


def take_orders(
    data: bytes, begin: int, room: int, client: int, login: int, rate: Rate, now_ns: int
) -> Taken:
    """Make submissions of the commands that stand at `begin` of what a client sent.

    Takes `room` of them at most, and stops before the first packet that is no command, or is to be
    refused, or not whole. Each one that is taken is counted in `rate`, and nothing else is.
    """
    taken: list[bytes] = []
    while len(taken) < room:
        try:
            found = client_packet_at(data, begin)
        except SoupError:
            break
        if found is None:
            break
        packet, end = found
        if not isinstance(packet, UnsequencedData):
            break
        command = to_command(packet.payload, client)
        if isinstance(command, Refusal | AccountQuery) or not rate.take(command, now_ns):
            break
        taken.append(encode_submission(Submission(login, command)))
        begin = end
    return Taken(begin, len(taken), b"".join(taken))
