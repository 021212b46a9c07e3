"""What a node begins with: the newest snapshot that its logs go on from, and these logs."""

import json
from dataclasses import dataclass
from typing import Any

import structlog

from yggdrasil._core import ConfigError, YggdrasilError
from yggdrasil.server.config import Config
from yggdrasil.server.errors import StartError
from yggdrasil.server.log_layout import LogLayout, open_layout
from yggdrasil.server.log_place import logs_of
from yggdrasil.server.messages import SnapshotState
from yggdrasil.server.snapshots.places import open_store
from yggdrasil.server.unlogged import mark_unlogged, take_up

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a node begins with."""

    layout: LogLayout | None
    """Its logs; None where it keeps none."""
    snapshots: SnapshotState
    """The newest snapshot of its shards."""
    snapshot_before: str = ""
    """The newest snapshot of another number of shards, whose keys move; empty for none."""


def find_beginning(config: Config, node: str) -> Beginning:
    """Where the keys of a node are.

    StartError where that cannot be found out: a node that began without them would seem to have lost them.
    """
    rows = _rows(config, node)
    logs = logs_of(config.directory)
    if not config.has_log:
        mark_unlogged(logs)
        return Beginning(None, _state(rows[0]) if rows else SnapshotState())
    newest = (rows[0]["generation"], len(rows[0]["shards"])) if rows else None
    if rows:
        take_up(logs, rows[0]["id"], rows[0]["ended_ms"])
    else:
        take_up(logs)
    layout = open_layout(logs, config.node.shards, newest)
    usable = [row for row in rows if layout.begins_with(row["generation"], len(row["shards"]))]
    if len(usable) < len(rows) and (not usable or usable[0] is not rows[0]):
        log.info("a snapshot is of other logs than those in force", id=rows[0]["id"])
    if not usable:
        return Beginning(layout, SnapshotState())
    if layout.before is not None:
        return Beginning(layout, SnapshotState(), usable[0]["id"])
    return Beginning(layout, _state(usable[0]))


def newest_snapshot(config: Config, node: str, generation: int) -> str:
    """The newest snapshot that logs of a generation go on from; empty for none."""
    usable = (row["id"] for row in _rows(config, node) if row["generation"] == generation)
    return next(usable, "")


def _rows(config: Config, node: str) -> list[dict[str, Any]]:
    """The readable snapshots of the node, the newest first."""
    try:
        rows = json.loads(open_store(config).list())
    except ConfigError as error:
        raise StartError(f"{error}; see option snapshot-url") from None
    except YggdrasilError as error:
        raise StartError(f"snapshots cannot be found: {error}; see option snapshot-url") from None
    return [row for row in reversed(rows) if "fault" not in row and row["node"] == node]


def _state(row: dict[str, Any]) -> SnapshotState:
    return SnapshotState(
        id=row["id"],
        ended_ms=row["ended_ms"],
        keys=row["keys"],
        bytes=row["bytes"],
        new_bytes=row["new_bytes"],
        numbers=tuple(shard["end"] for shard in row["shards"]),
    )
