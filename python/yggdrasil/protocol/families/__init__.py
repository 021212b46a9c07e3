"""The commands by family: a new one is a function with its row in one of these modules."""

from yggdrasil.protocol.families import (
    acl,
    capture,
    client,
    commands,
    config,
    debug,
    info,
    latency,
    memory,
    migrate,
    module,
    pubsub,
    replication,
    server,
    slowlog,
    tracking,
)

FAMILIES = (
    acl,
    capture,
    client,
    commands,
    config,
    debug,
    info,
    latency,
    memory,
    migrate,
    module,
    pubsub,
    replication,
    server,
    slowlog,
    tracking,
)
