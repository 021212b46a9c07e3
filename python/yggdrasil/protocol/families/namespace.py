"""NAMESPACE: promises for keys with a prefix, at run time."""

from yggdrasil._core import ReplyError, YggdrasilError
from yggdrasil.protocol.command import command, container
from yggdrasil.protocol.node import CommandContext
from yggdrasil.protocol.reply import OK, Reply, raw, syntax_error
from yggdrasil.protocol.services import Namespace

_FLAGS = ("admin", "noscript", "loading", "stale")

namespace = container(
    "namespace",
    group="server",
    summary="Commands about promises for keys with a prefix.",
    since="8.0.0",
    help_since="8.0.0",
)


def _row(one: Namespace) -> Reply:
    row: dict[bytes, Reply] = {b"prefix": one.prefix, b"ack": raw(one.ack), b"lower": int(one.may_lower)}
    return row


@command(
    "namespace|list",
    arity=2,
    flags=_FLAGS,
    group="server",
    summary="Lists the namespaces; that of all other keys has an empty prefix.",
    since="8.0.0",
    complexity="O(N) for N namespaces.",
)
async def namespace_list(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Ordered by prefix."""
    return [_row(one) for prefix, one in sorted(ctx.services.namespaces.items())]


@command(
    "namespace|get",
    arity=3,
    flags=_FLAGS,
    group="server",
    summary="Tells which namespace a key belongs to.",
    since="8.0.0",
    complexity="O(N) for N namespaces.",
    syntax="key",
)
async def namespace_get(ctx: CommandContext, args: list[bytes]) -> Reply:
    """That with the longest prefix."""
    fitting = [one for prefix, one in ctx.services.namespaces.items() if args[0].startswith(prefix)]
    return _row(max(fitting, key=lambda one: len(one.prefix)))


@command(
    "namespace|set",
    arity=-4,
    flags=_FLAGS,
    group="server",
    summary="Makes a namespace, changes or, with DEFAULT, ends it. LOWER: connections may ask for less by CLIENT ACK.",
    since="8.0.0",
    complexity="O(N) for N namespaces.",
    syntax="prefix <NONE | FAST | SYNC | DEFAULT> [LOWER]",
)
async def namespace_set(ctx: CommandContext, args: list[bytes]) -> Reply:
    """The supervisor tells all workers, and keeps it."""
    prefix, ack, *rest = args
    if len(rest) > 1 or (rest and rest[0].upper() != b"LOWER"):
        raise syntax_error()
    try:
        await ctx.services.namespace_set(prefix, ack.decode("latin-1").lower(), may_lower=bool(rest))
    except ValueError as error:
        raise ReplyError(f"ERR {error}") from None
    except YggdrasilError as error:
        raise ReplyError(str(error)) from None
    return OK
