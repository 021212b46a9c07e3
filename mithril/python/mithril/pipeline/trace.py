"""A trace of a run, which Perfetto and chrome://tracing show: what each thread did when, and the memory in use."""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

_EVENTS_MAX = 1_000_000


class Trace:
    """Events in memory, up to a million; `write` makes the file."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._events: list[dict[str, Any]] = []
        self._names: dict[int, str] = {}
        self._dropped = 0

    def span(self, name: str, start: float, seconds: float, **facts: Any) -> None:
        """Notes that this thread did something, from a time of `time.perf_counter` on."""
        thread = threading.get_native_id()
        self._names.setdefault(thread, threading.current_thread().name)
        self._add({"name": name, "ph": "X", "ts": start * 1e6, "dur": seconds * 1e6, "tid": thread, "args": facts})

    def memory(self, used: int) -> None:
        """Notes the memory in use."""
        self._add({"name": "memory", "ph": "C", "ts": time.perf_counter() * 1e6, "tid": 0, "args": {"bytes": used}})

    def write(self) -> None:
        """Writes the file; an earlier one is replaced."""
        process = os.getpid()
        names = [
            {"name": "thread_name", "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}
            for thread, name in list(self._names.items())
        ]
        events = [*names, *({**event, "pid": process} for event in list(self._events))]
        facts = {"dropped_events": self._dropped}
        temporary = self._path.with_name(self._path.name + ".new")
        temporary.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms", "otherData": facts}))
        temporary.replace(self._path)

    def _add(self, event: dict[str, Any]) -> None:
        if len(self._events) < _EVENTS_MAX:
            self._events.append(event)
        else:
            self._dropped += 1
