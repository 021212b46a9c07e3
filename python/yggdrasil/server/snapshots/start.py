"""The snapshot that a node begins with."""

import json

from yggdrasil._core import ConfigError, YggdrasilError
from yggdrasil.server.config import Config
from yggdrasil.server.errors import StartError
from yggdrasil.server.messages import SnapshotState
from yggdrasil.server.snapshots.places import open_store


def newest_snapshot(config: Config, node: str) -> SnapshotState:
    """What is known of the newest snapshot of the node.

    StartError where that cannot be found out: a node that began without it would seem to have lost its keys.
    """
    try:
        found = open_store(config).newest(node)
    except ConfigError as error:
        raise StartError(f"{error}; see option snapshot-url") from None
    except YggdrasilError as error:
        raise StartError(f"snapshots cannot be found: {error}; see option snapshot-url") from None
    if found is None:
        return SnapshotState()
    row = json.loads(found)
    if len(row["shards"]) != config.node.shards:
        raise StartError(
            f"snapshot {row['id']} is one of {len(row['shards'])} shards, and this node is to have "
            f"{config.node.shards}; see option shards"
        )
    return SnapshotState(
        id=row["id"],
        ended_ms=row["ended_ms"],
        keys=row["keys"],
        bytes=row["bytes"],
        new_bytes=row["new_bytes"],
        numbers=tuple(shard["end"] for shard in row["shards"]),
    )
