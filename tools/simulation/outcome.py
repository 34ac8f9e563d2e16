"""What became of one seed."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Outcome:
    """What became of one seed."""

    seed: int
    failure: str | None = None  # what failed, in one line, and then where
    trace: list[str] = field(default_factory=list)  # the last events, when it failed
    virtual_ns: int = 0
    steps: int = 0
    commands: int = 0  # committed ones of clients
    takeovers: int = 0
    faults: Counter[str] = field(default_factory=Counter)  # how often each kind struck
    is_stopped: bool = False  # it ended early, since too few holders remembered what they had said
    digest: str = ""  # of the committed list: the same seed has the same one
