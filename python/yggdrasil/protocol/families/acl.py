"""ACL, as far as there is one user: the default user, who may do everything."""

from yggdrasil._core import ReplyError
from yggdrasil.protocol.command import command, container
from yggdrasil.protocol.node import CommandContext
from yggdrasil.protocol.reply import Reply, raw, text, unknown_subcommand

_FLAGS = ("noscript", "loading", "stale")

acl = container("acl", group="server", summary="Commands about users.", since="6.0.0", help_since="6.0.0")


@command(
    "acl|whoami",
    arity=2,
    flags=_FLAGS,
    group="server",
    summary="Names the user of this connection.",
    since="6.0.0",
)
async def acl_whoami(ctx: CommandContext, args: list[bytes]) -> Reply:
    """There is one."""
    return b"default"


@command(
    "acl|cat",
    arity=-2,
    flags=_FLAGS,
    group="server",
    summary="Lists the categories of commands, or the commands of one.",
    since="6.0.0",
    complexity="O(N) for N commands.",
    syntax="[category]",
)
async def acl_cat(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Without the @ before a category."""
    if len(args) > 1:
        raise unknown_subcommand("acl", b"CAT")
    if not args:
        return [raw(category) for category in ctx.here.table.categories]
    found = [raw(entry.name) for entry in ctx.here.table.of_category(text(args[0]))]
    if not found:
        raise ReplyError(f"ERR Unknown category '{text(args[0])}'")
    return found
