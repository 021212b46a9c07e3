"""ACL: users of the node, what they may do, and what they were denied."""

import secrets
import time
from dataclasses import dataclass, replace

from yggdrasil._core import ACL_CATEGORIES, Members, ReplyError, YggdrasilError
from yggdrasil.protocol.command import command, container
from yggdrasil.protocol.node import CommandContext, Here, Raw, question
from yggdrasil.protocol.reply import OK, Reply, integer, raw, text, unknown_subcommand

_ANYBODY = ("noscript", "loading", "stale")
_ADMIN = ("admin", "noscript", "loading", "stale")
_ON_ALL_NODES = ("request_policy:all_nodes", "response_policy:all_succeeded")
_PASSWORD_BITS = 256
_PASSWORD_BITS_MAX = 4096
_SHOWN_DEFAULT = 10
_TOGETHER_MS = 60_000
_NO_FILE = (
    "ERR This node is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and "
    "then issue a CONFIG REWRITE (assuming you have a configuration file set) in order to store users in the "
    "configuration."
)

acl = container("acl", group="server", summary="Commands about users.", since="6.0.0", help_since="6.0.0")


@dataclass(frozen=True, slots=True)
class Denied:
    """Something that users were denied, once or several times."""

    id: int
    count: int
    reason: str
    context: str
    object: Raw
    user: Raw
    created_ms: int
    updated_ms: int
    client: str


@question
def denials(here: Here, _asked: None) -> list[Denied]:
    """What users were denied on this worker. Ids rise over all workers."""
    return [Denied(**entry) for entry in here.worker.denials()]


@question
def forget_denials(here: Here, _asked: None) -> None:
    """Forgets it."""
    here.worker.forget_denials()


@command(
    "acl|whoami",
    arity=2,
    flags=_ANYBODY,
    group="server",
    summary="Names the user of this connection.",
    since="6.0.0",
)
async def acl_whoami(ctx: CommandContext, args: list[bytes]) -> Reply:
    """As it is when the command begins."""
    return ctx.caller.user


@command(
    "acl|cat",
    arity=-2,
    flags=_ANYBODY,
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
        return [raw(category) for category in ACL_CATEGORIES]
    category = text(args[0]).lower()
    if category not in ACL_CATEGORIES:
        raise ReplyError(f"ERR Unknown category '{text(args[0])}'")
    return [raw(entry.name) for entry in ctx.here.table.of_category(category)]


@command(
    "acl|genpass",
    arity=-2,
    flags=_ANYBODY,
    group="server",
    summary="Makes a password that nobody can guess.",
    since="6.0.0",
    syntax="[bits]",
)
async def acl_genpass(ctx: CommandContext, args: list[bytes]) -> Reply:
    """As hexadecimal digits."""
    if len(args) > 1:
        raise unknown_subcommand("acl", b"GENPASS")
    bits = integer(args[0]) if args else _PASSWORD_BITS
    if not 0 < bits <= _PASSWORD_BITS_MAX:
        raise ReplyError(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to "
            f"{_PASSWORD_BITS_MAX}"
        )
    digits = -(-bits // 4)
    return raw(secrets.token_hex(-(-digits // 2))[:digits])


@command(
    "acl|users",
    arity=2,
    flags=_ADMIN,
    group="server",
    summary="Lists the names of all users.",
    since="6.0.0",
    complexity="O(N) for N users.",
)
async def acl_users(ctx: CommandContext, args: list[bytes]) -> Reply:
    """In their order."""
    return [name for name, _ in ctx.worker.users()]


@command(
    "acl|list",
    arity=2,
    flags=_ADMIN,
    group="server",
    summary="Lists all users with their rules, as an ACL file has them.",
    since="6.0.0",
    complexity="O(N) for N users.",
)
async def acl_list(ctx: CommandContext, args: list[bytes]) -> Reply:
    """One line each."""
    return [line for _, line in ctx.worker.users()]


@command(
    "acl|getuser",
    arity=3,
    flags=_ADMIN,
    group="server",
    summary="Shows the rules of a user.",
    since="6.0.0",
    complexity="O(N) for N rules.",
    syntax="username",
)
async def acl_getuser(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Null for nobody."""
    user = ctx.worker.user(args[0])
    if user is None:
        return None
    first, *others = (
        {b"commands": raw(rules[0]), b"keys": rules[1], b"channels": rules[2]} for rules in user["selectors"]
    )
    shown: dict[bytes, Reply] = {
        b"flags": Members([raw(flag) for flag in user["flags"]]),
        b"passwords": [raw(password) for password in user["passwords"]],
        **first,
        b"selectors": others,
    }
    return shown


@command(
    "acl|setuser",
    arity=-3,
    flags=_ADMIN,
    group="server",
    summary="Makes a user, or changes one, on all workers.",
    since="6.0.0",
    complexity="O(N) for N rules.",
    syntax="username [rule [rule ...]]",
    tips=_ON_ALL_NODES,
)
async def acl_setuser(ctx: CommandContext, args: list[bytes]) -> Reply:
    """All rules or none."""
    try:
        await ctx.services.set_user(args[0], args[1:], ctx.client_id)
    except YggdrasilError as error:
        raise ReplyError(str(error)) from None
    return OK


@command(
    "acl|deluser",
    arity=-3,
    flags=_ADMIN,
    group="server",
    summary="Removes users, and ends their connections.",
    since="6.0.0",
    syntax="username [username ...]",
    tips=_ON_ALL_NODES,
)
async def acl_deluser(ctx: CommandContext, args: list[bytes]) -> Reply:
    """How many there were."""
    try:
        return await ctx.services.delete_users(args, ctx.client_id)
    except YggdrasilError as error:
        raise ReplyError(str(error)) from None


@command(
    "acl|dryrun",
    arity=-4,
    flags=_ADMIN,
    group="server",
    summary="Says whether a user may make a request, without executing it.",
    since="7.0.0",
    syntax="username command [arg [arg ...]]",
)
async def acl_dryrun(ctx: CommandContext, args: list[bytes]) -> Reply:
    """OK, or what the user may not."""
    denied = ctx.worker.dry_run(args[0], args[1:])
    return OK if denied is None else raw(denied)


@command(
    "acl|load",
    arity=2,
    flags=_ADMIN,
    group="server",
    summary="Reads the ACL file again.",
    since="6.0.0",
    complexity="O(N) for N users.",
)
async def acl_load(ctx: CommandContext, args: list[bytes]) -> Reply:
    """All of it or nothing."""
    _check_file(ctx)
    try:
        await ctx.services.load_users(ctx.client_id)
    except YggdrasilError as error:
        raise ReplyError(str(error)) from None
    return OK


@command(
    "acl|save",
    arity=2,
    flags=_ADMIN,
    group="server",
    summary="Writes the users into the ACL file.",
    since="6.0.0",
    complexity="O(N) for N users.",
    tips=_ON_ALL_NODES,
)
async def acl_save(ctx: CommandContext, args: list[bytes]) -> Reply:
    """In place of what stands there."""
    _check_file(ctx)
    try:
        await ctx.services.save_users()
    except YggdrasilError as error:
        raise ReplyError(str(error)) from None
    return OK


def _check_file(ctx: CommandContext) -> None:
    if not ctx.services.config_get(["aclfile"])["aclfile"]:
        raise ReplyError(_NO_FILE)


@command(
    "acl|log",
    arity=-2,
    flags=_ADMIN,
    group="server",
    summary="Shows the latest that users were denied on all workers, or forgets it.",
    since="6.0.0",
    complexity="O(N) for N entries.",
    syntax="[count | RESET]",
)
async def acl_log(ctx: CommandContext, args: list[bytes]) -> Reply:
    """The latest first; ten without a count."""
    if len(args) > 1:
        raise unknown_subcommand("acl", b"LOG")
    if args and args[0].upper() == b"RESET":
        await ctx.broadcast(forget_denials, None)
        return OK
    count = max(integer(args[0]), 0) if args else _SHOWN_DEFAULT
    count_max = int(ctx.services.config_get(["acllog-max-len"])["acllog-max-len"])
    found = [entry for answer in (await ctx.broadcast(denials, None)).values() for entry in answer]
    now_ms = time.time_ns() // 1_000_000
    return [_shown(entry, now_ms) for entry in _merged(found)[: min(count, count_max)]]


def _merged(found: list[Denied]) -> list[Denied]:
    """The latest first; what happened on several workers within a minute is one entry, as on one worker."""
    merged: list[Denied] = []
    for entry in sorted(found, key=lambda entry: (entry.updated_ms, entry.id), reverse=True):
        for place, known in enumerate(merged):
            if _same(known, entry):
                merged[place] = replace(
                    known,
                    id=min(known.id, entry.id),
                    count=known.count + entry.count,
                    created_ms=min(known.created_ms, entry.created_ms),
                )
                break
        else:
            merged.append(entry)
    return merged


def _same(later: Denied, earlier: Denied) -> bool:
    return (
        (later.reason, later.context, later.object, later.user)
        == (earlier.reason, earlier.context, earlier.object, earlier.user)
    ) and later.updated_ms - earlier.updated_ms <= _TOGETHER_MS


def _shown(entry: Denied, now_ms: int) -> Reply:
    shown: dict[bytes, Reply] = {
        b"count": entry.count,
        b"reason": raw(entry.reason),
        b"context": raw(entry.context),
        b"object": entry.object,
        b"username": entry.user,
        b"age-seconds": max(now_ms - entry.updated_ms, 0) / 1000,
        b"client-info": raw(entry.client),
        b"entry-id": entry.id,
        b"timestamp-created": entry.created_ms,
        b"timestamp-last-updated": entry.updated_ms,
    }
    return shown
