"""When each line of a file of orders is due. Sans-I/O."""

from tools.replay.order_lines import OrderLine

_SECOND_NS = 1_000_000_000


class Pace:
    """Tells for each line in turn how long after the first one it is to be sent.

    With a `rate` (lines a second) the lines' times don't count; with neither a rate nor a `speed`
    (how many times as fast as the times say) they are sent as fast as is taken.
    """

    def __init__(self, *, speed: float | None = None, rate: int | None = None) -> None:
        self._speed = speed
        self._rate = rate
        self._first_ns: int | None = None
        self._due_ns = 0

    def due_ns(self, line: OrderLine) -> int | None:
        """When the next line is due, in nanoseconds; one without a time goes with the one before.

        None for as soon as it is taken. Lines come in their order.
        """
        if self._rate is not None:
            return line.ordinal * _SECOND_NS // self._rate
        if self._speed is None:
            return None
        moment = line.action.time
        if moment is not None:
            if self._first_ns is None:
                self._first_ns = moment.time_ns
            self._due_ns = int((moment.time_ns - self._first_ns) / self._speed)
        return self._due_ns
