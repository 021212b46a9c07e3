"""CLUSTER: the workers of this node as the nodes of a cluster, each on its own port."""

import hashlib
from dataclasses import dataclass

from yggdrasil._core import HASH_SLOTS, ReplyError, Verbatim, key_slot
from yggdrasil.protocol.command import command, container
from yggdrasil.protocol.node import CommandContext, Here, Raw, question
from yggdrasil.protocol.reply import Reply, integer, raw, text
from yggdrasil.shards.slot_map import ShardNode, SlotMap

cluster = container("cluster", group="cluster", summary="Commands about the shards.", since="3.0.0", help_since="5.0.0")


@dataclass(frozen=True, slots=True)
class SlotKeys:
    """So many keys of a slot."""

    slot: int
    count: int


@question
def count_slot(here: Here, slot: int) -> int:
    """Keys of a slot of the worker's shard."""
    return here.worker.slot_len(slot)


@question
def slot_keys(here: Here, asked: SlotKeys) -> list[Raw]:
    """Some of them."""
    return here.worker.keys_in_slot(asked.slot, asked.count)


def _slot_map(ctx: CommandContext) -> SlotMap:
    """With the address under which the client has reached us: that is one it can reach."""
    client = ctx.caller.client()
    node = ctx.services.node
    host = node.hosts[0] if node.hosts else ""
    if client is not None and client["listener"] != "unix":
        host = client["laddr"].rpartition(":")[0].strip("[]")
    return SlotMap.of(ctx.worker, node, host)


def _own_id(ctx: CommandContext) -> str:
    return ctx.services.node.shard_ids[ctx.here.shard]


@command(
    "cluster|slots",
    arity=2,
    flags=("loading", "stale"),
    group="cluster",
    summary="Tells which worker has which hash slots.",
    since="3.0.0",
    complexity="O(N) for N shards.",
)
async def cluster_slots(ctx: CommandContext, args: list[bytes]) -> Reply:
    """First slot, last slot, and the node that has them."""
    return [
        [node.first_slot, node.last_slot, [raw(node.host), node.port, raw(node.id), dict[bytes, Reply]()]]
        for node in _slot_map(ctx).nodes
    ]


@command(
    "cluster|shards",
    arity=2,
    flags=("loading", "stale"),
    group="cluster",
    summary="Tells which worker has which hash slots, and how it is.",
    since="7.0.0",
    complexity="O(N) for N shards.",
)
async def cluster_shards(ctx: CommandContext, args: list[bytes]) -> Reply:
    """A map for each shard."""
    return [_shard(node) for node in _slot_map(ctx).nodes]


def _shard(node: ShardNode) -> Reply:
    slots: list[Reply] = [node.first_slot, node.last_slot]
    described: dict[bytes, Reply] = {
        b"id": raw(node.id),
        b"port": node.port,
        b"ip": raw(node.host),
        b"endpoint": raw(node.host),
        b"role": b"master",
        b"replication-offset": 0,
        b"health": b"online",
    }
    nodes: list[Reply] = [described]
    return {b"slots": slots, b"nodes": nodes}


@command(
    "cluster|nodes",
    arity=2,
    flags=("stale",),
    group="cluster",
    summary="Lists the workers as nodes of a cluster.",
    since="3.0.0",
    complexity="O(N) for N shards.",
)
async def cluster_nodes(ctx: CommandContext, args: list[bytes]) -> Reply:
    """One line each. There is no port of a cluster bus, hence 0."""
    own = _own_id(ctx)
    return Verbatim(
        "".join(
            f"{node.id} {node.host}:{node.port}@0 {'myself,' if node.id == own else ''}master - 0 0 {node.shard + 1} "
            f"connected {node.first_slot}-{node.last_slot}\n"
            for node in _slot_map(ctx).nodes
        )
    )


@command(
    "cluster|info",
    arity=2,
    flags=("stale",),
    group="cluster",
    summary="Tells how the cluster is.",
    since="3.0.0",
)
async def cluster_info(ctx: CommandContext, args: list[bytes]) -> Reply:
    """All slots are always served."""
    shards = ctx.worker.shards
    fields = {
        "cluster_enabled": 1,
        "cluster_state": "ok",
        "cluster_slots_assigned": HASH_SLOTS,
        "cluster_slots_ok": HASH_SLOTS,
        "cluster_slots_pfail": 0,
        "cluster_slots_fail": 0,
        "cluster_known_nodes": shards,
        "cluster_size": shards,
        "cluster_current_epoch": shards,
        "cluster_my_epoch": ctx.here.shard + 1,
        "cluster_stats_messages_sent": 0,
        "cluster_stats_messages_received": 0,
        "total_cluster_links_buffer_limit_exceeded": 0,
    }
    return Verbatim("".join(f"{name}:{value}\r\n" for name, value in fields.items()))


@command(
    "cluster|myid",
    arity=2,
    flags=("stale",),
    group="cluster",
    summary="Tells the identity of the worker that answers.",
    since="3.0.0",
)
async def cluster_myid(ctx: CommandContext, args: list[bytes]) -> Reply:
    """As in CLUSTER NODES."""
    return raw(_own_id(ctx))


@command(
    "cluster|myshardid",
    arity=2,
    flags=("stale",),
    group="cluster",
    summary="Tells the identity of the shard of the worker that answers.",
    since="7.2.0",
)
async def cluster_myshardid(ctx: CommandContext, args: list[bytes]) -> Reply:
    """It differs from that of the worker, though each has one shard."""
    return raw(hashlib.blake2b(_own_id(ctx).encode(), digest_size=20).hexdigest())


@command(
    "cluster|keyslot",
    arity=3,
    flags=("stale",),
    group="cluster",
    summary="Tells the hash slot of a key.",
    since="3.0.0",
    complexity="O(N) for N bytes of the key.",
    syntax="key",
)
async def cluster_keyslot(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Of its hash tag where it has one."""
    return key_slot(args[0])


@command(
    "cluster|countkeysinslot",
    arity=3,
    flags=("stale",),
    group="cluster",
    summary="Counts the keys of a hash slot.",
    since="3.0.0",
    syntax="slot",
)
async def cluster_countkeysinslot(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Asks its owner."""
    slot = integer(args[0])
    if not 0 <= slot < HASH_SLOTS:
        raise ReplyError("ERR Invalid slot")
    return await ctx.ask(ctx.worker.shard_of_slot(slot), count_slot, slot)


@command(
    "cluster|getkeysinslot",
    arity=4,
    flags=("stale",),
    group="cluster",
    summary="Gives some keys of a hash slot.",
    since="3.0.0",
    complexity="O(N) for N keys of the shard.",
    syntax="slot count",
)
async def cluster_getkeysinslot(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Asks its owner."""
    slot, count = integer(args[0]), integer(args[1])
    if not 0 <= slot < HASH_SLOTS or count < 0:
        raise ReplyError("ERR Invalid slot or number of keys")
    return await ctx.ask(ctx.worker.shard_of_slot(slot), slot_keys, SlotKeys(slot, count))


@command(
    "cluster|links",
    arity=2,
    flags=("stale",),
    group="cluster",
    summary="Lists links of a cluster bus. There is none: the workers share memory.",
    since="7.0.0",
)
async def cluster_links(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Nothing."""
    return []


@command(
    "cluster|replicas",
    arity=3,
    flags=("admin", "stale"),
    group="cluster",
    summary="Lists the replicas of a worker. There are none.",
    since="5.0.0",
    syntax="node-id",
)
async def cluster_replicas(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Nothing, for a node that there is."""
    _check_known(ctx, args[0])
    return []


@command(
    "cluster|count-failure-reports",
    arity=3,
    flags=("admin", "stale"),
    group="cluster",
    summary="Counts reports of a worker's failure. There are none: a dead one is replaced.",
    since="3.0.0",
    syntax="node-id",
)
async def cluster_count_failure_reports(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Nothing, for a node that there is."""
    _check_known(ctx, args[0])
    return 0


def _check_known(ctx: CommandContext, node_id: bytes) -> None:
    if _slot_map(ctx).find(text(node_id)) is None:
        raise ReplyError(f"ERR Unknown node {text(node_id)}")
