"""Changes of the cluster, which there are none of: a node is the whole cluster, and its shards have fixed slots."""

from yggdrasil.protocol.command import Command
from yggdrasil.protocol.unavailable import unavailable

_FLAGS = ("admin", "stale", "no_async_loading")
_FIXED_SLOTS = "the workers of a node share all slots evenly; their number is the option shards"
_ONE_NODE = "a node is a cluster of its own workers, which no other node can join; MIGRATE moves keys to another node"
_NO_FOLLOWERS = "a shard has no replicas; a worker that dies is replaced by itself"
_NO_EPOCHS = "the slots of a node do not change, so there is nothing to number"


def _unavailable(
    name: str, arity: int, since: str, instead: str, syntax: str = "", tips: tuple[str, ...] = ()
) -> Command:
    return unavailable(
        f"cluster|{name}",
        arity=arity,
        flags=_FLAGS,
        group="cluster",
        since=since,
        instead=instead,
        syntax=syntax,
        tips=tips,
    )


slots = (
    _unavailable("addslots", -3, "3.0.0", _FIXED_SLOTS, "slot [slot ...]"),
    _unavailable("addslotsrange", -4, "7.0.0", _FIXED_SLOTS, "start-slot end-slot [start-slot end-slot ...]"),
    _unavailable("delslots", -3, "3.0.0", _FIXED_SLOTS, "slot [slot ...]"),
    _unavailable("delslotsrange", -4, "7.0.0", _FIXED_SLOTS, "start-slot end-slot [start-slot end-slot ...]"),
    _unavailable("flushslots", 2, "3.0.0", _FIXED_SLOTS),
    _unavailable(
        "setslot",
        -4,
        "3.0.0",
        _FIXED_SLOTS,
        "slot <IMPORTING node-id | MIGRATING node-id | NODE node-id | STABLE>",
    ),
)
nodes = (
    _unavailable("meet", -4, "3.0.0", _ONE_NODE, "ip port [cluster-bus-port]"),
    _unavailable("forget", 3, "3.0.0", _ONE_NODE, "node-id"),
    unavailable(
        "cluster|reset",
        arity=-2,
        flags=("admin", "noscript", "stale"),
        group="cluster",
        since="3.0.0",
        instead="there is no other node to forget; FLUSHALL removes all keys",
        syntax="[HARD | SOFT]",
    ),
    _unavailable(
        "saveconfig", 2, "3.0.0", "what a node is among others does not change; CONFIG REWRITE writes options"
    ),
)
followers = (
    _unavailable("replicate", 3, "3.0.0", _NO_FOLLOWERS, "node-id"),
    _unavailable("failover", -2, "3.0.0", _NO_FOLLOWERS, "[FORCE | TAKEOVER]"),
)
epochs = (
    _unavailable("bumpepoch", 2, "3.0.0", _NO_EPOCHS, tips=("nondeterministic_output",)),
    _unavailable("set-config-epoch", 3, "3.0.0", _NO_EPOCHS, "config-epoch"),
)
