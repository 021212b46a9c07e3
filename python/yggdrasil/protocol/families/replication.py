"""Replication: there is none yet, so a node is a leader without followers."""

from yggdrasil._core import ReplyError
from yggdrasil.protocol.command import command
from yggdrasil.protocol.node import CommandContext
from yggdrasil.protocol.reply import OK, Reply
from yggdrasil.protocol.unavailable import unavailable

_FLAGS = ("admin", "noscript", "stale", "no_async_loading")
_STREAM_FLAGS = ("admin", "noscript", "no_async_loading", "no_multi")
_NO_REPLICATION = "a node has no followers; MIGRATE, or DUMP and RESTORE, copy keys to another node"


@command(
    "role",
    arity=1,
    flags=("noscript", "loading", "stale", "fast", "admin_category"),
    group="server",
    summary="Tells the role in replication.",
    since="2.8.12",
)
async def role(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Always the leader, without followers."""
    return [b"master", 0, []]


async def _replicaof(args: list[bytes]) -> Reply:
    if [argument.upper() for argument in args] != [b"NO", b"ONE"]:
        raise ReplyError(
            "ERR a node cannot follow another one yet: only REPLICAOF NO ONE is accepted; MIGRATE copies keys to "
            "another node"
        )
    return OK


@command(
    "replicaof",
    arity=3,
    flags=_FLAGS,
    group="server",
    summary="Accepts NO ONE: this node follows nobody.",
    since="5.0.0",
    syntax="<host port | NO ONE>",
)
async def replicaof(ctx: CommandContext, args: list[bytes]) -> Reply:
    """There is no replication yet."""
    return await _replicaof(args)


@command(
    "slaveof",
    arity=3,
    flags=_FLAGS,
    group="server",
    summary="The old name of REPLICAOF.",
    since="1.0.0",
    syntax="<host port | NO ONE>",
)
async def slaveof(ctx: CommandContext, args: list[bytes]) -> Reply:
    """There is no replication yet."""
    return await _replicaof(args)


failover = unavailable(
    "failover",
    arity=-1,
    flags=("admin", "noscript", "stale"),
    group="server",
    since="6.2.0",
    instead="a node has no followers that could take over; a worker that dies is replaced by itself",
    syntax="[TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]",
)
psync = unavailable(
    "psync",
    arity=-3,
    flags=_STREAM_FLAGS,
    group="server",
    since="2.8.0",
    instead=_NO_REPLICATION,
    syntax="replicationid offset",
)
sync = unavailable("sync", arity=1, flags=_STREAM_FLAGS, group="server", since="1.0.0", instead=_NO_REPLICATION)
replconf = unavailable(
    "replconf",
    arity=-1,
    flags=("admin", "noscript", "loading", "stale", "allow_busy"),
    group="server",
    since="3.0.0",
    instead=_NO_REPLICATION,
)
