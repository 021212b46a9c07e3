"""MODULE: there are none, and none can be loaded."""

from yggdrasil.protocol.command import command, container
from yggdrasil.protocol.node import CommandContext
from yggdrasil.protocol.reply import Reply

module = container("module", group="server", summary="Commands about modules.", since="4.0.0", help_since="5.0.0")


@command(
    "module|list",
    arity=2,
    flags=("admin", "noscript"),
    group="server",
    summary="Lists the modules that are loaded. There are none.",
    since="4.0.0",
    complexity="O(N) for N modules.",
    tips=("nondeterministic_output_order",),
)
async def module_list(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Nothing."""
    return []
