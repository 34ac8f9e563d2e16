"""Every bound and wait of the client library, with its reason. Times are in nanoseconds."""

from dataclasses import dataclass

from gateway.soup import DEAD_LINK_NS, HEARTBEAT_INTERVAL_NS


@dataclass(frozen=True, slots=True)
class ClientPolicy:
    """How a client keeps its session alive, and what it may hold."""

    heartbeat_interval_ns: int = HEARTBEAT_INTERVAL_NS
    dead_link_ns: int = DEAD_LINK_NS
    # A gateway gives up on a log-in after 10 seconds and says why; this leaves it the time to.
    log_in_timeout_ns: int = 15_000_000_000
    # To open a TCP connection, and TLS on it: many round trips round the world.
    connect_timeout_ns: int = 5_000_000_000
    # Waits between rounds over all addresses, doubling: a gateway that restarts is found soon, and
    # a crowd of clients does not hammer on it. Each wait is shortened at random by up to a half.
    first_wait_ns: int = 50_000_000
    longest_wait_ns: int = 2_000_000_000
    # At first the likely fault is a wrong address, which the user should hear of soon; later it is
    # a failure that the exchange is built to repair.
    give_up_first_ns: int = 5_000_000_000
    give_up_after_ns: int = 60_000_000_000
    # A session that ends sooner has not mended anything: the waits go on growing. One that lasts
    # for longer has, though gateways may go on dying one after the other.
    stable_after_ns: int = 500_000_000
    # What a gateway refuses of what is sent again, as too much at once, is sent once more after
    # this: its limits count in seconds.
    put_off_ns: int = 1_000_000_000
    # Commands that wait for an answer; each is kept to be sent again. Beyond it, entering waits.
    unanswered_limit: int = 10_000
    # Events that the user has not read yet. Beyond it, the connection is not read either.
    unread_limit: int = 100_000
    # For the gateway to take the last bytes and to say goodbye.
    close_timeout_ns: int = 1_000_000_000

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
