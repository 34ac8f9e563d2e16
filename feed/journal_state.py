"""What a journal knows beside its frames: whose it is, what was promised, how it was left."""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from feed.checksum import crc32c
from feed.reign import Reign
from feed.segments import Base
from feed.settings import SyncPolicy

STATE_NAME = "state.json"
STATE_FORMAT = 1


class Vow(NamedTuple):
    """The highest epoch that was promised, and to whom."""

    epoch: int
    candidate: bytes  # a holder's name as in datagrams; b"" to nobody yet


NO_VOW = Vow(0, b"")


@dataclass(frozen=True, slots=True)
class JournalState:
    """The content of `state.json`; all of it is replaced whenever any of it changes."""

    exchange: str
    shard: int
    holder: str
    boot: str  # the boot of the machine in which it was written
    sync: SyncPolicy  # that frames were stored under since then
    vow: Vow = NO_VOW
    is_doubtful: bool = True
    # Nobody has vouched for it since it began, and nothing is known to be lost.
    is_new: bool = True
    token: str = ""  # names this memory: another one of the same holder has another
    committed_sequence: int = 0
    # So many frames were stored, and known to be committed: where they are gone, something is lost.
    kept_sequence: int = 0
    digest_block: tuple[int, bytes] | None = None
    closed_sequence: int | None = None  # the last frame, when it was closed; None while it is open
    first_sequence: int = 1  # what ends before it was to be removed
    rebase: Base | None = None  # all frames were to go, and the list to begin here


def encode_state(state: JournalState) -> bytes:
    """The bytes of `state.json`."""
    fields: dict[str, Any] = {
        "format": STATE_FORMAT,
        "exchange": state.exchange,
        "shard": state.shard,
        "holder": state.holder,
        "boot": state.boot,
        "sync": state.sync.value,
        "vow": {"epoch": state.vow.epoch, "candidate": state.vow.candidate.decode("latin-1")},
        "is_doubtful": state.is_doubtful,
        "is_new": state.is_new,
        "token": state.token,
        "committed_sequence": state.committed_sequence,
        "kept_sequence": state.kept_sequence,
        "digest_block": state.digest_block and _block_fields(*state.digest_block),
        "closed_sequence": state.closed_sequence,
        "first_sequence": state.first_sequence,
        "rebase": state.rebase and _base_fields(state.rebase),
    }
    fields["checksum"] = crc32c(_canonical(fields))
    return json.dumps(fields, indent=2).encode() + b"\n"


def decode_state(data: bytes) -> JournalState:
    """The state that these bytes are; raises ValueError, which says why they are none."""
    fields = state_fields(data)
    block, base = fields["digest_block"], fields["rebase"]
    try:
        return JournalState(
            fields["exchange"],
            fields["shard"],
            fields["holder"],
            fields["boot"],
            SyncPolicy(fields["sync"]),
            Vow(fields["vow"]["epoch"], fields["vow"]["candidate"].encode("latin-1")),
            fields["is_doubtful"],
            fields["is_new"],
            fields["token"],
            fields["committed_sequence"],
            fields["kept_sequence"],
            block and (block["sequence"], bytes.fromhex(block["digest"])),
            fields["closed_sequence"],
            fields["first_sequence"],
            base and _base(base),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"it lacks {error}") from error


def state_fields(data: bytes) -> dict[str, Any]:
    """The same as plain values, for those who only look."""
    try:
        fields = json.loads(data)
    except ValueError as error:
        raise ValueError("it is not JSON") from error
    if not isinstance(fields, dict) or fields.get("format") != STATE_FORMAT:
        raise ValueError(f"it is not of format {STATE_FORMAT}")
    checksum = fields.pop("checksum", None)
    if checksum != crc32c(_canonical(fields)):
        raise ValueError("its checksum does not match")
    return fields


def _canonical(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def _block_fields(sequence: int, digest: bytes) -> dict[str, Any]:
    return {"sequence": sequence, "digest": digest.hex()}


def _base_fields(base: Base) -> dict[str, Any]:
    return {
        "next_sequence": base.next_sequence,
        "reign": base.reign and list(base.reign),
        "digest_block": _block_fields(base.digest_sequence, base.digest),
        "day": base.day,
    }


def _base(fields: dict[str, Any]) -> Base:
    reign, block = fields["reign"], fields["digest_block"]
    return Base(
        fields["next_sequence"],
        reign and Reign(*reign),
        block["sequence"],
        bytes.fromhex(block["digest"]),
        fields["day"],
    )
