"""CONFIG: options of the node at run time."""

from yggdrasil._core import ReplyError, YggdrasilError
from yggdrasil.protocol.command import command, container
from yggdrasil.protocol.node import CommandContext, Here, question
from yggdrasil.protocol.reply import OK, Reply, raw, syntax_error, text

_FLAGS = ("admin", "noscript", "loading", "stale")

config = container(
    "config", group="server", summary="Commands about the options of the node.", since="2.0.0", help_since="5.0.0"
)


@question
def reset_stats(here: Here, _asked: None) -> None:
    """Sets counters to zero."""
    here.worker.reset_stats()


@command(
    "config|get",
    arity=-3,
    flags=_FLAGS,
    group="server",
    summary="Gives the options whose names fit, with their values.",
    since="2.0.0",
    complexity="O(N) for N patterns.",
    syntax="parameter [parameter ...]",
)
async def config_get(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Names are patterns."""
    found = ctx.services.config_get(map(text, args))
    return {raw(name): raw(value) for name, value in found.items()}


@command(
    "config|set",
    arity=-4,
    flags=_FLAGS,
    group="server",
    summary="Sets options on the whole node, all of them or none.",
    since="2.0.0",
    complexity="O(N) for N options.",
    syntax="parameter value [parameter value ...]",
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
)
async def config_set(ctx: CommandContext, args: list[bytes]) -> Reply:
    """The supervisor tells all workers."""
    if len(args) % 2:
        raise syntax_error()
    words = [text(argument) for argument in args]
    try:
        await ctx.services.config_set(list(zip(words[::2], words[1::2], strict=True)))
    except YggdrasilError as error:
        raise ReplyError(str(error)) from None
    return OK


@command(
    "config|resetstat",
    arity=2,
    flags=_FLAGS,
    group="server",
    summary="Sets the statistics of all workers to zero.",
    since="2.0.0",
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
)
async def config_resetstat(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Gauges keep their values."""
    await ctx.broadcast(reset_stats, None)
    return OK


@command(
    "config|rewrite",
    arity=2,
    flags=_FLAGS,
    group="server",
    summary="Writes options that were set back to the configuration file.",
    since="2.8.0",
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
)
async def config_rewrite(ctx: CommandContext, args: list[bytes]) -> Reply:
    """What else stands in the file stays."""
    try:
        await ctx.services.config_rewrite()
    except YggdrasilError as error:
        raise ReplyError(str(error)) from None
    return OK
