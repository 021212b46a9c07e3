"""Latency histograms of commands, over all workers."""

from collections.abc import Iterator

from yggdrasil._core import Worker


class Histogram:
    """Calls by upper bound in microseconds."""

    def __init__(self) -> None:
        self._calls: dict[float, int] = {}

    def add(self, bound: int | None, calls: int) -> None:
        """Adds to a bucket; the last has no bound."""
        key = float("inf") if bound is None else bound
        self._calls[key] = self._calls.get(key, 0) + calls

    @property
    def calls(self) -> int:
        """In all buckets."""
        return sum(self._calls.values())

    def cumulative(self) -> Iterator[tuple[int, int]]:
        """Buckets that have calls: bound, and calls up to it. What is beyond the last bound is shown at twice that."""
        calls = 0
        last = 1
        for bound, count in sorted(self._calls.items()):
            calls += count
            last = int(bound) if bound != float("inf") else last * 2
            if count:
                yield last, calls

    def percentile(self, percent: float) -> int:
        """The bound that this part of the calls stay below."""
        wanted = self.calls * percent / 100
        bound = 0
        for bound, calls in self.cumulative():
            if calls >= wanted:
                return bound
        return bound


def histograms(worker: Worker) -> dict[str, Histogram]:
    """Of all commands that were called, in the order of the command table."""
    found: dict[str, Histogram] = {}
    for shard in range(worker.shards):
        for name, row in worker.stats(shard)["commands"].items():
            if row["calls"]:
                histogram = found.setdefault(name, Histogram())
                for bound, calls in row["histogram"]:
                    histogram.add(bound, calls)
    return found
