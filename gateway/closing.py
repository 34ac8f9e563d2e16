"""Why a gateway ends a connection: one reason for each way, with a text for the client."""

from enum import Enum

from gateway.soup import LoginRejectReason

# What is told in words about the session that there is now; clients read its name from there.
_SESSION_NOW = "the session is now "

_NOT_AUTHORISED = LoginRejectReason.NOT_AUTHORISED
_NO_SESSION = LoginRejectReason.NO_SUCH_SESSION


class ClosingReason(Enum):
    """The end of a connection.

    `text` tells a person what happened and what to do; `login_reject` is what SoupBinTCP says to
    the client's program while it waits for its log-in, and None where the log-in had been answered
    or was never asked for.
    """

    text: str
    login_reject: LoginRejectReason | None

    def __new__(
        cls, value: str, text: str, login_reject: LoginRejectReason | None = None
    ) -> "ClosingReason":
        member = object.__new__(cls)
        member._value_ = value
        member.text = text
        member.login_reject = login_reject
        return member

    # The connection is not taken.
    TOO_MANY_CONNECTIONS = (
        "too_many_connections",
        "the gateway has as many connections as it can; try again, or another gateway",
    )
    TOO_MANY_STRANGERS = (
        "too_many_strangers",
        "too many connections here have not logged in; try again in a few seconds",
    )
    # The log-in is refused.
    LOG_IN_TIMEOUT = "log_in_timeout", "no log-in request came in time"
    NOT_AUTHORISED = (
        "not_authorised",
        "no such client, or not its secret",
        _NOT_AUTHORISED,
    )
    TOO_MANY_FAILURES = (
        "too_many_failures",
        "too many log-ins failed of late under this name or from this host; wait a minute",
        _NOT_AUTHORISED,
    )
    UNKNOWN_SESSION = (
        "unknown_session",
        "the exchange has no such session, or not any more; leave it blank for the current one",
        _NO_SESSION,
    )
    SEQUENCE_TOO_HIGH = (
        "sequence_too_high",
        "the client's stream does not have the requested number yet; ask for 0, the next one",
        _NO_SESSION,
    )
    SEQUENCE_DROPPED = (
        "sequence_dropped",
        "the client's stream is not kept as far back as the requested number; ask for a later one",
        _NO_SESSION,
    )
    CATCHING_UP = (
        "catching_up",
        "the gateway is still reading what happened before it started; try again, or another one",
        _NO_SESSION,
    )
    TOO_MUCH_WAITING = (
        "too_much_waiting",
        "the primary takes nothing from this gateway just now; try again, or another gateway",
        _NO_SESSION,
    )
    SECRET_NOT_CHECKED = (
        "secret_not_checked",
        "the gateway can't check secrets just now; try again, or another gateway",
        _NO_SESSION,
    )
    LOG_IN_UNANSWERED = (
        "log_in_unanswered",
        "the log-in was not committed in time; no primary may be within reach; try again",
        _NO_SESSION,
    )
    LOG_IN_OVERTAKEN = (
        "log_in_overtaken",
        "another log-in of the client took effect while this one was lost on its way; try again",
        _NO_SESSION,
    )
    LOG_IN_NOT_ADMITTED = (
        "log_in_not_admitted",
        "the primary did not admit the log-in; try again",
        _NO_SESSION,
    )
    # The session ends.
    LOGGED_OUT = "logged_out", "the client logged out"
    DISCONNECTED = "disconnected", "the client closed the connection"
    DEAD_LINK = "dead_link", "nothing was heard from the client for too long"
    BAD_PACKET = "bad_packet", "these bytes are not a SoupBinTCP packet"
    UNEXPECTED_PACKET = (
        "unexpected_packet",
        "a session begins with one log-in request, and has no other",
    )
    TOO_MUCH_UNREAD = (
        "too_much_unread",
        "more was sent than the gateway had asked to read",
    )
    TOO_MANY_ANSWERS = (
        "too_many_answers",
        "too many messages at once were queries, or refused; take the answers before sending more",
    )
    SUPERSEDED = (
        "superseded",
        "the client logged in again, here or on another gateway; one session at a time",
    )
    SLOW_CLIENT = (
        "slow_client",
        "the client takes its messages too slowly; log in again to resume from the next one",
    )
    DAY_IS_OVER = (
        "day_is_over",
        "the day of this session is over, and this was all of it; log in again for the new day",
    )
    GATEWAY_STOPS = "gateway_stops", "the gateway stops; log in at another one to resume"
    FEED_LOST = (
        "feed_lost",
        "the gateway lost the feed and can't go on; log in at another one to resume",
    )


def session_now(name: str) -> str:
    """What says which session there is now, for a person and for `next_session`."""
    return f"{_SESSION_NOW}{name}"


def next_session(text: str) -> str | None:
    """The session that comes next, where a session has ended with its day; else None.

    Empty where it has no name in the text: the current one, then.
    """
    before, _, name = text.removesuffix(")").partition(f" ({_SESSION_NOW}")
    return name if before == ClosingReason.DAY_IS_OVER.text else None
