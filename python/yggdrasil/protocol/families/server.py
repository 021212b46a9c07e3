"""WAIT, SHUTDOWN and others about the node as a whole."""

import asyncio
from typing import Literal

from yggdrasil._core import COMPATIBLE_VERSION, ReplyError, Verbatim, YggdrasilError
from yggdrasil.protocol.command import command
from yggdrasil.protocol.node import CommandContext
from yggdrasil.protocol.picture import picture
from yggdrasil.protocol.reply import Reply, integer, milliseconds, syntax_error
from yggdrasil.protocol.services import LOG_SYNC


@command(
    "lolwut",
    arity=-1,
    flags=("readonly", "fast"),
    group="server",
    summary="Draws a tree, and tells the version.",
    since="5.0.0",
    syntax="[VERSION version]",
)
async def lolwut(ctx: CommandContext, args: list[bytes]) -> Reply:
    """A new one every time."""
    if args and args[0].upper() == b"VERSION" and len(args) > 1:
        integer(args[1])
    return Verbatim(f"{picture()}\nYggdrasil {ctx.services.node.version}. Redis ver. {COMPATIBLE_VERSION}\n")


@command(
    "wait",
    arity=3,
    flags=("blocking", "connection"),
    group="generic",
    summary="Waits until followers have the writes of this connection. There are none: it waits for its time.",
    since="3.0.0",
    syntax="numreplicas timeout",
    tips=("request_policy:all_shards", "response_policy:agg_min"),
)
async def wait(ctx: CommandContext, args: list[bytes]) -> Reply:
    """How many have them."""
    wanted, timeout_ms = integer(args[0]), milliseconds(args[1])
    if wanted > 0 and not ctx.caller.in_transaction:
        await _until_unblocked(ctx, timeout_ms)
    return 0


@command(
    "waitaof",
    arity=4,
    flags=("blocking", "connection"),
    group="generic",
    summary="Waits until the writes of this connection are durable here. There are no followers to wait for.",
    since="7.2.0",
    syntax="numlocal numreplicas timeout",
    tips=("request_policy:all_shards", "response_policy:agg_min"),
)
async def waitaof(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Whether they are durable here, and with how many followers."""
    local, replicas, timeout_ms = integer(args[0]), integer(args[1]), milliseconds(args[2])
    if not 0 <= local <= 1:
        raise ReplyError("ERR value is out of range, must be between 0 and 1")
    if replicas < 0:
        raise ReplyError("ERR value is out of range, must be positive")
    has_log = bool(ctx.services.node.log_directory)
    if local and not has_log:
        raise ReplyError("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.")
    if ctx.caller.in_transaction or not has_log:
        if replicas and not ctx.caller.in_transaction:
            await _until_unblocked(ctx, timeout_ms)
        return [0, 0]
    synced = asyncio.ensure_future(_all_synced(ctx))
    waiting = asyncio.ensure_future(_until_unblocked(ctx, timeout_ms))
    await asyncio.wait([synced, waiting], return_when=asyncio.FIRST_COMPLETED)
    if synced.done() and not replicas:
        waiting.cancel()
        return [1, 0]
    await waiting
    return [int(synced.done()), 0]


async def _all_synced(ctx: CommandContext) -> None:
    """Until all shards have made durable what they have written."""
    await asyncio.gather(*(ctx.worker.call(shard, LOG_SYNC, b"") for shard in range(ctx.worker.shards)))


async def _until_unblocked(ctx: CommandContext, timeout_ms: int) -> None:
    """Until CLIENT UNBLOCK or the end of the time (0 for none); the end of the connection cancels it."""
    unblocked: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    ctx.here.waiting[ctx.client_id] = unblocked
    try:
        await asyncio.wait([unblocked], timeout=timeout_ms / 1000 if timeout_ms else None)
    finally:
        del ctx.here.waiting[ctx.client_id]
    if unblocked.done() and unblocked.result():
        raise ReplyError("UNBLOCKED client unblocked via CLIENT UNBLOCK")


@command(
    "shutdown",
    arity=-1,
    flags=("admin", "noscript", "loading", "stale", "no_multi", "allow_busy"),
    group="server",
    summary="Ends the node after the requests under way, or at once.",
    since="1.0.0",
    syntax="[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
)
async def shutdown(ctx: CommandContext, args: list[bytes]) -> Reply:
    """There is no reply: the connection ends."""
    words = [argument.upper() for argument in args]
    chosen = set(words)
    abort = b"ABORT" in chosen
    if chosen - {b"NOSAVE", b"SAVE", b"NOW", b"FORCE", b"ABORT"} or chosen >= {b"NOSAVE", b"SAVE"}:
        raise syntax_error()
    if abort and len(words) > 1:
        raise syntax_error()
    if abort:
        raise ReplyError("ERR No shutdown in progress.")
    if b"SAVE" in chosen:
        # What is changed meanwhile is in another one, at the end.
        try:
            await ctx.services.snapshot("take")
        except YggdrasilError as error:
            if b"FORCE" not in chosen:
                raise ReplyError("ERR Errors trying to SHUTDOWN. Check logs.") from error
    save: Literal["auto", "yes", "no"] = "yes" if b"SAVE" in chosen else "no" if b"NOSAVE" in chosen else "auto"
    await ctx.services.shutdown(now=b"NOW" in chosen, save=save)
    ctx.worker.kill_client(ctx.client_id, at_once=True)
    return None
