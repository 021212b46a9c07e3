"""DEBUG: off unless the configuration allows it."""

import time
from collections.abc import Awaitable, Callable

from yggdrasil._core import ReplyError, Verbatim
from yggdrasil.protocol.command import command
from yggdrasil.protocol.families.memory import key_info
from yggdrasil.protocol.memory_use import memory_use
from yggdrasil.protocol.node import CommandContext
from yggdrasil.protocol.reply import OK, Reply, unknown_subcommand

_HELP = [
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "JMAP",
    "    Shows what the arena of each shard is used for.",
    "OBJECT <key>",
    "    Shows how a key is kept.",
    "PANIC",
    "    Crashes the worker of this connection.",
    "SLEEP <seconds>",
    "    Stops the worker of this connection for some time.",
    "HELP",
    "    Lists the subcommands.",
]


@command(
    "debug",
    arity=-2,
    flags=("admin", "noscript", "loading", "stale", "protected"),
    group="server",
    summary="Commands for the developers of the node.",
    since="1.0.0",
    complexity="Depends on the subcommand.",
    syntax="subcommand [argument [argument ...]]",
)
async def debug(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Where it is allowed: the engine has looked."""
    known = _SUBCOMMANDS.get((args[0].upper(), len(args)))
    if known is None:
        raise unknown_subcommand("debug", args[0])
    return await known(ctx, args[1:])


async def _sleep(_ctx: CommandContext, args: list[bytes]) -> Reply:
    try:
        seconds = float(args[0])
    except ValueError:
        seconds = 0.0
    # The worker itself stands still: that is what it is for.
    time.sleep(min(max(seconds, 0.0), 3600.0))  # noqa: ASYNC251
    return OK


async def _object(ctx: CommandContext, args: list[bytes]) -> Reply:
    found = await key_info(ctx, args[0])
    if found is None:
        raise ReplyError("ERR no such key")
    return (
        f"Value at:0x{found.version:012x} refcount:1 encoding:{found.encoding} serializedlength:{found.length} "
        f"lru:{found.access} lru_seconds_idle:{found.idle_s} bytes:{found.bytes}"
    )


async def _panic(ctx: CommandContext, _args: list[bytes]) -> Reply:
    ctx.worker.crash()


async def _map(ctx: CommandContext, _args: list[bytes]) -> Reply:
    return Verbatim((await memory_use(ctx)).table())


async def _help(_ctx: CommandContext, _args: list[bytes]) -> Reply:
    return _HELP


_SUBCOMMANDS: dict[tuple[bytes, int], Callable[[CommandContext, list[bytes]], Awaitable[Reply]]] = {
    (b"SLEEP", 2): _sleep,
    (b"OBJECT", 2): _object,
    (b"PANIC", 1): _panic,
    (b"JMAP", 1): _map,
    (b"HELP", 1): _help,
}
