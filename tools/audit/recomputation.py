"""Is every group what the machine computes? The list's commands, carried out once more.

Sans-I/O. A machine never believes the list: it is given the commands alone, as a gateway submits
them, so that it also says which of them may stand in the list at all. When a group differs it goes
on from its own, so that a difference in the events is told once, where it is.
"""

import struct
from collections.abc import Iterable, Sequence

from engine.machine import Machine
from feed import schema
from feed.codec import FRAME_HEADER_BYTES, Frame
from feed.messages import ClientState, LogIn
from feed.run import Run
from feed.schema import FrameType
from tools.audit.findings import Findings, Kind, describe

_HEADER = struct.Struct(">" + schema.struct_format(schema.SUBMISSION_HEADER))
_CLIENT = struct.Struct(">I")  # the first field of what a client sends
_OF_CLIENTS = frozenset(
    {
        FrameType.LOG_IN,
        FrameType.ENTER_ORDER,
        FrameType.REPLACE_ORDER,
        FrameType.CANCEL_ORDER,
        FrameType.MASS_CANCEL,
    }
)


class Recomputation:
    """A machine that carries out a list's commands, and what it has to say to the list's events."""

    def __init__(self, machine: Machine, findings: Findings) -> None:
        """From sequence number 1 on with an empty machine; `begin` takes another beginning."""
        self.machine = machine
        self.last_sequence = 0  # of the last group that was carried out
        self._findings = findings
        self._logins: dict[int, int] = {}  # the one that each client is under
        self._has_failed = False

    @property
    def is_able(self) -> bool:
        """Whether the machine could carry out all commands so far."""
        return not self._has_failed

    def begin(self, sequence: int, state: Iterable[Run]) -> None:
        """Begin with the clients in a snapshot of frame `sequence`, which the machine is of."""
        self.last_sequence = sequence
        for run in state:
            if run.has(FrameType.CLIENT_STATE):
                for frame in run:
                    message = frame.message()
                    if isinstance(message, ClientState):
                        self._logins[message.client] = message.login

    def take(self, group: Sequence[Frame], *, is_whole: bool = True) -> None:
        """The next group of the list, or the beginning of its last one."""
        if self._has_failed:
            return
        command = group[0]
        try:
            ours, not_admitted = self.machine.submit(
                self._submission(command), command.sequence, command.time_ns
            )
        except Exception as error:  # whatever it is, the machine can't follow the list
            self._has_failed = True
            self._findings.add(
                Kind.COMPUTED,
                command.sequence,
                "the machine can't carry out this command; nothing after it was computed",
                found=describe(command),
                expected=repr(error),
            )
            return
        self._findings.checked["computed groups"] += 1
        self.last_sequence = group[-1].sequence
        if not_admitted:
            self._findings.add(
                Kind.ADMISSION,
                command.sequence,
                "the machine does not let this command into the list: a repeat, or of nobody who "
                "is logged in, or without effect",
                found=describe(command),
            )
            return
        if command.type is FrameType.LOG_IN and len(ours) == 1:
            self._log_in(command)
        data = b"".join([frame.data for frame in group])
        if data != (ours.data if is_whole else ours.data[: len(data)]):
            self._compare(group, list(ours), is_whole=is_whole)

    def _submission(self, command: Frame) -> bytes:
        """A command of the list as a gateway submits it, under the client's last log-in."""
        login = 0
        if command.type in _OF_CLIENTS:
            (client,) = _CLIENT.unpack_from(command.data, FRAME_HEADER_BYTES)
            login = self._logins.get(client, 0)
        body = command.data[FRAME_HEADER_BYTES:]
        return _HEADER.pack(_HEADER.size + len(body), command.type, login) + body

    def _log_in(self, command: Frame) -> None:
        message = command.message()
        assert isinstance(message, LogIn)
        self._logins[message.client] = message.login

    def _compare(self, theirs: Sequence[Frame], ours: Sequence[Frame], *, is_whole: bool) -> None:
        """Tell the first frame of a group that differs."""
        for their, our in zip(theirs, ours, strict=False):
            if their.data != our.data:
                self._differ(their.sequence, "another frame", their, our)
                return
        if len(theirs) > len(ours):
            self._differ(theirs[len(ours)].sequence, "no such frame", theirs[len(ours)], None)
        elif is_whole:
            missing = ours[len(theirs)]
            self._differ(missing.sequence, "one more frame in the group", None, missing)

    def _differ(self, sequence: int, text: str, their: Frame | None, our: Frame | None) -> None:
        found, expected = (_describe(frame) for frame in (their, our))
        if their is not None and our is not None and found == expected:
            found = f"{found} {their.data.hex()}"
            expected = f"{expected} {our.data.hex()}"
        text = f"the {self.machine.kind} computes {text}"
        self._findings.add(Kind.COMPUTED, sequence, text, found=found, expected=expected)


def _describe(frame: Frame | None) -> str:
    return "the group is over" if frame is None else describe(frame)
