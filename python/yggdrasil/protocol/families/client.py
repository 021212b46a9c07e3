"""CLIENT: connections of all workers."""

import time
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from yggdrasil._core import ReplyError, Verbatim
from yggdrasil.protocol.command import command, help_of
from yggdrasil.protocol.node import CommandContext, Here, Raw, question
from yggdrasil.protocol.pages import PLACES, pages
from yggdrasil.protocol.reply import OK, Reply, integer, milliseconds, syntax_error, text, unknown_subcommand

if TYPE_CHECKING:
    from yggdrasil._core import _ClientFilter

_KINDS = {"normal": "normal", "pubsub": "pubsub", "master": "master", "replica": "replica", "slave": "replica"}
_CONTROL = ("admin", "noscript", "loading", "stale")

client_help = help_of("client", group="connection", since="5.0.0")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which clients are meant; what is None does not matter. The names are those that the worker knows."""

    ids: frozenset[int] | None = None
    address: Raw | None = None
    local_address: Raw | None = None
    kind: str | None = None
    user: Raw | None = None
    age_s_min: int | None = None
    except_id: int | None = None

    @property
    def arguments(self) -> "_ClientFilter":
        """For the methods of the worker."""
        return {
            "ids": self.ids,
            "address": self.address,
            "local_address": self.local_address,
            "kind": self.kind,
            "user": self.user,
            "age_s_min": self.age_s_min,
            "except_id": self.except_id,
        }


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of the clients that fit a filter."""

    filter: Filter
    start: int


@dataclass(frozen=True, slots=True)
class PauseUntil:
    """Until when clients are paused, Unix time."""

    until_ms: int
    writes_only: bool


@dataclass(frozen=True, slots=True)
class Unblock:
    """Which waiting client goes on, and whether with an error."""

    client_id: int
    error: bool


@question
def client_lines(here: Here, listed: Listed) -> tuple[int | None, list[tuple[int, str]]]:
    """Id and line of CLIENT LIST of the clients on a page, and where the next one begins."""
    return here.worker.client_lines(listed.start, PLACES, **listed.filter.arguments)


@question
def names(here: Here, wanted: Filter) -> dict[int, tuple[str, str]]:
    """Address and name of the clients here."""
    return {client["id"]: (client["addr"], client["name"]) for client in here.worker.clients(**wanted.arguments)}


@question
def kill(here: Here, listed: Listed) -> tuple[int | None, int]:
    """Ends connections on a page; tells how many, and where the next one begins."""
    return here.worker.kill_clients(listed.start, PLACES, **listed.filter.arguments)


@question
def pause(here: Here, asked: PauseUntil) -> None:
    """Holds the clients here."""
    here.worker.pause(asked.until_ms, asked.writes_only)


@question
def unpause(here: Here, _asked: None) -> None:
    """Lets them go on."""
    here.worker.unpause()


@question
def unblock(here: Here, asked: Unblock) -> bool:
    """Lets a client go on that waits here."""
    waiting = here.waiting.get(asked.client_id)
    if waiting is None or waiting.done():
        return here.worker.unblock_client(asked.client_id, with_error=asked.error)
    waiting.set_result(asked.error)
    return True


@command(
    "client|info",
    arity=2,
    flags=("noscript", "loading", "stale"),
    group="connection",
    summary="Tells all about this connection.",
    since="6.2.0",
    tips=("nondeterministic_output",),
)
async def client_info(ctx: CommandContext, args: list[bytes]) -> Reply:
    """The caller's own line."""
    line = ctx.caller.client_line()
    return Verbatim(f"{line}\n") if line is not None else None


@command(
    "client|list",
    arity=-2,
    flags=_CONTROL,
    group="connection",
    summary="Lists the connections of all workers.",
    since="2.4.0",
    complexity="O(N) for N connections.",
    syntax="[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
    tips=("nondeterministic_output",),
)
async def client_list(ctx: CommandContext, args: list[bytes]) -> Reply:
    """One line each, oldest first."""
    match [argument.upper() for argument in args[:1]]:
        case []:
            wanted = Filter()
        case [b"TYPE"] if len(args) == 2:
            wanted = Filter(kind=_kind_named(args[1]))
        case [b"ID"] if len(args) > 1:
            wanted = Filter(ids=frozenset(integer(argument, "ERR Invalid client ID") for argument in args[1:]))
        case _:
            raise syntax_error()
    found = await pages(ctx, client_lines, lambda start: Listed(wanted, start))
    return Verbatim("".join(f"{line}\n" for _, line in sorted(chain.from_iterable(found))))


def _kind_named(name: bytes) -> str:
    kind = _KINDS.get(text(name).lower())
    if kind is None:
        raise ReplyError(f"ERR Unknown client type '{text(name)}'")
    return kind


@command(
    "client|kill",
    arity=-3,
    flags=_CONTROL,
    group="connection",
    summary="Ends connections.",
    since="2.4.0",
    complexity="O(N) for N connections.",
    syntax="<ip:port | [ID client-id] [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [USER username] [ADDR ip:port] "
    "[LADDR ip:port] [SKIPME <YES | NO>] [MAXAGE maxage]>",
)
async def client_kill(ctx: CommandContext, args: list[bytes]) -> Reply:
    """By address, or all that fit every filter."""
    if len(args) == 1:
        if not await _kill(ctx, Filter(address=args[0]), spare_caller=False):
            raise ReplyError("ERR No such client")
        return OK
    wanted, spare_caller = _kill_filter(args)
    if wanted.user is not None and ctx.worker.user(wanted.user) is None:
        raise ReplyError(f"ERR No such user '{text(wanted.user)}'")
    return await _kill(ctx, wanted, spare_caller=spare_caller)


def _kill_filter(args: list[bytes]) -> tuple[Filter, bool]:
    if len(args) % 2:
        raise syntax_error()
    wanted, spare_caller = Filter(), True
    for name, value in zip(args[::2], args[1::2], strict=True):
        if name.upper() == b"SKIPME":
            if value.upper() not in (b"YES", b"NO"):
                raise syntax_error()
            spare_caller = value.upper() == b"YES"
        else:
            wanted = _narrowed(wanted, name.upper(), value)
    return wanted, spare_caller


def _narrowed(wanted: Filter, name: bytes, value: bytes) -> Filter:
    match name:
        case b"ID":
            return replace(wanted, ids=frozenset([_positive(value, "client-id", "should be greater than 0")]))
        case b"TYPE":
            return replace(wanted, kind=_kind_named(value))
        case b"USER":
            return replace(wanted, user=value)
        case b"ADDR":
            return replace(wanted, address=value)
        case b"LADDR":
            return replace(wanted, local_address=value)
        case b"MAXAGE":
            return replace(wanted, age_s_min=_positive(value, "maxage", "is not an integer or out of range"))
        case _:
            raise syntax_error()


def _positive(value: bytes, name: str, otherwise: str) -> int:
    number = integer(value, f"ERR {name} {otherwise}")
    if number <= 0:
        raise ReplyError(f"ERR {name} should be greater than 0")
    return number


async def _kill(ctx: CommandContext, wanted: Filter, *, spare_caller: bool) -> int:
    """The caller's own connection ends after the reply."""
    others = replace(wanted, except_id=ctx.client_id)
    killed = sum(await pages(ctx, kill, lambda start: Listed(others, start)))
    if not spare_caller and (wanted.ids is None or ctx.client_id in wanted.ids):
        caller = replace(wanted, ids=frozenset([ctx.client_id]))
        if ctx.worker.clients(**caller.arguments):
            killed += ctx.worker.kill_client(ctx.client_id, at_once=False)
    return killed


@command(
    "client|pause",
    arity=-3,
    flags=_CONTROL,
    group="connection",
    summary="Holds what all clients ask, or what they write, for some time.",
    since="3.0.0",
    syntax="timeout [WRITE | ALL]",
)
async def client_pause(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Every worker holds its own clients."""
    if len(args) > 2:
        raise unknown_subcommand("client", b"PAUSE")
    mode = args[1].upper() if len(args) == 2 else b"ALL"
    if mode not in (b"WRITE", b"ALL"):
        raise ReplyError("ERR CLIENT PAUSE mode must be WRITE or ALL")
    timeout_ms = milliseconds(args[0])
    if timeout_ms:
        until_ms = time.time_ns() // 1_000_000 + timeout_ms
        await ctx.broadcast(pause, PauseUntil(until_ms, mode == b"WRITE"))
    return OK


@command(
    "client|unpause",
    arity=2,
    flags=(*_CONTROL, "never_paused"),
    group="connection",
    summary="Ends CLIENT PAUSE.",
    since="6.2.0",
    complexity="O(N) for N held clients.",
)
async def client_unpause(ctx: CommandContext, args: list[bytes]) -> Reply:
    """On every worker."""
    await ctx.broadcast(unpause, None)
    return OK


@command(
    "client|unblock",
    arity=-3,
    flags=_CONTROL,
    group="connection",
    summary="Lets a client go on that waits in a blocking command.",
    since="5.0.0",
    syntax="client-id [TIMEOUT | ERROR]",
)
async def client_unblock(ctx: CommandContext, args: list[bytes]) -> Reply:
    """As if its time was over, or with an error."""
    if len(args) > 2:
        raise unknown_subcommand("client", b"UNBLOCK")
    reason = args[1].upper() if len(args) == 2 else b"TIMEOUT"
    if reason not in (b"TIMEOUT", b"ERROR"):
        raise ReplyError("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
    asked = Unblock(integer(args[0]), reason == b"ERROR")
    return int(any((await ctx.broadcast(unblock, asked)).values()))
