"""MEMORY: what the node needs, and what a key needs."""

from dataclasses import dataclass

from yggdrasil._core import Verbatim
from yggdrasil.protocol.command import command, container
from yggdrasil.protocol.memory_use import MemoryUse, memory_use
from yggdrasil.protocol.node import CommandContext, Here, Raw, question
from yggdrasil.protocol.reply import OK, Reply, human_bytes, integer, raw, syntax_error

_FRAGMENTATION_HIGH = 1.5
_HEAP_SHARE_HIGH = 0.1
_SMALL_BYTES = 5 * 1024 * 1024

memory = container("memory", group="server", summary="Commands about memory.", since="4.0.0", help_since="4.0.0")


@dataclass(frozen=True, slots=True)
class KeyName:
    """A key of the worker's shard."""

    db: int
    key: Raw


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What a key takes and how it is kept."""

    bytes: int
    length: int
    encoding: str
    access: int
    idle_s: int
    version: int


@question
def describe_key(here: Here, asked: KeyName) -> KeyInfo | None:
    """None for a key that does not exist."""
    found = here.worker.describe_key(asked.db, asked.key)
    if found is None:
        return None
    return KeyInfo(found["bytes"], found["length"], found["encoding"], found["access"], found["idle"], found["version"])


@question
def purge(here: Here, _asked: None) -> None:
    """Gives free memory of this shard back."""
    here.worker.purge()


async def key_info(ctx: CommandContext, key: bytes) -> KeyInfo | None:
    """Asks the owner of a key."""
    return await ctx.ask(ctx.worker.owner_of(key), describe_key, KeyName(ctx.db, key))


@command(
    "memory|usage",
    arity=-3,
    flags=("readonly",),
    key_uses=(("RO",),),
    group="server",
    summary="Tells how many bytes a key takes with its value.",
    since="4.0.0",
    syntax="key [SAMPLES samples]",
    keys=(2, 2, 1),
)
async def memory_usage(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Samples are for collections; a string is measured whole."""
    options = args[1:]
    while options:
        if options[0].upper() != b"SAMPLES" or len(options) < 2:
            raise syntax_error()
        if integer(options[1]) < 0:
            raise syntax_error()
        options = options[2:]
    found = await key_info(ctx, args[0])
    return None if found is None else found.bytes


@command(
    "memory|stats",
    arity=2,
    group="server",
    summary="Tells what the memory of the node is used for.",
    since="4.0.0",
    tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
)
async def memory_stats(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Over all shards."""
    use = await memory_use(ctx)
    stats: dict[str, Reply] = {
        "peak.allocated": use.peak,
        "total.allocated": use.total,
        "startup.allocated": use.startup,
        "replication.backlog": 0,
        "clients.slaves": 0,
        "clients.normal": use.sessions,
        "aof.buffer": 0,
        "overhead.db.hashtable.lut": use.index,
        "overhead.total": use.overhead,
        "keys.count": use.keys,
        "keys.bytes-per-key": max(use.total - use.startup, 0) // use.keys if use.keys else 0,
        "dataset.bytes": use.dataset,
        "dataset.percentage": use.dataset_percentage,
        "peak.percentage": 100 * use.total / max(use.peak, 1),
        "allocator.allocated": use.dataset + use.index,
        "allocator.active": use.entries + use.index,
        "allocator.resident": use.used,
        "allocator-fragmentation.ratio": use.entries / max(use.dataset, 1),
        "allocator-fragmentation.bytes": use.entries - use.dataset,
        "heap.bytes": use.heap,
        "heap.free-bytes": use.heap_free,
        "maxmemory.for-keys": use.limit,
        "fragmentation": use.resident / max(use.total, 1),
        "fragmentation.bytes": use.resident - use.total,
    }
    for shard, shard_use in use.shards.items():
        stats[f"shard.{shard}"] = {raw(name.replace("_", ".")): count for name, count in shard_use.items()}
    return {raw(name): value for name, value in stats.items()}


@command(
    "memory|doctor",
    arity=2,
    group="server",
    summary="Says in words how the memory is.",
    since="4.0.0",
    tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
)
async def memory_doctor(ctx: CommandContext, args: list[bytes]) -> Reply:
    """What is worth knowing, or that there is nothing."""
    limit = int(ctx.services.config_get(["maxmemory"])["maxmemory"])
    return Verbatim(_diagnosis(await memory_use(ctx), limit))


def _diagnosis(use: MemoryUse, maxmemory: int) -> str:
    in_use = use.heap - use.heap_free
    taken = [_taken(use, maxmemory)] if maxmemory and in_use > _HEAP_SHARE_HIGH * maxmemory else []
    if use.dataset < _SMALL_BYTES and not taken:
        return "There is hardly any data in this node: nothing can be said about its memory yet.\n"
    found = [*taken]
    if use.limit and use.used > 0.9 * use.limit:
        found.append(
            f"* {human_bytes(use.used)} of maxmemory ({human_bytes(use.limit)}) are in use; writes are refused at it."
        )
    if use.entries > _FRAGMENTATION_HIGH * use.dataset:
        found.append(f"* {human_bytes(use.entries - use.dataset)} of the pages that hold entries are free.")
    if use.used - use.entries - use.index > use.dataset:
        found.append("* More is kept for reuse than is used: MEMORY PURGE gives it back to the system.")
    if use.sessions > use.dataset:
        found.append(f"* Buffers of clients take {human_bytes(use.sessions)}, more than the data.")
    if use.peak > _FRAGMENTATION_HIGH * use.total:
        found.append(f"* There were {human_bytes(use.peak)} in use once; now it is {human_bytes(use.total)}.")
    return "\n".join(found) + "\n" if found else "The memory of this node is in good order.\n"


def _taken(use: MemoryUse, maxmemory: int) -> str:
    """Where the part of maxmemory went that keys cannot have."""
    return (
        f"* The processes of the workers take {human_bytes(use.heap - use.heap_free)} of maxmemory "
        f"({human_bytes(maxmemory)}) for clients, requests and replies: keys may have {human_bytes(use.limit)}."
    )


@command(
    "memory|malloc-stats",
    arity=2,
    group="server",
    summary="Shows what the arenas of the shards are used for.",
    since="4.0.0",
    tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
)
async def memory_malloc_stats(ctx: CommandContext, args: list[bytes]) -> Reply:
    """A table, one line a shard."""
    return Verbatim((await memory_use(ctx)).table())


@command(
    "memory|purge",
    arity=2,
    group="server",
    summary="Gives memory that is kept for later back to the system.",
    since="4.0.0",
    tips=("request_policy:all_shards", "response_policy:all_succeeded"),
)
async def memory_purge(ctx: CommandContext, args: list[bytes]) -> Reply:
    """On every shard."""
    await ctx.broadcast(purge, None)
    return OK
