"""When a replica stands for the next epoch: the rules, on what it has read in ZooKeeper.

Sans-I/O. A rule that errs costs a failover that was not needed, never safety: the transaction that
takes an epoch checks the version that was read, so that only one candidate gets it.
"""

from dataclasses import dataclass
from typing import NamedTuple


class PrimaryRecord(NamedTuple):
    """Who has been granted which epoch, and where it takes commands ("host:port")."""

    name: str
    epoch: int
    commands: str


@dataclass(frozen=True, slots=True)
class ShardView:
    """What a member has last read about its shard."""

    epoch: int  # the newest one granted; 0 before the first
    epoch_version: int | None  # of its node; None when it may have changed since
    primary: PrimaryRecord | None  # None when there is no such node
    holders: frozenset[str]  # those that are alive, by their nodes under `members`
    suspicions: frozenset[tuple[int, str]]  # (epoch, who suspects its primary)
    # ZooKeeper has forgotten everything a moment ago: that the primary's node is missing does not
    # mean that its session is over.
    primary_may_return: bool = False


def should_stand(view: ShardView, name: str) -> bool:
    """Whether `name` should try to take the next epoch.

    It should when nobody reigns: there is no primary's node, as its session is over or there never
    was one. And it should when a majority of the live holders other than the primary suspect it.
    """
    record = view.primary
    if view.epoch_version is None or (record is not None and record.epoch > view.epoch):
        return False  # what was read is out of date
    primary = record if record is not None and record.epoch == view.epoch else None
    if primary is None and not view.primary_may_return:
        return True
    if primary is not None and primary.name == name:
        return False
    return _is_suspected_by_majority(view, primary)


def _is_suspected_by_majority(view: ShardView, primary: PrimaryRecord | None) -> bool:
    others = view.holders - {primary.name} if primary is not None else view.holders
    suspecting = {who for epoch, who in view.suspicions if epoch == view.epoch}
    return 2 * len(suspecting & others) > len(others)
