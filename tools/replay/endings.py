"""What both kinds of replay share."""

from tools.console import CommandError, ExitStatus

NO_LIMIT = 1_000_000  # orders a second: the replay is held back by what comes back, not by a rate


class ReplayInterrupted(CommandError):
    """A signal ended the replay before its files did."""

    status = ExitStatus.INTERRUPTED
