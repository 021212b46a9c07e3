"""How long small requests wait while another client has much to write or to read."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from benches import load
from benches.load import Values
from benches.results import Figure
from benches.servers import Kind, Server, running

_SMALL = Values(keys=5_000)
_MANY_VALUE_BYTES = 4096
_SETTLE_S = 1.0

Other = Callable[[Server], AbstractContextManager[dict[str, Any]]]


def beside_long_values(kinds: dict[str, Kind], *, value_bytes: int, seconds: float) -> dict[str, Any]:
    """GETs of 64 B beside a client that writes one long value over and over, and beside one that reads it."""
    figures, details = [], []
    for reads, operation in ((False, "SET"), (True, "GET")):

        def other(server: Server, reads: bool = reads) -> AbstractContextManager[dict[str, Any]]:
            return load.long_values_beside(server, value_bytes, reads=reads)

        what = f"GET of 64 B beside {operation} of {value_bytes / 2**20:,.0f} MiB"
        found, rows = _gets_beside(kinds, what, other, _SMALL, seconds)
        figures += _figures(what, found, {"p99": 1.0, "p99.9": 2.0})
        details += rows
    return {"figures": figures, "details": details, "notes": []}


def beside_many_values(kinds: dict[str, Kind], *, keys: int, seconds: float) -> dict[str, Any]:
    """GETs of 4 KiB beside a client that reads many such values at once, over and over."""
    values = Values(keys=keys, value_bytes=_MANY_VALUE_BYTES)

    def other(server: Server) -> AbstractContextManager[dict[str, Any]]:
        return load.many_values_beside(server, keys, _MANY_VALUE_BYTES)

    what = f"GET beside MGET of {keys:,} values of {_MANY_VALUE_BYTES // 1024} KiB"
    found, rows = _gets_beside(kinds, what, other, values, seconds)
    return {"figures": _figures(what, found, {"p99.9": 1.0}), "details": rows, "notes": []}


def _gets_beside(
    kinds: dict[str, Kind], what: str, other: Other, values: Values, seconds: float
) -> tuple[dict[str, dict[str, float]], list[dict[str, Any]]]:
    """Latencies in us by server, and the rows about them."""
    found, rows = {}, []
    for name, kind in kinds.items():
        with running(kind) as server:
            load.fill(server, values.keys, values.value_bytes)
            # What a node does once after its start does not count.
            time.sleep(min(_SETTLE_S, seconds))
            with other(server) as much:
                latency: dict[str, float] = load.ask_for(server, seconds, values)["latency_us"]
        found[name] = latency
        speed = round(much["bytes"] / 2**30 / much["seconds"], 2)
        rows.append({"server": name, "what": what, "latency_us": latency, "other_gib_per_s": speed})
    return found, rows


def _figures(what: str, found: dict[str, dict[str, float]], targets: dict[str, float]) -> list[dict[str, Any]]:
    figures = []
    for percentile, target in targets.items():
        milliseconds = {name: round(latency[percentile] / 1000, 3) for name, latency in found.items()}
        ours = milliseconds.pop("yggdrasil")
        figures.append(Figure(f"{percentile} of {what}", ours, "ms", target, (), milliseconds).to_json())
    return figures
