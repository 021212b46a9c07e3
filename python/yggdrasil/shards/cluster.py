"""CLUSTER: the workers of this node as the nodes of a cluster, each on its own port."""

import hashlib
from dataclasses import dataclass

from yggdrasil._core import HASH_SLOTS, ReplyError, Verbatim, key_slot
from yggdrasil.protocol.command import command, container
from yggdrasil.protocol.node import CommandContext, Here, Raw, question
from yggdrasil.protocol.reply import Reply, integer, raw, text
from yggdrasil.shards.slot_map import Entrance, ShardNode, SlotMap

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
    return SlotMap.of(ctx.worker, node, host, secure=client is not None and client["tls"])


def _entrance(ctx: CommandContext, slot_map: SlotMap) -> Entrance | None:
    """The node that a client of the common port has reached; a lone worker answers for itself there."""
    client = ctx.caller.client()
    node = ctx.services.node
    is_secure = client is not None and client["tls"]
    port = (node.tls_port if is_secure else node.port) or node.port or node.tls_port
    if ctx.worker.shards == 1 or not port or (client is not None and client["listener"] == "own"):
        return None
    master = slot_map.nodes[ctx.here.shard]
    return Entrance(node.run_id, master.host, port, master)


def _own_id(ctx: CommandContext) -> str:
    entrance = _entrance(ctx, _slot_map(ctx))
    return ctx.services.node.shard_ids[ctx.here.shard] if entrance is None else entrance.id


def _entrance_line(entrance: Entrance) -> str:
    master = entrance.master
    return (
        f"{entrance.id} {entrance.host}:{entrance.port}@0 myself,slave {master.id} 0 0 {master.shard + 1} connected\n"
    )


def _worker_line(node: ShardNode, *, is_own: bool) -> str:
    flags = "myself,master" if is_own else "master"
    return (
        f"{node.id} {node.host}:{node.port}@0 {flags} - 0 0 {node.shard + 1} connected "
        f"{node.first_slot}-{node.last_slot}\n"
    )


@command(
    "cluster|slots",
    arity=2,
    flags=("loading", "stale"),
    group="cluster",
    summary="Tells which worker has which hash slots.",
    since="3.0.0",
    complexity="O(N) for N shards.",
    tips=("nondeterministic_output",),
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
    tips=("nondeterministic_output",),
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
    tips=("nondeterministic_output",),
)
async def cluster_nodes(ctx: CommandContext, args: list[bytes]) -> Reply:
    """One line each. There is no port of a cluster bus, hence 0."""
    slot_map = _slot_map(ctx)
    entrance = _entrance(ctx, slot_map)
    own = None if entrance is not None else ctx.here.shard
    lines = [_worker_line(node, is_own=node.shard == own) for node in slot_map.nodes]
    return Verbatim("".join(lines if entrance is None else [_entrance_line(entrance), *lines]))


@command(
    "cluster|info",
    arity=2,
    flags=("stale",),
    group="cluster",
    summary="Tells how the cluster is.",
    since="3.0.0",
    tips=("nondeterministic_output",),
)
async def cluster_info(ctx: CommandContext, args: list[bytes]) -> Reply:
    """All slots are always served."""
    shards = ctx.worker.shards
    known = shards if _entrance(ctx, _slot_map(ctx)) is None else shards + 1
    fields = {
        "cluster_enabled": 1,
        "cluster_state": "ok",
        "cluster_slots_assigned": HASH_SLOTS,
        "cluster_slots_ok": HASH_SLOTS,
        "cluster_slots_pfail": 0,
        "cluster_slots_fail": 0,
        "cluster_known_nodes": known,
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
    summary="Tells the identity of the worker that answers, or of the common port.",
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
    tips=("nondeterministic_output",),
)
async def cluster_myshardid(ctx: CommandContext, args: list[bytes]) -> Reply:
    """It differs from that of the worker, though each has one shard."""
    own = ctx.services.node.shard_ids[ctx.here.shard]
    return raw(hashlib.blake2b(own.encode(), digest_size=20).hexdigest())


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
    tips=("nondeterministic_output",),
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
    tips=("nondeterministic_output",),
)
async def cluster_links(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Nothing."""
    return []


@command(
    "cluster|replicas",
    arity=3,
    flags=("admin", "stale"),
    group="cluster",
    summary="Lists the replicas of a worker: none but the common port.",
    since="5.0.0",
    syntax="node-id",
    tips=("nondeterministic_output",),
)
async def cluster_replicas(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Lines as in CLUSTER NODES."""
    return _replicas(ctx, args[0])


@command(
    "cluster|slaves",
    arity=3,
    flags=("admin", "stale"),
    group="cluster",
    summary="The old name of CLUSTER REPLICAS.",
    since="3.0.0",
    syntax="node-id",
    tips=("nondeterministic_output",),
)
async def cluster_slaves(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Lines as in CLUSTER NODES."""
    return _replicas(ctx, args[0])


def _replicas(ctx: CommandContext, node_id: bytes) -> Reply:
    _check_known(ctx, node_id)
    entrance = _entrance(ctx, _slot_map(ctx))
    if entrance is None:
        return []
    if text(node_id) == entrance.id:
        raise ReplyError("ERR The specified node is not a master")
    return [raw(_entrance_line(entrance).rstrip())] if text(node_id) == entrance.master.id else []


@command(
    "cluster|count-failure-reports",
    arity=3,
    flags=("admin", "stale"),
    group="cluster",
    summary="Counts reports of a worker's failure. There are none: a dead one is replaced.",
    since="3.0.0",
    syntax="node-id",
    tips=("nondeterministic_output",),
)
async def cluster_count_failure_reports(ctx: CommandContext, args: list[bytes]) -> Reply:
    """Nothing, for a node that there is."""
    _check_known(ctx, args[0])
    return 0


def _check_known(ctx: CommandContext, node_id: bytes) -> None:
    name = text(node_id)
    if name != _own_id(ctx) and _slot_map(ctx).find(name) is None:
        raise ReplyError(f"ERR Unknown node {name}")
