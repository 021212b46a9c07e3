"""The record of a run: one file of lines per process, which `explain` and `stats` read."""

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RUNS = "runs"
_RUNS_MAX = 200


class Recorder:
    """Appends what happens in this process to a file, which is made with the first line."""

    def __init__(self, root: Path, program: str) -> None:
        self._folder = root / RUNS
        self._program = program
        self._lock = threading.Lock()
        self._file: Any = None
        self.name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{socket.gethostname()[:40]}-{os.getpid()}"

    def record(self, event: str, **facts: Any) -> None:
        """Adds a line."""
        with self._lock:
            try:
                if self._file is None:
                    self._begin()
                self._write({"event": event, "time": time.time(), **facts})
            except OSError:
                # A run is worth more than its record.
                self._file = None

    def _begin(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = (self._folder / f"{self.name}.jsonl").open("a", buffering=1)
        self._write(
            {
                "event": "start",
                "time": time.time(),
                "program": self._program,
                "argv": sys.argv[:8],
                "host": socket.gethostname(),
                "rank": os.environ.get("RANK", ""),
            }
        )
        for old in sorted(self._folder.glob("*.jsonl"))[:-_RUNS_MAX]:
            old.unlink(missing_ok=True)

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")

    def close(self) -> None:
        """Ends the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None


@dataclass(frozen=True, slots=True)
class Run:
    """The record of one process."""

    name: str
    start: Mapping[str, Any]
    events: list[Mapping[str, Any]] = field(default_factory=list)

    def of(self, *names: str) -> Iterator[Mapping[str, Any]]:
        """Its events of these names."""
        return (event for event in self.events if event["event"] in names)


def read(root: Path) -> list[Run]:
    """All records, oldest first. A line that was cut by a kill is left out."""
    runs = []
    for file in sorted((root / RUNS).glob("*.jsonl")):
        lines = list(_lines(file))
        if lines and lines[0].get("event") == "start":
            runs.append(Run(file.stem, lines[0], lines[1:]))
    return runs


def _lines(file: Path) -> Iterator[Mapping[str, Any]]:
    with file.open(errors="replace") as text:
        for line in text:
            try:
                content = json.loads(line)
            except ValueError:
                continue
            if isinstance(content, dict) and isinstance(content.get("event"), str):
                yield content
