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

_RESULTS = ("ok", "failed", "rejected")


class Source(Protocol):
    """What the collector reads from: the supervisor."""

    @property
    def ready_shards(self) -> list[bool]:
        """Which shards have a worker that serves."""

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


@dataclass(frozen=True, slots=True)
class _Number:
    """One of the workers' numbers, `name` among theirs, and how it is called here."""

    name: str
    metric: str
    help: str
    counter: bool = False
    factor: float = 1.0
    label: tuple[str, str] | None = None


def _counter(name: str, metric: str, help_text: str, label: tuple[str, str] | None = None) -> _Number:
    return _Number(name, metric, help_text, counter=True, label=label)


def _memory(name: str, kind: str) -> _Number:
    return _Number(name, "memory_bytes", "Memory of the shard by kind", label=("kind", kind))


_NUMBERS = (
    _Number("connected_clients", "connections", "Open client connections"),
    _counter("connections_received", "connections_received", "Connections accepted"),
    _counter("connections_rejected", "connections_rejected", "Connections refused because of maxclients"),
    _Number("blocked_clients", "blocked_clients", "Clients whose next command waits"),
    _counter("net_input_bytes", "network_bytes", "Bytes read from and written to clients", ("direction", "in")),
    _counter("net_output_bytes", "network_bytes", "Bytes read from and written to clients", ("direction", "out")),
    _counter("keyspace_hits", "keyspace_reads", "Reads by whether the key was there", ("result", "hit")),
    _counter("keyspace_misses", "keyspace_reads", "Reads by whether the key was there", ("result", "miss")),
    _counter("error_replies", "error_replies", "Error replies sent"),
    _Number("keys", "keys", "Keys of the shard"),
    _Number("expiring_keys", "expiring_keys", "Keys of the shard with a time to live"),
    _counter("expired_keys", "expired_keys", "Keys removed because their time was over"),
    _counter("evicted_keys", "evicted_keys", "Keys removed to make room"),
    _Number("memory_limit_bytes", "memory_limit_bytes", "The shard's part of maxmemory, 0 without a limit"),
    _memory("memory_entries_bytes", "entries"),
    _memory("memory_index_bytes", "index"),
    _memory("memory_overhead_bytes", "overhead"),
    _memory("memory_sessions_bytes", "connections"),
    _memory("memory_admission_bytes", "admission"),
    _Number("admitted_keys", "admission_keys", "New keys by whether tinylfu kept them", label=("result", "admitted")),
    _Number("rejected_keys", "admission_keys", "New keys by whether tinylfu kept them", label=("result", "rejected")),
    _Number("admission_window_bytes", "admission_window_bytes", "Bytes of entries in the window of tinylfu"),
    _Number(
        "admission_window_share", "admission_window_ratio", "What the window may have of the entries", factor=1 / 1024
    ),
    _Number("pinned_keys", "pinned_keys", "Keys that are pinned"),
    _Number("pinned_bytes", "pinned_bytes", "Bytes of entries that are pinned"),
    _Number("memory_used_bytes", "memory_used_bytes", "Memory of the shard that counts against its limit"),
    _Number("memory_peak_bytes", "memory_peak_bytes", "Most memory of the shard since its worker started"),
    _Number("memory_leased_bytes", "memory_leased_bytes", "Large values that are gone but still looked at by somebody"),
    _counter("cross_shard_reads", "cross_shard_reads", "Reads of other shards served through shared memory"),
    _counter("cross_shard_retries", "cross_shard_retries", "Such reads that did not settle and went to the owner"),
    _counter("ring_requests_sent", "ring_requests", "Requests between workers", ("direction", "sent")),
    _counter("ring_requests_received", "ring_requests", "Requests between workers", ("direction", "received")),
    _counter("ring_stalls", "ring_stalls", "Times a ring to another worker had no room"),
    _Number("ring_depth_bytes", "ring_depth_bytes", "Bytes waiting in the rings towards the worker"),
    _counter("transactions", "transactions", "Transactions over several shards that the worker coordinated"),
    _counter("published_messages", "published_messages", "Messages published through the worker"),
    _Number("subscriptions", "subscriptions", "Subscriptions of the worker's clients", label=("kind", "channel")),
    _Number("shard_subscriptions", "subscriptions", "Subscriptions of the worker's clients", label=("kind", "shard")),
    _Number("loop_lag_us", "loop_lag_seconds", "How late the last timer of the event loop was", factor=1e-6),
    _Number("loop_lag_max_us", "loop_lag_max_seconds", "The latest a timer of the event loop was", factor=1e-6),
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
        restarts = CounterMetricFamily(
            "yggdrasil_restarts", "Workers of the shard that were replaced", labels=["shard"]
        )
        for shard, (ready, count) in enumerate(zip(self._source.ready_shards, self._source.restarts, strict=True)):
            up.add_metric([str(shard)], float(ready))
            restarts.add_metric([str(shard)], count)
        yield up
        yield restarts
        pids = GaugeMetricFamily("yggdrasil_process_id", "Process id by the name of the process", labels=["process"])
        for name, pid in sorted(self._source.pids.items()):
            pids.add_metric([name], pid)
        yield pids
        readers = self._source.near_readers
        yield GaugeMetricFamily("yggdrasil_near_readers", "Processes that read the shared memory", value=readers)


def _numbers(stats: dict[str, dict[str, Any]]) -> Iterator[Metric]:
    families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for number in _NUMBERS:
        labels = ["shard", number.label[0]] if number.label else ["shard"]
        if number.metric not in families:
            kind = CounterMetricFamily if number.counter else GaugeMetricFamily
            families[number.metric] = kind(f"yggdrasil_{number.metric}", number.help, labels=labels)
        for shard, values in stats.items():
            values_of_labels = [shard, number.label[1]] if number.label else [shard]
            families[number.metric].add_metric(values_of_labels, values[number.name] * number.factor)
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
