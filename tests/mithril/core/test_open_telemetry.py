"""OpenTelemetry reads what prometheus-client exports."""

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from mithril.cache import metrics
from mithril.core import open_telemetry


def points(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    """The points by the name of their metric."""
    data = reader.get_metrics_data()
    assert data is not None
    found = (
        metric for resource in data.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
    )
    return {metric.name: list(metric.data.data_points) for metric in found}


def test_metrics_are_read_when_they_are_asked_for() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    names = open_telemetry.export(provider)
    assert {"mithril_cache_requests_total", "mithril_cache_lost_seconds_total"} <= set(names)
    counter = metrics.REQUESTS.labels("open", "telemetry", "miss")
    counter.inc(3)
    metrics.REQUEST_SECONDS.labels("telemetry").observe(0.003)
    found = points(reader)
    labels = {"framework": "open", "kind": "telemetry", "outcome": "miss"}
    assert [point.value for point in found["mithril_cache_requests_total"] if point.attributes == labels] == [3]
    counter.inc()
    assert 4 in [point.value for point in points(reader)["mithril_cache_requests_total"]]
    buckets = {
        point.attributes["le"]: point.value
        for point in found["mithril_cache_request_seconds_bucket"]
        if point.attributes["outcome"] == "telemetry"
    }
    assert (buckets["0.002"], buckets["0.005"]) == (0, 1)
    provider.shutdown()
