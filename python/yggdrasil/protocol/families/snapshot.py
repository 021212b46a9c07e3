"""Snapshots: SNAPSHOT, and what Redis calls saving."""

import json
from typing import Any

from yggdrasil._core import ReplyError, YggdrasilError
from yggdrasil.protocol.command import command, container
from yggdrasil.protocol.node import CommandContext
from yggdrasil.protocol.reply import OK, Reply, integer, raw, syntax_error

_FLAGS = ("admin", "noscript", "no_async_loading", "no_multi")

snapshot = container(
    "snapshot", group="server", summary="Commands about snapshots of all shards.", since="0.1.0", help_since="0.1.0"
)


async def _asked(ctx: CommandContext, action: str, **values: str) -> Any:
    try:
        return json.loads(await ctx.services.snapshot(action, **values))
    except YggdrasilError as error:
        raise ReplyError(str(error)) from error


@command(
    "save",
    arity=1,
    flags=_FLAGS,
    group="server",
    summary="Takes a snapshot and waits until it is complete. Other clients are served meanwhile.",
    since="1.0.0",
    complexity="O(N) for N keys.",
)
async def save(ctx: CommandContext, args: list[bytes]) -> Reply:
    """When everything is on disk."""
    await _asked(ctx, "take")
    return OK


@command(
    "bgsave",
    arity=-1,
    flags=("admin", "noscript", "no_async_loading"),
    group="server",
    summary="Begins to take a snapshot.",
    since="1.0.0",
    syntax="[SCHEDULE]",
)
async def bgsave(ctx: CommandContext, args: list[bytes]) -> Reply:
    """SCHEDULE is for what nothing has to wait for here."""
    if len(args) > 1 or (args and args[0].upper() != b"SCHEDULE"):
        raise syntax_error()
    await _asked(ctx, "begin")
    return "Background saving started"


@command(
    "bgrewriteaof",
    arity=1,
    flags=("admin", "noscript", "no_async_loading"),
    group="server",
    summary="Begins to take a snapshot, which makes the log shorter.",
    since="1.0.0",
)
async def bgrewriteaof(ctx: CommandContext, args: list[bytes]) -> Reply:
    """A snapshot stands for all of the log that is older."""
    await _asked(ctx, "begin")
    return "Background append only file rewriting started"


@command(
    "lastsave",
    arity=1,
    flags=("loading", "stale", "fast", "admin_category"),
    group="server",
    summary="Tells when the last snapshot was complete; before the first one, when the node was started.",
    since="1.0.0",
    tips=("nondeterministic_output",),
)
async def lastsave(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Unix seconds."""
    ended_ms = (await ctx.services.state()).snapshots.ended_ms
    return (ended_ms or ctx.services.node.started_at_ms) // 1000


@command(
    "snapshot|create",
    arity=-2,
    flags=_FLAGS,
    group="server",
    summary="Takes a snapshot, and tells what is in it. FULL writes all keys, not only what has changed.",
    since="0.1.0",
    complexity="O(N) for N keys.",
    syntax="[FULL]",
)
async def snapshot_create(ctx: CommandContext, args: list[bytes]) -> Reply:
    """When it is complete."""
    is_full = [argument.upper() for argument in args] == [b"FULL"]
    if args and not is_full:
        raise syntax_error()
    return _row(await _asked(ctx, "take", full="yes" if is_full else "no"))


@command(
    "snapshot|list",
    arity=2,
    flags=("admin", "noscript", "loading", "stale"),
    group="server",
    summary="Lists the snapshots, the oldest first.",
    since="0.1.0",
    complexity="O(N) for N snapshots.",
)
async def snapshot_list(ctx: CommandContext, args: list[bytes]) -> Reply:
    """What cannot be read has a fault."""
    return [_row(row) for row in await _asked(ctx, "list")]


@command(
    "snapshot|check",
    arity=2,
    flags=("admin", "noscript", "loading", "stale"),
    group="server",
    summary="Reads all snapshots and tells which are whole and which are damaged.",
    since="0.1.0",
    complexity="O(N) for N bytes.",
)
async def snapshot_check(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Snapshots, and what is wrong with each object."""
    verdict = await _asked(ctx, "check")
    damage: list[Reply] = [
        {
            b"object": raw(row["object"]),
            b"fault": raw(row["fault"]),
            b"snapshots": [raw(name) for name in row["snapshots"]],
            b"records": row["records"],
        }
        for row in verdict["damage"]
    ]
    ids: dict[bytes, Reply] = {part: [raw(name) for name in verdict[part.decode()]] for part in (b"whole", b"damaged")}
    return {**ids, b"damage": damage}


@command(
    "snapshot|prune",
    arity=-2,
    flags=("admin", "noscript", "loading", "stale"),
    group="server",
    summary="Removes all but the newest snapshots, by default as many as snapshot-keep says, and tells their number.",
    since="0.1.0",
    complexity="O(N) for N chunks.",
    syntax="[keep]",
)
async def snapshot_prune(ctx: CommandContext, args: list[bytes]) -> Reply:
    """How many were removed."""
    if len(args) > 1:
        raise syntax_error()
    keep = str(integer(args[0])) if args else ""
    if keep and int(keep) < 1:
        raise ReplyError("ERR the newest snapshot is always kept: at least 1")
    return len((await _asked(ctx, "prune", keep=keep))["snapshots"])


def _row(row: dict[str, Any]) -> Reply:
    if "fault" in row:
        return {b"id": raw(row["id"]), b"fault": raw(row["fault"])}
    return {
        b"id": raw(row["id"]),
        b"time": row["ended_ms"] // 1000,
        b"keys": row["keys"],
        b"bytes": row["bytes"],
        b"new-bytes": row["new_bytes"],
        b"base": row["base"] and raw(row["base"]),
        b"shards": len(row["shards"]),
    }
