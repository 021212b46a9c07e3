"""The Grafana board asks for metrics that the cache has."""

import re
from pathlib import Path

from prometheus_client import REGISTRY

from mithril.cache import metrics

BOARD = Path(__file__).parents[3] / "deploy" / "mithril-cache.json"


def test_every_metric_of_the_board_exists() -> None:
    asked = set(re.findall(r"mithril_cache_\w+", BOARD.read_text()))
    existing = {
        name
        for family in (metrics.REQUESTS, metrics.SAVED_SECONDS, metrics.WRITTEN, metrics.WRITTEN_BYTES)
        for name in (f"{family._name}_total",)
    }
    existing |= {"mithril_cache_lost_seconds_total", "mithril_cache_request_seconds_bucket"}
    assert asked <= existing
    assert {metric.name for metric in REGISTRY.collect()} >= {"mithril_cache_lost_seconds", "mithril_cache_requests"}
