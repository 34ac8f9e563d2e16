"""Asks all replicas of a shard at once how they are, and tells from it who leads."""

import asyncio
from collections.abc import Mapping
from typing import Any, TypeAlias

from engine.control import ControlError, ask
from tools.configuration import Configuration
from tools.console import CommandError

# A replica that is well answers within milliseconds, and a busy machine may take many of them. One
# that is stopped, or on a host that is gone, would let everybody wait for as long as TCP does.
ANSWER_WITHIN_S = 2.0

Status: TypeAlias = dict[str, Any]
Statuses: TypeAlias = Mapping[str, Status | ControlError]


async def ask_replica(
    configuration: Configuration, name: str, request: Mapping[str, Any]
) -> dict[str, Any]:
    """One replica's answer to a request on its control port, whatever its shard.

    Raises ControlError when there is none in time, or when it is an error.
    """
    address = configuration.all_replicas()[name].control
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return await ask(address, request)
    except TimeoutError as error:
        raise ControlError(
            f"no answer from {name} at {address} within {ANSWER_WITHIN_S:.0f} s"
        ) from error


def status_request(*, digests: bool) -> dict[str, Any]:
    """The request for a status. Digests cost a replica milliseconds, in which it does nothing else:
    ask for them when it has nothing else to do."""
    return {"request": "status", "digests": digests}


async def ask_replicas(configuration: Configuration, *, digests: bool = False) -> Statuses:
    """The status of every replica of a shard, or why there is none, by name.

    `configuration` is that of the shard alone. Raises UsageError where it has several.
    """
    request = status_request(digests=digests)

    async def one(name: str) -> Status | ControlError:
        try:
            return await ask_replica(configuration, name, request)
        except ControlError as error:
            return error

    names = list(configuration.of_shard().replicas)
    answers = await asyncio.gather(*map(one, names))
    return dict(zip(names, answers, strict=True))


def find_primary(statuses: Statuses) -> Status | None:
    """The status of the replica that leads; None when none does.

    One that was cut off may go on believing for a while that it leads, in an older epoch.
    """
    leading = [
        status
        for status in statuses.values()
        if not isinstance(status, ControlError) and status["state"] == "primary"
    ]
    return max(leading, key=lambda status: int(status["epoch"]), default=None)


async def primary_status(configuration: Configuration, *, digests: bool = False) -> Status:
    """The status of a shard's primary. Raises CommandError when there is none."""
    statuses = await ask_replicas(configuration, digests=digests)
    primary = find_primary(statuses)
    if primary is None:
        raise CommandError(describe(statuses))
    return primary


def all_follow(statuses: Statuses) -> Status | None:
    """The primary's status once its epoch is committed and every holder has all of the list.

    For an exchange at rest: under load there is always somebody who lacks the last frame.
    """
    primary = find_primary(statuses)
    if primary is None or not 0 < primary["sequence"] == primary["committed_sequence"]:
        return None
    held = (holder["sequence"] for name, holder in others_of(primary))
    return primary if all(sequence == primary["sequence"] for sequence in held) else None


def others_of(primary: Status) -> list[tuple[str, dict[str, Any]]]:
    """The holders but for the primary itself, as it knows them: by name, how far each is."""
    return [
        (name, holder) for name, holder in primary["holders"].items() if name != primary["name"]
    ]


def describe(statuses: Statuses) -> str:
    """Who leads, and how far each holder is, in a line for an error's text."""
    primary = find_primary(statuses)
    if primary is None:
        words = (
            f"{name}: {status if isinstance(status, ControlError) else status['state']}"
            for name, status in statuses.items()
        )
        return f"no replica is primary ({'; '.join(words)})"
    held = (f"{name} {holder['sequence']}" for name, holder in others_of(primary))
    return (
        f"{primary['name']} is primary in epoch {primary['epoch']}, at {primary['sequence']}, "
        f"committed up to {primary['committed_sequence']}; acknowledged: {', '.join(held)}"
    )
