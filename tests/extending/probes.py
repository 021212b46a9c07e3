"""Commands for tests: they execute what they are given."""

import asyncio

from yggdrasil.commands import CommandContext, Reply, ReplyError, command


@command("probe.run", arity=-2, group="probes", flags=("write",), summary="Executes a request.", since="1.0.0")
async def run(ctx: CommandContext, args: list[bytes]) -> Reply:
    reply: Reply = await ctx.execute(*args)
    return reply


@command("probe.read", arity=-2, group="probes", flags=("readonly",), summary="Executes a request.", since="1.0.0")
async def read(ctx: CommandContext, args: list[bytes]) -> Reply:
    reply: Reply = await ctx.execute(*args)
    return reply


@command(
    "probe.with",
    arity=-3,
    group="probes",
    flags=("write",),
    summary="Executes a request beside a key.",
    since="1.0.0",
    keys=(1, 1, 1),
    syntax="key request [request ...]",
)
async def run_with(ctx: CommandContext, args: list[bytes]) -> Reply:
    reply: Reply = await ctx.execute(*args[1:])
    return reply


@command(
    "probe.move",
    arity=4,
    group="probes",
    flags=("write",),
    summary="Moves a part of one number to another.",
    since="1.0.0",
    keys=(1, 2, 1),
    syntax="source destination count",
)
async def move(ctx: CommandContext, args: list[bytes]) -> Reply:
    return await _moved(ctx, *args)


@command(
    "probe.swap",
    arity=4,
    group="probes",
    flags=("write",),
    summary="As PROBE.MOVE, in one transaction.",
    since="1.0.0",
    keys=(1, 2, 1),
    syntax="source destination count",
    atomic=True,
)
async def swap(ctx: CommandContext, args: list[bytes]) -> Reply:
    return await _moved(ctx, *args)


async def _moved(ctx: CommandContext, source: bytes, destination: bytes, count: bytes) -> Reply:
    left: int = await ctx.execute("DECRBY", source, count)
    there: int = await ctx.execute("INCRBY", destination, int(count))
    return [left, there]


@command("probe.all", arity=-2, group="probes", flags=("write",), summary="Counts keys at once.", since="1.0.0")
async def count_all(ctx: CommandContext, args: list[bytes]) -> Reply:
    replies: list[int] = await asyncio.gather(*(ctx.execute(b"INCR", key) for key in args))
    return replies


@command("probe.catch", arity=-2, group="probes", flags=("write",), summary="Tells of an error.", since="1.0.0")
async def catch(ctx: CommandContext, args: list[bytes]) -> Reply:
    try:
        await ctx.execute(*args)
    except ReplyError as error:
        return f"caught {error}".encode()
    return None


@command("probe.types", arity=-2, group="probes", flags=("write",), summary="Tells of types.", since="1.0.0")
async def types(ctx: CommandContext, args: list[bytes]) -> Reply:
    return repr(await ctx.execute(*args)).encode()


_left: set[asyncio.Task[None]] = set()


@command(
    "probe.leave",
    arity=2,
    group="probes",
    flags=("write",),
    summary="Begins to count a key, and ends before that is done.",
    since="1.0.0",
    keys=(1, 1, 1),
    syntax="key",
)
async def leave(ctx: CommandContext, args: list[bytes]) -> Reply:
    async def count() -> None:
        await ctx.execute(b"INCR", args[0])

    task = asyncio.get_running_loop().create_task(count())
    _left.add(task)
    task.add_done_callback(_left.discard)
    await asyncio.sleep(0)
    return "left"


_too_late: list[CommandContext] = []


@command("probe.late", arity=1, group="probes", summary="Uses the context of the call before.", since="1.0.0")
async def late(ctx: CommandContext, args: list[bytes]) -> Reply:
    if not _too_late:
        _too_late.append(ctx)
        return "kept"
    return await _too_late.pop().execute(b"PING")  # type: ignore[no-any-return]
