"""PUBSUB: who listens, over all workers."""

from collections import Counter
from dataclasses import dataclass

from yggdrasil.protocol.command import command, container
from yggdrasil.protocol.node import CommandContext, Here, Raw, question
from yggdrasil.protocol.reply import Reply, unknown_subcommand

_FLAGS = ("pubsub", "loading", "stale")

pubsub = container("pubsub", group="pubsub", summary="Commands about who listens.", since="2.8.0", help_since="6.2.0")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which channels."""

    sharded: bool
    pattern: Raw | None = None


@question
def channels(here: Here, wanted: Wanted) -> list[tuple[Raw, int]]:
    """Channels of the clients here, and how many of them listen."""
    return here.worker.channels(wanted.pattern, wanted.sharded)


@question
def patterns(here: Here, _asked: None) -> list[Raw]:
    """Patterns of the clients here."""
    return here.worker.patterns()


async def _listeners(ctx: CommandContext, wanted: Wanted) -> Counter[bytes]:
    total: Counter[bytes] = Counter()
    for answer in (await ctx.broadcast(channels, wanted)).values():
        total.update(dict(answer))
    return total


async def _names(ctx: CommandContext, args: list[bytes], *, sharded: bool) -> Reply:
    if len(args) > 1:
        raise unknown_subcommand("pubsub", b"SHARDCHANNELS" if sharded else b"CHANNELS")
    return sorted(await _listeners(ctx, Wanted(sharded, *args)))


async def _counts(ctx: CommandContext, args: list[bytes], *, sharded: bool) -> Reply:
    total = await _listeners(ctx, Wanted(sharded)) if args else Counter[bytes]()
    return [part for channel in args for part in (channel, total[channel])]


@command(
    "pubsub|channels",
    arity=-2,
    flags=_FLAGS,
    group="pubsub",
    summary="Lists the channels that somebody listens to.",
    since="2.8.0",
    complexity="O(N) for N channels.",
    syntax="[pattern]",
)
async def pubsub_channels(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Each once, whichever workers its listeners are connected to."""
    return await _names(ctx, args, sharded=False)


@command(
    "pubsub|shardchannels",
    arity=-2,
    flags=_FLAGS,
    group="pubsub",
    summary="Lists the sharded channels that somebody listens to.",
    since="7.0.0",
    complexity="O(N) for N channels.",
    syntax="[pattern]",
)
async def pubsub_shardchannels(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Each once."""
    return await _names(ctx, args, sharded=True)


@command(
    "pubsub|numsub",
    arity=-2,
    flags=_FLAGS,
    group="pubsub",
    summary="Counts who listens to channels, patterns aside.",
    since="2.8.0",
    complexity="O(N) for N channels.",
    syntax="[channel [channel ...]]",
)
async def pubsub_numsub(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Channel and count by turns."""
    return await _counts(ctx, args, sharded=False)


@command(
    "pubsub|shardnumsub",
    arity=-2,
    flags=_FLAGS,
    group="pubsub",
    summary="Counts who listens to sharded channels.",
    since="7.0.0",
    complexity="O(N) for N channels.",
    syntax="[shardchannel [shardchannel ...]]",
)
async def pubsub_shardnumsub(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Channel and count by turns."""
    return await _counts(ctx, args, sharded=True)


@command(
    "pubsub|numpat",
    arity=2,
    flags=_FLAGS,
    group="pubsub",
    summary="Counts the patterns that somebody listens to.",
    since="2.8.0",
)
async def pubsub_numpat(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Patterns, not clients."""
    found = await ctx.broadcast(patterns, None)
    return len(set().union(*found.values()))
