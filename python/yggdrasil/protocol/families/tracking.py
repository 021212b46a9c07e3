"""CLIENT TRACKING: clients that keep what they have read are told when it is another."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from yggdrasil._core import ReplyError
from yggdrasil.protocol.command import command
from yggdrasil.protocol.node import CommandContext, Here, question
from yggdrasil.protocol.reply import OK, Reply, integer, syntax_error, text

if TYPE_CHECKING:
    from yggdrasil._core import _Caching

_SWITCH_BCAST = (
    "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a "
    "different mode."
)
_SWITCH_OPTED = (
    "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a "
    "different mode."
)


@dataclass(slots=True)
class Options:
    """What CLIENT TRACKING ON asks for."""

    redirect: int = 0
    """A client that hears instead; 0 for none."""
    bcast: bool = False
    optin: bool = False
    optout: bool = False
    noloop: bool = False
    prefixes: list[bytes] = field(default_factory=list)

    @property
    def caching(self) -> "_Caching":
        """The one way of these."""
        return "bcast" if self.bcast else "optin" if self.optin else "optout" if self.optout else "all"


@question
def place_of_client(here: Here, client_id: int) -> int | None:
    """Where a client is, if it is here."""
    return here.worker.place_of_client(client_id)


@question
def hear_broadcasts(here: Here, _asked: None) -> None:
    """Has all changes told to the workers with clients that hear of prefixes."""
    here.worker.hear_broadcasts()


@command(
    "client|tracking",
    arity=-3,
    flags=("noscript", "loading", "stale"),
    group="connection",
    summary="Has this client told when what it keeps of its reads, or of prefixes, is another.",
    since="6.0.0",
    complexity="O(1)",
    syntax="<ON | OFF> [REDIRECT client-id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
)
async def client_tracking(ctx: CommandContext, args: list[bytes]) -> Reply:
    """The owners of keys remember who reads; of prefixes, every worker has to know before this is confirmed."""
    options, redirect = await _options(ctx, args[1:])
    match args[0].upper():
        case b"ON":
            _check(options, ctx.caller.tracking())
            if options.bcast:
                _, known = ctx.caller.tracking() or ("bcast", [])
                options.prefixes = sorted({*known, *(options.prefixes or [b""])})
            ctx.caller.start_tracking(
                options.caching, no_loop=options.noloop, redirect=redirect, prefixes=options.prefixes
            )
            if options.bcast:
                await ctx.broadcast(hear_broadcasts, None)
        case b"OFF":
            ctx.caller.end_tracking()
        case _:
            raise syntax_error()
    return OK


async def _options(ctx: CommandContext, args: list[bytes]) -> tuple[Options, tuple[int, int, int] | None]:
    options, redirect = Options(), None
    rest = iter(args)
    for name in rest:
        match name.upper():
            case b"REDIRECT" if (value := next(rest, None)) is not None:
                if options.redirect:
                    raise ReplyError("ERR A client can only redirect to a single other client")
                options.redirect = integer(value)
                redirect = await _found(ctx, options.redirect)
            case b"PREFIX" if (value := next(rest, None)) is not None:
                options.prefixes.append(value)
            case b"BCAST":
                options.bcast = True
            case b"OPTIN":
                options.optin = True
            case b"OPTOUT":
                options.optout = True
            case b"NOLOOP":
                options.noloop = True
            case _:
                raise syntax_error()
    return options, redirect


async def _found(ctx: CommandContext, client_id: int) -> tuple[int, int, int]:
    places = await ctx.broadcast(place_of_client, client_id) if client_id > 0 else {}
    for shard, place in places.items():
        if place is not None:
            return shard, place, client_id
    raise ReplyError("ERR The client ID you want redirect to does not exist")


def _check(options: Options, before: "tuple[_Caching, list[bytes]] | None") -> None:
    """Whether the options fit each other, and how the client is told now."""
    if options.prefixes and not options.bcast:
        raise ReplyError("ERR PREFIX option requires BCAST mode to be enabled")
    caching, known = before or (None, [])
    if before and options.bcast != (caching == "bcast"):
        raise ReplyError(_SWITCH_BCAST)
    if options.bcast and (options.optin or options.optout):
        raise ReplyError("ERR OPTIN and OPTOUT are not compatible with BCAST")
    if options.optin and options.optout:
        raise ReplyError("ERR You can't specify both OPTIN mode and OPTOUT mode")
    if (options.optin and caching == "optout") or (options.optout and caching == "optin"):
        raise ReplyError(_SWITCH_OPTED)
    for place, prefix in enumerate(options.prefixes):
        _check_overlap(prefix, known, "an existing prefix")
        _check_overlap(prefix, options.prefixes[place + 1 :], "another provided prefix")


def _check_overlap(prefix: bytes, others: list[bytes], which: str) -> None:
    for other in others:
        if prefix.startswith(other) or other.startswith(prefix):
            raise ReplyError(
                f"ERR Prefix '{text(prefix)}' overlaps with {which} '{text(other)}'. Prefixes for a single client must "
                "not overlap."
            )
