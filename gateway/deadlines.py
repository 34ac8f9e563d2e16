"""When each session is to be looked at, so that nobody has to look at all of them all the time.

Time is cut into grains, and each session stands in the bucket of one. A deadline that moves away
costs nothing: the session is looked at when its old one comes, and put where the new one is.
"""

from gateway.session import Session


class Deadlines:
    """Every session of a gateway that is not closed, by the time when to look at it."""

    def __init__(self, grain_ns: int) -> None:
        self._grain_ns = grain_ns
        self._buckets: dict[int, dict[Session, None]] = {}  # by grain; none is empty
        self._grain_of: dict[Session, int] = {}

    @property
    def next_ns(self) -> int | None:
        """When there is something due for sure; None without any session."""
        return (min(self._buckets) + 1) * self._grain_ns if self._buckets else None

    def put(self, session: Session, at_ns: int) -> None:
        """Have a session looked at then, and not at any other time."""
        grain = at_ns // self._grain_ns
        if self._grain_of.get(session) != grain:
            self.remove(session)
            self._grain_of[session] = grain
            self._buckets.setdefault(grain, {})[session] = None

    def remove(self, session: Session) -> None:
        """Forget a session; one that is not known may be forgotten, too."""
        grain = self._grain_of.pop(session, None)
        if grain is not None:
            bucket = self._buckets[grain]
            del bucket[session]
            if not bucket:
                del self._buckets[grain]

    def due(self, now_ns: int) -> list[Session]:
        """The sessions whose time has come, or comes within this grain; put them elsewhere."""
        now = now_ns // self._grain_ns
        grains = sorted(grain for grain in self._buckets if grain <= now)
        return [session for grain in grains for session in self._buckets[grain]]

    def check(self, sessions: dict[Session, None], at_latest_ns: int) -> None:
        """Raises AssertionError unless each of these sessions, and no other, is looked at in time.

        One whose deadline has passed is looked at until `at_latest_ns`.
        """
        assert self._grain_of.keys() == sessions.keys()
        assert all(self._buckets.values())
        assert sum(map(len, self._buckets.values())) == len(self._grain_of)
        for session, grain in self._grain_of.items():
            assert session in self._buckets[grain]
            assert grain * self._grain_ns <= max(session.deadline_ns, at_latest_ns)
