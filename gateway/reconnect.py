"""Where and when a client tries to connect: round after round over its addresses, with back-off."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from feed.settings import Address
from gateway.client_policy import ClientPolicy


class Attempt(NamedTuple):
    """Connect to this address after this wait."""

    address: Address
    wait_ns: int


class Reconnect:
    """Decides on the next attempt; `now_ns` is monotonic.

    A round tries each address once, without waits. Between rounds it waits, twice as long each
    time. An outage is over when a session has lasted for a while, not when it begins: else a
    session that ends at once, every time, would be tried again without a pause.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        policy: ClientPolicy,
        randomness: random.Random,
    ) -> None:
        if not addresses:
            raise ValueError("a client needs the address of a gateway at least")
        self._addresses = tuple(addresses)
        self._policy = policy
        self._random = randomness
        self._outage_since_ns = 0
        self._attempts = 0  # in this outage
        self._next = 0  # address
        self._logged_in_at_ns: int | None = None
        self._has_been_answered = False  # so there is a gateway among the addresses

    def begin(self, now_ns: int) -> None:
        """The first outage begins: nothing is connected yet."""
        self._outage_since_ns = now_ns

    def attempt(self, now_ns: int) -> Attempt | None:
        """The next attempt; None when the outage has lasted for too long."""
        policy = self._policy
        is_known = self._has_been_answered
        patience_ns = policy.give_up_after_ns if is_known else policy.give_up_first_ns
        wait_ns = self._wait_ns()
        if now_ns + wait_ns - self._outage_since_ns > patience_ns:
            return None
        address = self._addresses[self._next]
        self._next = (self._next + 1) % len(self._addresses)
        self._attempts += 1
        return Attempt(address, wait_ns)

    def logged_in(self, now_ns: int) -> None:
        """The last attempt came to a session."""
        self._has_been_answered = True
        self._logged_in_at_ns = now_ns

    def put_off(self) -> None:
        """The last attempt came to a gateway that can't let anybody in just now."""
        self._has_been_answered = True

    def lost(self, now_ns: int) -> None:
        """The connection of the last attempt is over."""
        since_ns, self._logged_in_at_ns = self._logged_in_at_ns, None
        if since_ns is not None and now_ns - since_ns >= self._policy.stable_after_ns:
            self._outage_since_ns = now_ns
            self._attempts = 0

    def _wait_ns(self) -> int:
        rounds, place = divmod(self._attempts, len(self._addresses))
        if rounds == 0 or place != 0:
            return 0
        policy = self._policy
        doubled_ns = policy.first_wait_ns << min(rounds - 1, 32)
        longest_ns = min(doubled_ns, policy.longest_wait_ns)
        return longest_ns - self._random.randrange(longest_ns // 2 + 1)
