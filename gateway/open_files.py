"""Has the process allowed as many open files as its connections need: each of them is one."""

import resource

import structlog

log = structlog.get_logger()

# What a gateway has open beside its clients' connections: the listening socket, the directory's
# ZooKeeper, the event loop's own, standard streams, the clients file while it is read.
OTHER_FILES = 14
# And for each shard: the feed, the primary, ZooKeeper, a replay and what it keeps of a snapshot.
SHARD_FILES = 10


def allow_connections(connections: int, shards: int) -> bool:
    """Raises the process's limit of open files to what so many connections and shards need.

    False when the operating system forbids it: then fewer clients can be connected, and the log
    says so.
    """
    needed = connections + OTHER_FILES + shards * SHARD_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return True
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed == needed:
        return True
    log.error(
        "too few open files are allowed for `connections`; raise the hard limit (ulimit -Hn, or"
        " LimitNOFILE= in a systemd unit), or lower the setting",
        connections=connections,
        needed=needed,
        hard_limit=hard,
    )
    return False
