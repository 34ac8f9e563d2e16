"""Whose secret is looked at next: so many at a time, in the order in which they came.

Sans-I/O: a check takes a core for a while, so a shell does them elsewhere.
"""

from collections import deque

from gateway.clients import ClientSettings
from gateway.gateway import Gateway, Verification
from gateway.session import Phase


class SecretChecks:
    """The checks that a gateway asks for."""

    def __init__(self, gateway: Gateway, parallel: int) -> None:
        self._gateway = gateway
        self._free = parallel
        # Bounded by the gateway, which asks for no more of them than there may be strangers.
        self._waiting: deque[Verification] = deque()

    def take(self, now_ns: int) -> list[Verification]:
        """Those to begin with now; answer each with `on_checked` or `on_failed`."""
        self._waiting += self._gateway.take_verifications()
        begun = []
        while self._waiting and self._free:
            verification = self._waiting.popleft()
            if verification.session.phase is Phase.CLOSED:  # nobody waits for it any more
                self._gateway.on_unverifiable(verification.session, now_ns)
            else:
                self._free -= 1
                begun.append(verification)
        return begun

    def on_checked(
        self, verification: Verification, client: ClientSettings | None, now_ns: int
    ) -> None:
        """The name and secret are those of this client, or (None) of nobody."""
        self._free += 1
        self._gateway.on_verified(verification.session, client, now_ns)

    def on_failed(self, verification: Verification, now_ns: int) -> None:
        """The secret could not be looked at."""
        self._free += 1
        self._gateway.on_unverifiable(verification.session, now_ns)
