"""Metrics of the cache."""

from prometheus_client import Counter, Histogram

REQUESTS = Counter(
    "mithril_cache_requests",
    "Requests for artifacts, by what answered them: local, shared, prefetched, miss, damaged, untrusted.",
    ["framework", "kind", "outcome"],
)
SAVED_SECONDS = Counter(
    "mithril_cache_saved_seconds", "Seconds of compilation that hits have saved.", ["framework", "kind"]
)
WRITTEN = Counter(
    "mithril_cache_written", "Artifacts written, by where to: local, shared, or lost.", ["framework", "layer"]
)
WRITTEN_BYTES = Counter("mithril_cache_written_bytes", "Bytes of artifacts written.", ["framework", "layer"])
LOST_SECONDS = Counter("mithril_cache_lost_seconds", "Seconds that requests to the shared store took and failed.")
REQUEST_SECONDS = Histogram(
    "mithril_cache_request_seconds",
    "Time of a request for an artifact.",
    ["outcome"],
    buckets=(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0),
)
