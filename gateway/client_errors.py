"""How the client library says that it can't go on."""

from gateway.soup import LoginRejectReason


class ClientError(Exception):
    """The base of what the client library raises; the text is for the user."""


class LoginRejected(ClientError):
    """The exchange refused the log-in; `reason` is its code, the text what it said."""

    def __init__(self, reason: LoginRejectReason, detail: str) -> None:
        super().__init__(f"log-in refused: {detail or reason.text}")
        self.reason = reason


class ConnectionLost(ClientError):
    """No gateway could be reached for as long as the policy allows; the text has the last cause."""


class SessionEnded(ClientError):
    """The exchange ended this session for good: there is nothing to resume."""


class ProtocolError(ClientError):
    """The exchange's stream holds what this client can't read, and would hold it again."""


class Overrun(ClientError):
    """Commands or events pile up beyond a bound; the text says what helps."""


class UserRefNumsSpent(ClientError):
    """The client has used every user_ref_num there is; it can only cancel orders by now."""


class LinkFault(Exception):
    """A connection can't be used any further; another one may do. Never leaves the library."""


class LogInPutOff(LinkFault):
    """A gateway answered that the log-in can't be had just now."""
