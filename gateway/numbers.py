"""Which user_ref_nums each client has used, and in which shard: so a command finds its order.

Every number that the lists show as used is remembered, four bytes each, for as long as the process
lives. A gateway that began with a day's snapshot knows of the numbers before it only those of live
orders, and how far they went in each shard.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable

from gateway.days import DayState


class _Client:
    """The numbers of one client."""

    __slots__ = ("before", "last", "placed", "sent", "used")

    def __init__(self) -> None:
        self.last = 0  # in any shard
        self.used: dict[int, array[int]] = {}  # by shard, ascending
        self.before: dict[int, int] = {}  # by shard: the last one before what is known here
        self.placed: dict[int, int] = {}  # live orders that `used` does not have in their shard
        self.sent: dict[int, int] = {}  # by number, the shard: on their way, and not seen yet


class Numbers:
    """The numbers of all clients."""

    def __init__(self) -> None:
        self._clients: dict[int, _Client] = {}

    def last(self, client: int) -> int:
        """The largest number that a client has used, as far as the lists are known; 0 for none."""
        known = self._clients.get(client)
        return 0 if known is None else known.last

    def last_in(self, client: int, shard: int) -> int:
        """The largest one in a shard."""
        known = self._clients.get(client)
        if known is None:
            return 0
        used = known.used.get(shard)
        return used[-1] if used else known.before.get(shard, 0)

    def all_last_in(self, shard: int) -> dict[int, int]:
        """The largest one of each client in a shard, for those that have used any there."""
        lasts = {client: self.last_in(client, shard) for client in self._clients}
        return {client: last for client, last in lasts.items() if last}

    def is_used(self, client: int, number: int) -> bool:
        """Whether a number is known to be used, in whatever shard."""
        known = self._clients.get(client)
        return known is not None and any(_has(used, number) for used in known.used.values())

    def is_sent(self, client: int, number: int) -> bool:
        """Whether a number is on its way."""
        known = self._clients.get(client)
        return known is not None and number in known.sent

    def is_used_in(self, client: int, number: int, shard: int) -> bool:
        """Whether a number is known to be used in this shard."""
        known = self._clients.get(client)
        return known is not None and _has(known.used.get(shard), number)

    def may_be_used_in(self, client: int, number: int, shard: int) -> bool:
        """Whether a number may have been used there before what is known here."""
        known = self._clients.get(client)
        return known is not None and number <= known.before.get(shard, 0)

    def shard_of(self, client: int, number: int) -> int | None:
        """Where the order of this number is, if it is live; None when nobody here knows."""
        known = self._clients.get(client)
        if known is None:
            return None
        shard = known.placed.get(number) or known.sent.get(number)
        if shard is not None:
            return shard
        return next((each for each, used in known.used.items() if _has(used, number)), None)

    def use(self, client: int, shard: int, numbers: "array[int]") -> None:
        """The list of a shard shows that a client has used these, in their order."""
        known = self._of(client)
        used = known.used.get(shard)
        if used is None:
            used = known.used[shard] = array("I")
        used.extend(numbers)
        known.last = max(known.last, numbers[-1])
        if known.sent:
            for number in numbers:
                known.sent.pop(number, None)

    def send(self, client: int, number: int, shard: int) -> None:
        """A command of this number is on its way to a shard."""
        self._of(client).sent[number] = shard

    def forget_sent(self, client: int) -> None:
        """What a client has sent is void, as far as it has not been seen."""
        known = self._clients.get(client)
        if known is not None:
            known.sent.clear()

    def adopt(self, client: int, number: int, shard: int) -> None:
        """A live order has come to this shard from another."""
        known = self._of(client)
        known.placed[number] = shard
        known.last = max(known.last, number)

    def restore(self, shard: int, state: DayState) -> None:
        """What is known of a shard begins with this."""
        for client, last in state.last_user_ref_nums.items():
            known = self._of(client)
            known.before[shard] = last
            known.last = max(known.last, last)
        for client, numbers in state.live_orders.items():
            self._place(client, numbers, shard)

    def check(self) -> None:
        """Raises AssertionError when the numbers of a shard do not ascend."""
        for known in self._clients.values():
            for used in known.used.values():
                assert list(used) == sorted(set(used))
                assert used[-1] <= known.last

    def _place(self, client: int, numbers: Iterable[int], shard: int) -> None:
        placed = self._of(client).placed
        for number in numbers:
            placed[number] = shard

    def _of(self, client: int) -> _Client:
        known = self._clients.get(client)
        if known is None:
            known = self._clients[client] = _Client()
        return known


def _has(numbers: "array[int] | None", number: int) -> bool:
    if not numbers:
        return False
    at = bisect_left(numbers, number)
    return at < len(numbers) and numbers[at] == number
