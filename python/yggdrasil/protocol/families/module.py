"""MODULE: modules of commands, which are loaded at the start."""

from yggdrasil.protocol.command import command, container
from yggdrasil.protocol.node import CommandContext
from yggdrasil.protocol.reply import Reply, raw
from yggdrasil.protocol.unavailable import unavailable

_FLAGS = ("admin", "noscript", "no_async_loading")
_AT_THE_START = "modules of commands are written in Python and loaded at the start; name them in command-modules"

module = container("module", group="server", summary="Commands about modules.", since="4.0.0", help_since="5.0.0")


@command(
    "module|list",
    arity=2,
    flags=("admin", "noscript"),
    group="server",
    summary="Lists the modules of commands that are loaded.",
    since="4.0.0",
    complexity="O(N) for N modules.",
    tips=("nondeterministic_output_order",),
)
async def module_list(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Under the names that Redis has for what is known of a module; they have neither versions nor arguments."""
    return [
        {b"name": raw(name), b"ver": 0, b"path": raw(module.file), b"args": []}
        for name, module in ctx.here.modules.items()
    ]


module_load = unavailable(
    "module|load",
    arity=-3,
    flags=_FLAGS,
    group="server",
    since="4.0.0",
    instead=_AT_THE_START,
    syntax="path [arg [arg ...]]",
)
module_loadex = unavailable(
    "module|loadex",
    arity=-3,
    flags=_FLAGS,
    group="server",
    since="7.0.0",
    instead=_AT_THE_START,
    syntax="path [CONFIG name value [CONFIG name value ...]] [ARGS args [args ...]]",
)
module_unload = unavailable(
    "module|unload", arity=3, flags=_FLAGS, group="server", since="4.0.0", instead=_AT_THE_START, syntax="name"
)
