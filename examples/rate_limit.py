"""A command of one's own: `yggdrasil serve --command-modules examples/rate_limit.py` has RATE.LIMIT."""

from yggdrasil.commands import CommandContext, Reply, command, integer


@command(
    "rate.limit",
    arity=4,
    group="rate limits",
    flags=("write", "denyoom"),
    keys=(1, 1, 1),
    atomic=True,
    summary="Counts a use, and tells how many more are allowed; -1 when this one is not.",
    since="1.0.0",
    syntax="key uses seconds",
)
async def rate_limit(ctx: CommandContext, args: list[bytes]) -> Reply:
    """The seconds begin with the first use."""
    key, uses, seconds = args
    used: int = await ctx.execute(b"INCR", key)
    if used == 1:
        await ctx.execute(b"EXPIRE", key, seconds)
    return max(integer(uses) - used, -1)
