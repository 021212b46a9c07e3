"""Which shard has which hash slots, and how a client reaches it."""

from dataclasses import dataclass

from yggdrasil._core import Worker
from yggdrasil.protocol.services import Node


@dataclass(frozen=True, slots=True)
class ShardNode:
    """A shard as a node of the cluster."""

    shard: int
    id: str
    host: str
    port: int
    first_slot: int
    last_slot: int


@dataclass(frozen=True, slots=True)
class Entrance:
    """The common port as a node of the cluster: a replica of the worker behind a connection to it.

    Managers such as `redis-cli --cluster` take the node called `myself` for the address that they have reached. Were
    that a worker, they would ask the common port, which answers for all shards, in its place.
    """

    id: str
    host: str
    port: int
    master: ShardNode


@dataclass(frozen=True, slots=True)
class SlotMap:
    """All shards, in the order of their slots."""

    nodes: tuple[ShardNode, ...]

    @classmethod
    def of(cls, worker: Worker, node: Node, host: str, *, secure: bool) -> "SlotMap":
        """As a client sees it that reaches the node under this host, and perhaps by TLS."""
        plain, by_tls = node.worker_ports, node.tls_worker_ports
        ports = (by_tls or plain if secure else plain or by_tls) or (0,) * worker.shards
        return cls(
            tuple(
                ShardNode(shard, shard_id, host, port, *worker.slots_of_shard(shard))
                for shard, (shard_id, port) in enumerate(zip(node.shard_ids, ports, strict=True))
            )
        )

    def find(self, node_id: str) -> ShardNode | None:
        """By identity."""
        return next((node for node in self.nodes if node.id == node_id), None)
