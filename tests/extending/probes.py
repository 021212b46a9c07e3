"""Commands for tests: they execute what they are given."""

import asyncio

from yggdrasil.commands import CommandContext, Here, Reply, ReplyError, command, question


def _row(name: str, flags: tuple[str, ...] = ("write",), keys: tuple[int, int, int] | None = None) -> dict[str, object]:
    return {"arity": -2}


@command("probe.run", arity=-2, group="probes", flags=("write",), summary="Executes a request.", since="1.0.0")
async def run(ctx: CommandContext, args: list[bytes]) -> Reply:
    return await ctx.execute(*args)


@command("probe.read", arity=-2, group="probes", flags=("readonly",), summary="As PROBE.RUN.", since="1.0.0")
async def read(ctx: CommandContext, args: list[bytes]) -> Reply:
    return await ctx.execute(*args)


@command(
    "probe.with", arity=-3, group="probes", flags=("write",), summary="As PROBE.RUN, for a key.", since="1.0.0",
    keys=(1, 1, 1), syntax="key request [request ...]",
)
async def run_with(ctx: CommandContext, args: list[bytes]) -> Reply:
    return await ctx.execute(*args[1:])


@command(
    "probe.between", arity=4, group="probes", flags=("write",), summary="Moves a number.", since="1.0.0",
    keys=(1, 2, 1), syntax="from to count",
)
async def between(ctx: CommandContext, args: list[bytes]) -> Reply:
    source, destination, count = args
    left = await ctx.execute(b"DECRBY", source, count)
    return [left, await ctx.execute(b"INCRBY", destination, count)]


@command("probe.all", arity=-2, group="probes", flags=("write",), summary="Counts keys at once.", since="1.0.0")
async def count_all(ctx: CommandContext, args: list[bytes]) -> Reply:
    return await asyncio.gather(*(ctx.execute(b"INCR", key) for key in args))


@command("probe.catch", arity=-2, group="probes", flags=("write",), summary="Tells of an error.", since="1.0.0")
async def catch(ctx: CommandContext, args: list[bytes]) -> Reply:
    try:
        await ctx.execute(*args)
    except ReplyError as error:
        return f"caught {error}".encode()
    return None
