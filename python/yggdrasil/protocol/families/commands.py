"""COMMAND: the command table."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from yggdrasil._core import Members
from yggdrasil.protocol.command import command, container_alone, help_of
from yggdrasil.protocol.key_uses import KeySpecification, key_specifications
from yggdrasil.protocol.node import CommandContext
from yggdrasil.protocol.reply import Reply, raw, syntax_error, text
from yggdrasil.protocol.table import Entry

if TYPE_CHECKING:
    from yggdrasil._core import _Argument

_FLAGS = ("loading", "stale", "connection")

command_help = help_of("command", group="server", since="5.0.0", flags=_FLAGS)


def _names(entries: Iterable[Entry]) -> list[bytes]:
    return [raw(entry.name) for entry in entries]


def _info(entry: Entry) -> Reply:
    row = entry.row
    return [
        raw(row["name"]),
        row["arity"],
        Members(row["flags"]),
        row["first_key"],
        row["last_key"],
        row["step"],
        Members([f"@{category}" for category in row["acl_categories"]]),
        Members([raw(tip) for tip in row["tips"]]),
        Members([_key_specification(found) for found in key_specifications(row)]),
        Members([_info(subcommand) for subcommand in entry.subcommands.values()]),
    ]


_UNKNOWN: dict[bytes, Reply] = {b"type": b"unknown", b"spec": {}}


def _key_specification(found: KeySpecification) -> Reply:
    if found.unknown:
        unknown: dict[bytes, Reply] = {b"flags": Members(found.flags)}
        return unknown | {b"begin_search": _UNKNOWN, b"find_keys": _UNKNOWN}
    begin: dict[bytes, Reply] = {b"type": b"index", b"spec": {b"index": found.first}}
    if found.word is not None:
        begin = {b"type": b"keyword", b"spec": {b"keyword": raw(found.word), b"startfrom": found.first}}
    span: dict[bytes, Reply] = {b"lastkey": found.last, b"keystep": found.step, b"limit": found.limit}
    keys: dict[bytes, Reply] = {b"type": b"range", b"spec": span}
    if found.counted:
        count: dict[bytes, Reply] = {b"keynumidx": 0, b"firstkey": 1, b"keystep": found.step}
        keys = {b"type": b"keynum", b"spec": count}
    shown: dict[bytes, Reply] = {b"flags": Members(found.flags), b"begin_search": begin, b"find_keys": keys}
    return shown


def _docs(entry: Entry) -> dict[bytes, Reply]:
    row = entry.row
    docs: dict[bytes, Reply] = {
        b"summary": raw(row["summary"]),
        b"since": raw(row["since"]),
        b"group": raw(row["group"]),
        b"complexity": raw(row["complexity"]),
    }
    if row["arguments"]:
        keys = iter(range(len(row["arguments"])))
        docs[b"arguments"] = [_argument(argument, keys) for argument in row["arguments"]]
    if entry.subcommands:
        docs[b"subcommands"] = {raw(sub.name): _docs(sub) for sub in entry.subcommands.values()}
    return docs


def _argument(argument: "_Argument", keys: Iterator[int]) -> Reply:
    """`keys` counts the key specifications."""
    shown: dict[bytes, Reply] = {b"name": raw(argument["name"]), b"type": raw(argument["type"])}
    if "arguments" not in argument:
        shown[b"display_text"] = raw(argument["name"])
    if argument["type"] == "key":
        shown[b"key_spec_index"] = next(keys)
    if "token" in argument:
        shown[b"token"] = raw(argument["token"])
    if argument["flags"]:
        shown[b"flags"] = Members(argument["flags"])
    if "arguments" in argument:
        shown[b"arguments"] = [_argument(inner, keys) for inner in argument["arguments"]]
    return shown


@container_alone(
    "command",
    group="server",
    summary="Shows all commands, without a subcommand; otherwise commands about commands.",
    since="2.8.13",
    flags=_FLAGS,
    complexity="O(N) for N commands.",
    tips=("nondeterministic_output_order",),
)
async def command_alone(ctx: CommandContext, args: list[bytes]) -> Reply:
    """All rows."""
    return [_info(entry) for entry in ctx.here.table]


@command(
    "command|info",
    arity=-2,
    flags=_FLAGS,
    group="server",
    summary="Shows the rows of commands, or of all.",
    since="2.8.13",
    complexity="O(N) for N commands.",
    syntax="[command-name [command-name ...]]",
    tips=("nondeterministic_output_order",),
)
async def command_info(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Null for what is no command."""
    if not args:
        return [_info(entry) for entry in ctx.here.table]
    found = (ctx.here.table.find(text(name)) for name in args)
    return [None if entry is None else _info(entry) for entry in found]


@command(
    "command|count",
    arity=2,
    flags=_FLAGS,
    group="server",
    summary="Counts the commands.",
    since="2.8.13",
)
async def command_count(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Without subcommands."""
    return len(ctx.here.table)


@command(
    "command|docs",
    arity=-2,
    flags=_FLAGS,
    group="server",
    summary="Describes commands, or all of them.",
    since="7.0.0",
    complexity="O(N) for N commands.",
    syntax="[command-name [command-name ...]]",
    tips=("nondeterministic_output_order",),
)
async def command_docs(ctx: CommandContext, args: list[bytes]) -> Reply:
    """What is no command is left out."""
    table = ctx.here.table
    entries = [entry for name in args if (entry := table.find(text(name)))] if args else list(table)
    return {raw(entry.name): _docs(entry) for entry in entries}


@command(
    "command|list",
    arity=-2,
    flags=_FLAGS,
    group="server",
    summary="Lists the names of commands and subcommands.",
    since="7.0.0",
    complexity="O(N) for N commands.",
    syntax="[FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
    tips=("nondeterministic_output_order",),
)
async def command_list(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Commands and subcommands."""
    table = ctx.here.table
    match [argument.upper() for argument in args]:
        case []:
            return _names(table.all())
        case [b"FILTERBY", b"MODULE", _]:
            module = ctx.here.modules.get(text(args[2]))
            return [raw(name) for name in module.commands] if module is not None else []
        case [b"FILTERBY", b"ACLCAT", _]:
            return _names(table.of_category(text(args[2])))
        case [b"FILTERBY", b"PATTERN", _]:
            return _names(table.named(text(args[2])))
        case _:
            raise syntax_error()


@command(
    "command|getkeys",
    arity=-3,
    flags=_FLAGS,
    group="server",
    summary="Finds the keys in a request.",
    since="2.8.13",
    complexity="O(N) for N arguments.",
    syntax="command [arg [arg ...]]",
)
async def command_getkeys(ctx: CommandContext, args: list[bytes]) -> Reply:
    """In their order."""
    return [key for key, _ in ctx.worker.command_keys(args)]


@command(
    "command|getkeysandflags",
    arity=-3,
    flags=_FLAGS,
    group="server",
    summary="Finds the keys in a request, and what becomes of them.",
    since="7.0.0",
    complexity="O(N) for N arguments.",
    syntax="command [arg [arg ...]]",
)
async def command_getkeysandflags(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Each key with its flags."""
    return [[key, Members(uses)] for key, uses in ctx.worker.command_keys(args)]
