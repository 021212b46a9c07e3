"""The metrics page: what the workers count in shared memory, read without disturbing them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from yggdrasil._core import counter_specs
from yggdrasil.server.messages import SnapshotState

_RESULTS = ("ok", "failed", "rejected")


class Source(Protocol):
    """What the collector reads from: the supervisor."""

    @property
    def snapshots(self) -> SnapshotState:
        """What is known of snapshots."""

    @property
    def ready_shards(self) -> list[bool]:
        """Which shards have a worker that serves."""

    @property
    def failures(self) -> dict[int, str]:
        """Why shards are not there that could not be made."""

    @property
    def restarts(self) -> list[int]:
        """How often the worker of each shard was replaced."""

    @property
    def pids(self) -> dict[str, int]:
        """The processes by their names."""

    def stats(self, shard: int) -> dict[str, Any]:
        """The counters of a worker."""

    @property
    def near_readers(self) -> int:
        """How many processes read the shared memory."""

    @property
    def version(self) -> str:
        """The version of the node."""


_SPECS = {name: (kind, help_text) for name, kind, help_text in counter_specs()}
"""What the engine declares of each of its numbers."""


@dataclass(frozen=True, slots=True)
class _Number:
    """One of the workers' numbers, `name` among theirs, and how it is called here."""

    name: str
    metric: str = ""
    """Another name than theirs."""
    factor: float = 1.0
    label: tuple[str, str] | None = None
    """Its place in a family of several numbers."""

    @property
    def family(self) -> str:
        """The name of the metric."""
        return self.metric or self.name

    @property
    def is_counter(self) -> bool:
        """True for what only grows."""
        kind, _ = _SPECS[self.name]
        return kind == "counter"

    @property
    def help(self) -> str:
        """The line above the metric."""
        _, own = _SPECS[self.name]
        return _FAMILIES.get(self.family, own)


# What numbers that share a metric have in common, and what is told in another unit than theirs.
_FAMILIES = {
    "network_bytes": "Bytes read from and written to clients",
    "keyspace_reads": "Reads by whether the key was there",
    "memory_bytes": "Memory of the shard by kind",
    "admission_window_ratio": "What the window of tinylfu may have of the entries",
    "admission_keys": "New keys by whether tinylfu kept them",
    "ring_requests": "Requests between workers",
    "subscriptions": "Subscriptions of the worker's clients",
}

_NUMBERS = (
    _Number("connected_clients", "connections"),
    _Number("connections_received"),
    _Number("connections_rejected"),
    _Number("blocked_clients"),
    _Number("tracking_clients"),
    _Number("tracking_prefixes"),
    _Number("tracked_keys"),
    _Number("tracked_items"),
    _Number("net_input_bytes", "network_bytes", label=("direction", "in")),
    _Number("net_output_bytes", "network_bytes", label=("direction", "out")),
    _Number("keyspace_hits", "keyspace_reads", label=("result", "hit")),
    _Number("keyspace_misses", "keyspace_reads", label=("result", "miss")),
    _Number("error_replies"),
    _Number("keys"),
    _Number("changes", "change_number"),
    _Number("expiring_keys"),
    _Number("expired_keys"),
    _Number("evicted_keys"),
    _Number("memory_limit_bytes"),
    _Number("memory_entries_bytes", "memory_bytes", label=("kind", "entries")),
    _Number("memory_index_bytes", "memory_bytes", label=("kind", "index")),
    _Number("memory_overhead_bytes", "memory_bytes", label=("kind", "overhead")),
    _Number("memory_sessions_bytes", "memory_bytes", label=("kind", "connections")),
    _Number("memory_heap_bytes", "memory_bytes", label=("kind", "heap")),
    _Number("memory_heap_free_bytes", "memory_bytes", label=("kind", "heap_free")),
    _Number("memory_room_bytes"),
    _Number("memory_admission_bytes", "memory_bytes", label=("kind", "admission")),
    _Number("admitted_keys", "admission_keys", label=("result", "admitted")),
    _Number("rejected_keys", "admission_keys", label=("result", "rejected")),
    _Number("admission_window_bytes"),
    _Number("admission_window_share", "admission_window_ratio", factor=1 / 1024),
    _Number("pinned_keys"),
    _Number("pinned_bytes"),
    _Number("memory_used_bytes"),
    _Number("memory_peak_bytes"),
    _Number("memory_leased_bytes"),
    _Number("log_bytes"),
    _Number("log_unflushed_bytes"),
    _Number("log_syncs"),
    _Number("log_waits"),
    _Number("log_persist"),
    _Number("log_error"),
    _Number("log_lost_changes"),
    _Number("cross_shard_reads"),
    _Number("cross_shard_retries"),
    _Number("ring_requests_sent", "ring_requests", label=("direction", "sent")),
    _Number("ring_requests_received", "ring_requests", label=("direction", "received")),
    _Number("ring_stalls"),
    _Number("ring_depth_bytes"),
    _Number("transactions"),
    _Number("published_messages"),
    _Number("subscriptions", label=("kind", "channel")),
    _Number("shard_subscriptions", "subscriptions", label=("kind", "shard")),
    _Number("loop_lag_us", "loop_lag_seconds", factor=1e-6),
    _Number("loop_lag_max_us", "loop_lag_max_seconds", factor=1e-6),
)


class NodeCollector(Collector):
    """Reads everything anew for each scrape."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry shall not read everything once at the start to learn the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics of the node."""
        stats = {
            str(shard): self._source.stats(shard) for shard, ready in enumerate(self._source.ready_shards) if ready
        }
        yield InfoMetricFamily("yggdrasil", "The node", value={"version": self._source.version})
        yield from self._processes()
        yield from _numbers(stats)
        yield from _commands(stats)

    def _processes(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("yggdrasil_shard_up", "Whether the shard has a worker that serves", labels=["shard"])
        failed = GaugeMetricFamily(
            "yggdrasil_shard_failed", "Whether the shard could not be made, as after damage", labels=["shard"]
        )
        restarts = CounterMetricFamily(
            "yggdrasil_restarts", "Workers of the shard that were replaced", labels=["shard"]
        )
        for shard, (ready, count) in enumerate(zip(self._source.ready_shards, self._source.restarts, strict=True)):
            up.add_metric([str(shard)], float(ready))
            failed.add_metric([str(shard)], float(shard in self._source.failures))
            restarts.add_metric([str(shard)], count)
        yield up
        yield failed
        yield restarts
        pids = GaugeMetricFamily("yggdrasil_process_id", "Process id by the name of the process", labels=["process"])
        for name, pid in sorted(self._source.pids.items()):
            pids.add_metric([name], pid)
        yield pids
        readers = self._source.near_readers
        yield GaugeMetricFamily("yggdrasil_near_readers", "Processes that read the shared memory", value=readers)
        yield from _snapshots(self._source.snapshots)


def _snapshots(state: SnapshotState) -> Iterator[Metric]:
    results = CounterMetricFamily("yggdrasil_snapshots", "Snapshots by result", labels=["result"])
    results.add_metric(["ok"], state.taken)
    results.add_metric(["failed"], state.failed)
    yield results
    gauges = {
        "snapshot_time_seconds": ("When the last snapshot was complete, Unix time; 0 for never", state.ended_ms / 1000),
        "snapshot_keys": ("Keys in the last snapshot", state.keys),
        "snapshot_bytes": ("Bytes of the last snapshot, with the chunks that it shares", state.bytes),
        "snapshot_new_bytes": ("Bytes written for the last snapshot", state.new_bytes),
        "snapshot_under_way": ("Whether a snapshot is being taken", float(state.began_ms > 0)),
        "snapshot_keys_to_write": ("Keys of the node when the snapshot under way began", state.keys_to_write),
        "snapshot_records_written": ("Records of the snapshot under way", state.records_written),
        "snapshot_bytes_written": ("Bytes of the snapshot under way", state.bytes_written),
        "snapshot_checked_time_seconds": ("When all snapshots were last checked; 0 for never", state.checked_ms / 1000),
        "snapshot_damaged_objects": ("Objects that the last check found damaged", state.damaged),
        "log_damaged_segments": ("Segments of logs that the last check found damaged", state.damaged_segments),
        "log_archived_time_seconds": ("When logs were last archived, Unix time; 0 for never", state.archived_ms / 1000),
        "log_archive_failing": ("Whether logs could not be archived", float(bool(state.archive_error))),
    }
    for name, (help_text, value) in gauges.items():
        yield GaugeMetricFamily(f"yggdrasil_{name}", help_text, value=value)
    yield CounterMetricFamily(
        "yggdrasil_snapshot_checked_bytes",
        "Bytes of snapshots and logs that were read again",
        value=state.checked_bytes,
    )
    yield CounterMetricFamily("yggdrasil_log_archived_bytes", "Bytes of archived logs", value=state.archived_bytes)


def _numbers(stats: dict[str, dict[str, Any]]) -> Iterator[Metric]:
    families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for number in _NUMBERS:
        labels = ["shard", number.label[0]] if number.label else ["shard"]
        if number.family not in families:
            kind = CounterMetricFamily if number.is_counter else GaugeMetricFamily
            families[number.family] = kind(f"yggdrasil_{number.family}", number.help, labels=labels)
        for shard, values in stats.items():
            values_of_labels = [shard, number.label[1]] if number.label else [shard]
            families[number.family].add_metric(values_of_labels, values[number.name] * number.factor)
    yield from families.values()


def _commands(stats: dict[str, dict[str, Any]]) -> Iterator[Metric]:
    """Commands by family: a series for each command would be hundreds a shard."""
    results = CounterMetricFamily(
        "yggdrasil_commands", "Commands by family and result", labels=["shard", "family", "result"]
    )
    latency = HistogramMetricFamily(
        "yggdrasil_command_seconds", "Time that commands took, by family", labels=["shard", "family"]
    )
    for shard, values in stats.items():
        families: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for command in values["commands"].values():
            families[command["group"]].append(command)
        for family, commands in sorted(families.items()):
            failed = sum(command["failed"] for command in commands)
            counts = (
                sum(command["calls"] for command in commands) - failed,
                failed,
                sum(command["rejected"] for command in commands),
            )
            for result, count in zip(_RESULTS, counts, strict=True):
                results.add_metric([shard, family, result], count)
            buckets = _cumulative([command["histogram"] for command in commands])
            seconds = sum(command["nanoseconds"] for command in commands) * 1e-9
            latency.add_metric([shard, family], buckets, sum_value=seconds)
    yield results
    yield latency


def _cumulative(histograms: list[list[tuple[int | None, int]]]) -> list[tuple[str, float]]:
    """Buckets as Prometheus wants them: bounds in seconds, each with all that is below."""
    buckets: list[tuple[str, float]] = []
    total = 0
    for same_bound in zip(*histograms, strict=True):
        bound_us = same_bound[0][0]
        total += sum(count for _, count in same_bound)
        buckets.append(("+Inf" if bound_us is None else str(bound_us / 1e6), float(total)))
    return buckets
