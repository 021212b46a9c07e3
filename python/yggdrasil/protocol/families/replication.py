"""Replication: there is none yet, so a node is a leader without followers. SYNC sends all keys to who wants no more."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from yggdrasil._core import ReplyError, YggdrasilError
from yggdrasil.protocol.command import command
from yggdrasil.protocol.node import CommandContext, Wishes
from yggdrasil.protocol.reply import OK, Reply, integer, syntax_error, text
from yggdrasil.protocol.services import EXPORT_PREFIX
from yggdrasil.protocol.unavailable import unavailable

_WISHES_MAX = 1000
_PIECE_BYTES = 256 << 10
_PAUSE_S = 0.002

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


@command(
    "replconf",
    arity=-1,
    flags=("admin", "noscript", "loading", "stale", "allow_busy"),
    group="server",
    summary="Tells what the client wants of SYNC: `rdb-only`, `rdb-filter-only`. Other options are accepted.",
    since="3.0.0",
    complexity="O(1)",
)
async def replconf(ctx: CommandContext, args: list[bytes]) -> Reply:
    """What a follower would say of itself is of no use here."""
    if len(args) % 2:
        raise syntax_error()
    wishes = ctx.here.wishes.pop(ctx.client_id, Wishes())
    for name, value in zip(args[::2], args[1::2], strict=True):
        match name.lower():
            case b"rdb-only":
                wishes = replace(wishes, is_alone=integer(value, "ERR value is not an integer or out of range") == 1)
            case b"rdb-filter-only":
                parts = value.lower().split()
                unknown = [part for part in parts if part != b"functions"]
                if unknown:
                    raise ReplyError(f"ERR Unsupported rdb-filter-only option: {text(unknown[0])}")
                wishes = replace(wishes, only_functions=bool(parts))
            case b"listening-port" | b"ip-address" | b"capa" | b"version" | b"rdb-channel" | b"main-ch-client-id":
                pass
            case _:
                raise ReplyError(f"ERR Unrecognized REPLCONF option: {text(name)}")
    while len(ctx.here.wishes) >= _WISHES_MAX:
        # Whoever said it longest ago has gone, or will ask for nothing.
        del ctx.here.wishes[next(iter(ctx.here.wishes))]
    ctx.here.wishes[ctx.client_id] = wishes
    return OK


@command(
    "sync",
    arity=1,
    flags=_STREAM_FLAGS,
    group="server",
    summary="Sends all keys as a file of Redis, and ends the connection: there are no followers.",
    since="1.0.0",
    complexity="O(N) for N keys.",
)
async def sync(ctx: CommandContext, args: list[bytes]) -> Reply:
    """For `redis-cli --rdb`."""
    await _send_file(ctx, b"")
    return None


@command(
    "psync",
    arity=-3,
    flags=_STREAM_FLAGS,
    group="server",
    summary="Sends all keys as a file of Redis after REPLCONF rdb-only 1, and ends the connection.",
    since="2.8.0",
    complexity="O(N) for N keys.",
    syntax="replicationid offset",
)
async def psync(ctx: CommandContext, args: list[bytes]) -> Reply:
    """A follower would wait for changes for ever: it is told before it takes the keys."""
    if not ctx.here.wishes.get(ctx.client_id, Wishes()).is_alone:
        raise ReplyError(f"ERR PSYNC is not available: {_NO_REPLICATION}")
    await _send_file(ctx, b"+FULLRESYNC %b 0\r\n" % ctx.services.node.replication_id.encode())
    return None


async def _send_file(ctx: CommandContext, head: bytes) -> None:
    wishes = ctx.here.wishes.pop(ctx.client_id, Wishes())
    file = Path(ctx.services.node.directory, f"{EXPORT_PREFIX}{ctx.client_id}")
    try:
        await ctx.services.snapshot("export", file=str(file), keys="no" if wishes.only_functions else "yes")
        opened, size = await asyncio.to_thread(_opened, file)
        with opened:
            await _send(ctx, head + b"$%d\r\n" % size)
            while piece := await asyncio.to_thread(opened.read, _PIECE_BYTES):
                await _send(ctx, piece)
        # Nothing may come behind it: whoever reads it takes no reply.
        await _sent(ctx, 0)
    except (OSError, YggdrasilError) as error:
        raise ReplyError(f"ERR {error}" if isinstance(error, OSError) else str(error)) from error
    finally:
        await asyncio.to_thread(file.unlink, missing_ok=True)
    ctx.worker.kill_client(ctx.client_id, at_once=True)


def _opened(file: Path) -> tuple[BinaryIO, int]:
    """A file, which is gone when it is closed, and its size."""
    opened = file.open("rb")
    file.unlink()
    return opened, os.fstat(opened.fileno()).st_size


async def _send(ctx: CommandContext, data: bytes) -> None:
    """Sends bytes as fast as they are read."""
    await _sent(ctx, _PIECE_BYTES)
    ctx.send_raw(data)


async def _sent(ctx: CommandContext, unsent_max: int) -> None:
    """Until no more than so many bytes wait to be sent."""
    while True:
        unsent = ctx.send_raw(b"")
        if unsent is not None and unsent <= unsent_max:
            return
        await asyncio.sleep(_PAUSE_S)
