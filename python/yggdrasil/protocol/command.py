"""A command that is written in Python: its row beside its function."""

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from yggdrasil._core import Context, ReplyError
from yggdrasil.protocol.node import CommandContext, Here, Question
from yggdrasil.protocol.reply import Reply

if TYPE_CHECKING:
    from yggdrasil._core import _NewCommand

log = logging.getLogger(__name__)

Handler = Callable[[CommandContext, list[bytes]], Awaitable[Reply]]
"""Gets the arguments behind the name, and behind the subcommand's name where there is one."""


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the command table and who runs it; nobody runs a container or its HELP."""

    row: "_NewCommand"
    handler: Handler | None

    def register(self, here: Here) -> None:
        """Adds it to the worker's table."""
        handler = self.handler
        if handler is None:
            here.worker.register(self.row, None)
            return
        behind_name = self.row["name"].count("|") + 1

        async def run(caller: Context, args: list[bytes]) -> Reply:
            try:
                return await handler(CommandContext(caller, here), args[behind_name:])
            except ReplyError:
                raise
            except Exception:
                log.exception("command %s failed", self.row["name"])
                raise

        here.worker.register(self.row, run)


def command(
    name: str,
    *,
    arity: int,
    group: str,
    summary: str,
    since: str,
    flags: Sequence[str] = (),
    complexity: str = "O(1)",
    syntax: str = "",
    tips: Sequence[str] = (),
    keys: tuple[int, int, int] | None = None,
    migrated_keys: bool = False,
    key_uses: Sequence[Sequence[str]] = (),
    atomic: bool = False,
) -> Callable[[Handler], Command]:
    """The row of the coroutine below it. `keys` is first key, last key and step; `arity` counts the name.

    `tips` are those of COMMAND INFO, in Redis's order. `key_uses` is what it says of all keys, or of each, where that
    is not what the flags say: that they are read (readonly) or changed (write).
    `migrated_keys` are where MIGRATE has them.
    `group` is the chapter of the command reference: one of Redis's, or one of your own. All that an atomic command
    executes is one transaction. The shards of its keys are reserved until it ends, so it must wait for nothing else.
    """
    row: _NewCommand = {
        "name": name,
        "arity": arity,
        "flags": [*flags, "atomic"] if atomic else list(flags),
        "group": group,
        "summary": summary,
        "since": since,
        "complexity": complexity,
        "syntax": syntax,
        "tips": list(tips),
        "key_uses": [list(use) for use in key_uses],
    }
    if migrated_keys:
        row["migrated_keys"] = True
    if keys is not None:
        row["first_key"], row["last_key"], row["step"] = keys
    return lambda handler: Command(row, handler)


def container(name: str, *, group: str, summary: str, since: str, help_since: str) -> tuple[Command, Command]:
    """A command that is known for its subcommands, and its HELP."""
    row: _NewCommand = {
        "name": name,
        "arity": -2,
        "flags": [],
        "group": group,
        "summary": summary,
        "since": since,
        "complexity": "Depends on the subcommand.",
        "syntax": "",
        "tips": [],
        "key_uses": [],
        "container": True,
    }
    return Command(row, None), help_of(name, group=group, since=help_since)


def container_alone(
    name: str,
    *,
    group: str,
    summary: str,
    since: str,
    flags: Sequence[str],
    complexity: str,
    tips: Sequence[str] = (),
) -> Callable[[Handler], Command]:
    """A container that is also a command of its own; the coroutine runs when it stands alone."""
    row: _NewCommand = {
        "name": name,
        "arity": -1,
        "flags": list(flags),
        "group": group,
        "summary": summary,
        "since": since,
        "complexity": complexity,
        "syntax": "",
        "tips": list(tips),
        "key_uses": [],
        "container": True,
    }
    return lambda handler: Command(row, handler)


def help_of(name: str, *, group: str, since: str, flags: Sequence[str] = ("loading", "stale")) -> Command:
    """The list of a container's subcommands, made from their rows."""
    row: _NewCommand = {
        "name": f"{name}|help",
        "arity": 2,
        "flags": list(flags),
        "group": group,
        "summary": "Lists the subcommands.",
        "since": since,
        "complexity": "O(1)",
        "syntax": "",
        "tips": [],
        "key_uses": [],
        "help": True,
    }
    return Command(row, None)


def commands_of(family: ModuleType) -> Iterator[Command]:
    """The commands of a module, in the order of its text."""
    for value in vars(family).values():
        if isinstance(value, Command):
            yield value
        elif isinstance(value, tuple):
            yield from (part for part in value if isinstance(part, Command))


def questions_of(module: ModuleType) -> Iterator[Question[Any, Any]]:
    """The questions that a module answers."""
    return (value for value in vars(module).values() if isinstance(value, Question))
