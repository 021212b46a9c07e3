"""Figures over the recorded runs, by framework and host."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from mithril.cache.runs import Run

_HITS = ("local", "shared", "prefetched")


@dataclass(slots=True)
class Figures:
    """Counts of requests, and seconds."""

    hits: int = 0
    misses: int = 0
    unusable: int = 0
    bypassed: int = 0
    saved_s: float = 0.0
    spent_s: float = 0.0
    written_bytes: int = 0

    @property
    def rate(self) -> float:
        """The share of requests that were hits."""
        asked = self.hits + self.misses + self.unusable
        return self.hits / asked if asked else 0.0


def figures(runs: Iterable[Run]) -> dict[tuple[str, str], Figures]:
    """Figures by framework and host. What serves the cache itself is not counted."""
    found: dict[tuple[str, str], Figures] = defaultdict(Figures)
    for run in runs:
        host = str(run.start.get("host", ""))
        for event in run.of("get", "put", "bypass"):
            one = found[str(event.get("framework", "")), host]
            if event["event"] == "get" and event.get("kind") != "isa-probes":
                outcome = event.get("outcome")
                one.hits += outcome in _HITS
                one.misses += outcome == "miss"
                one.unusable += outcome in ("damaged", "untrusted")
                one.saved_s += float(event.get("saved_s", 0))
            elif event["event"] == "put":
                one.spent_s += float(event.get("cost_s", 0))
                one.written_bytes += int(event.get("bytes", 0))
            elif event["event"] == "bypass":
                one.bypassed += 1
    return {key: value for key, value in found.items() if key[0] != "mithril"}
