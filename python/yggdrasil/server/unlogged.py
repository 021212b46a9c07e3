"""Runs without a log between runs with one: what they have kept does not go with the log that is older."""

import time
from pathlib import Path
from typing import Annotated, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field

from yggdrasil.server.errors import StartError
from yggdrasil.server.files import read_record, replace_file

log = structlog.stdlib.get_logger(__name__)

FILE_NAME = "unlogged.json"


class _Mark(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = 1
    since_ms: Annotated[int, Field(ge=0)]
    """When the node first began without the log, in Unix time."""


def mark_unlogged(logs: Path) -> None:
    """Remembers that a run begins whose changes are not in the logs there; StartError where that cannot be."""
    if not logs.exists():
        return
    log.warning("the log is not read, and nothing is added to it, as ack is none", directory=str(logs))
    try:
        if _read(logs) is None:
            mark = _Mark(since_ms=time.time_ns() // 1_000_000)
            replace_file(logs / FILE_NAME, f"{mark.model_dump_json()}\n".encode())
    except OSError as error:
        raise StartError(f"{logs} cannot be used: {error.strerror}; see option dir") from None


def take_up(logs: Path, snapshot: str = "", ended_ms: int = 0) -> None:
    """Goes on with logs; StartError where the newest snapshot is from a run that they know nothing of."""
    try:
        mark = _read(logs)
        if mark is None:
            return
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(mark.since_ms / 1000))
        if ended_ms >= mark.since_ms:
            raise StartError(
                f"snapshot {snapshot} was taken while ack was none, and the log in {logs} ends before that, at "
                f"{since}: remove {logs} to start with the snapshot, or the snapshots since then to start with the log"
            )
        log.warning("keys are as the log has them: the node has run without it since", since=since)
        (logs / FILE_NAME).unlink()
    except OSError as error:
        raise StartError(f"{logs} cannot be used: {error.strerror}; see option dir") from None


def _read(logs: Path) -> _Mark | None:
    return read_record(logs / FILE_NAME, _Mark, "since when there was no log")
