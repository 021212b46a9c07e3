"""SLOWLOG: requests that took long, on all workers."""

from dataclasses import dataclass

from yggdrasil._core import ReplyError
from yggdrasil.protocol.command import command, container
from yggdrasil.protocol.families.client import Filter, names
from yggdrasil.protocol.node import CommandContext, Here, Raw, question
from yggdrasil.protocol.reply import OK, Reply, integer, raw, unknown_subcommand

_FLAGS = ("admin", "loading", "stale")
_SHOWN_DEFAULT = 10

slowlog = container(
    "slowlog", group="server", summary="Commands about requests that took long.", since="2.2.12", help_since="6.2.0"
)


@dataclass(frozen=True, slots=True)
class Slow:
    """A request that took long."""

    id: int
    time_us: int
    microseconds: int
    args: list[Raw]
    client_id: int
    address: str
    name: Raw


@question
def slow_requests(here: Here, count_max: int) -> list[Slow]:
    """The newest of this worker, newest first; -1 for all. Their ids rise over all workers."""
    entries = here.worker.slowlog()
    shown = entries if count_max < 0 else entries[:count_max]
    return [Slow(*entry) for entry in shown]


@question
def slow_count(here: Here, _asked: None) -> int:
    """How many there are here."""
    return len(here.worker.slowlog())


@question
def slow_reset(here: Here, _asked: None) -> None:
    """Forgets them."""
    here.worker.slowlog_reset()


@command(
    "slowlog|get",
    arity=-2,
    flags=_FLAGS,
    group="server",
    summary="Shows the latest requests that took long, with time, duration, arguments and client.",
    since="2.2.12",
    complexity="O(N) for N entries.",
    syntax="[count]",
    tips=("request_policy:all_nodes", "nondeterministic_output"),
)
async def slowlog_get(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Newest first; ten without a count, all for -1."""
    if len(args) > 1:
        raise unknown_subcommand("slowlog", b"GET")
    error = "ERR count should be greater than or equal to -1"
    count = integer(args[0], error) if args else _SHOWN_DEFAULT
    if count < -1:
        raise ReplyError(error)
    count_max = _kept_max(ctx)
    found = [entry for answer in (await ctx.broadcast(slow_requests, count)).values() for entry in answer]
    found.sort(key=lambda entry: entry.id, reverse=True)
    shown = found[: count_max if count < 0 else min(count, count_max)]
    # An owner knows the clients of other workers by their ids alone.
    strangers = frozenset(entry.client_id for entry in shown if not entry.address)
    known: dict[int, tuple[str, str]] = {}
    if strangers:
        for answer in (await ctx.broadcast(names, Filter(ids=strangers))).values():
            known.update(answer)
    return [_shown(entry, known) for entry in shown]


def _shown(entry: Slow, known: dict[int, tuple[str, str]]) -> list[Reply]:
    address, name = known.get(entry.client_id, (entry.address, None))
    shown_name = entry.name if name is None else raw(name)
    return [entry.id, entry.time_us // 1_000_000, entry.microseconds, entry.args, raw(address), shown_name]


def _kept_max(ctx: CommandContext) -> int:
    """Each worker keeps that many; together they show no more."""
    return int(ctx.services.config_get(["slowlog-max-len"])["slowlog-max-len"])


@command(
    "slowlog|len",
    arity=2,
    flags=_FLAGS,
    group="server",
    summary="Counts the requests that SLOWLOG GET shows.",
    since="2.2.12",
    tips=("request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"),
)
async def slowlog_len(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Over all workers."""
    return min(sum((await ctx.broadcast(slow_count, None)).values()), _kept_max(ctx))


@command(
    "slowlog|reset",
    arity=2,
    flags=_FLAGS,
    group="server",
    summary="Forgets the requests that took long.",
    since="2.2.12",
    complexity="O(N) for N entries.",
    tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
)
async def slowlog_reset(ctx: CommandContext, args: list[bytes]) -> Reply:
    """On all workers."""
    await ctx.broadcast(slow_reset, None)
    return OK
