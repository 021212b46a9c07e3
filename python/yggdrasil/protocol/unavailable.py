"""Commands of Redis that a node does not have: known, and answered with what to use instead."""

from collections.abc import Sequence

from yggdrasil._core import ReplyError
from yggdrasil.protocol.command import Command, command
from yggdrasil.protocol.node import CommandContext
from yggdrasil.protocol.reply import Reply


def unavailable(
    name: str,
    *,
    arity: int,
    flags: Sequence[str],
    group: str,
    since: str,
    instead: str,
    syntax: str = "",
    tips: Sequence[str] = (),
) -> Command:
    """The row of such a command; `instead` goes on where the error has named it."""
    shown = name.replace("|", " ").upper()

    async def refuse(_ctx: CommandContext, _args: list[bytes]) -> Reply:
        raise ReplyError(f"ERR {shown} is not available: {instead}")

    return command(
        name,
        arity=arity,
        flags=flags,
        group=group,
        summary=f"Not available: {instead}.",
        since=since,
        complexity="O(1)",
        syntax=syntax,
        tips=tips,
    )(refuse)
