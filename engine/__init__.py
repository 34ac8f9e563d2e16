"""The state machine of a shard, and the replica that runs it."""
