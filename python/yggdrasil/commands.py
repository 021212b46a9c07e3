"""All that a module of commands imports.

A command is a coroutine below its row. The name of its module stands in the option `command-modules`, or in the group
`yggdrasil.commands` of a package's entry points.
"""

from yggdrasil._core import Members, ReplyError, Verbatim
from yggdrasil.protocol.command import command, container, container_alone, help_of
from yggdrasil.protocol.node import CommandContext, Here, Raw, question
from yggdrasil.protocol.reply import OK, Reply, integer, milliseconds, raw, syntax_error, text

__all__ = [
    "OK",
    "CommandContext",
    "Here",
    "Members",
    "Raw",
    "Reply",
    "ReplyError",
    "Verbatim",
    "command",
    "container",
    "container_alone",
    "help_of",
    "integer",
    "milliseconds",
    "question",
    "raw",
    "syntax_error",
    "text",
]
