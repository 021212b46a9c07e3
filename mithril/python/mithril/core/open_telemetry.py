"""Metrics of Mithril for OpenTelemetry: the ones that prometheus-client exports, under the same names."""

import importlib
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.metrics_core import Metric

from mithril.core.errors import MissingExtraError

_PREFIX = "mithril_"


def export(provider: Any = None) -> list[str]:
    """Has a meter provider, the program's own by default, read the metrics of all products imported so far.

    Gives the names. A histogram comes as the counters `_bucket` (by `le`), `_count` and `_sum`.
    """
    try:
        metrics = importlib.import_module("opentelemetry.metrics")
    except ImportError:
        raise MissingExtraError("export to OpenTelemetry", "opentelemetry-api", "opentelemetry") from None
    meter = (provider or metrics.get_meter_provider()).get_meter("mithril")
    names = []
    for family in _families():
        for name in _samples_of(family):
            read = _reader(family.name, name, metrics.Observation)
            make = meter.create_observable_gauge if family.type == "gauge" else meter.create_observable_counter
            make(name, callbacks=[read], description=family.documentation)
            names.append(name)
    return names


def _families() -> Iterable[Metric]:
    return (family for family in REGISTRY.collect() if family.name.startswith(_PREFIX))


def _samples_of(family: Metric) -> list[str]:
    if family.type == "histogram":
        return [f"{family.name}_{part}" for part in ("bucket", "count", "sum")]
    return [family.name if family.type == "gauge" else f"{family.name}_total"]


def _reader(family_name: str, name: str, observation: Any) -> Callable[[Any], list[Any]]:
    def read(_: Any) -> list[Any]:
        return [
            observation(sample.value, sample.labels)
            for family in _families()
            if family.name == family_name
            for sample in family.samples
            if sample.name == name
        ]

    return read
