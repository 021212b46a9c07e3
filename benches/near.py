"""How long reads through shared memory take, from Rust and from Python, and redis-py over a Unix socket beside them."""

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benches import load
from benches.results import Figure
from benches.servers import ROOT, BenchError, Kind, Server, running

_TIMEOUT_S = 300
_UNIX_SOCKET = "bench.sock"


def near_reads(
    kinds: dict[str, Kind], *, keys: Sequence[int], view_bytes: Sequence[int], rounds: int, seconds: float
) -> dict[str, Any]:
    """Reads of 64 B from Rust at each number of keys; from Python at the first; views of each size."""
    details: list[dict[str, Any]] = []
    figures: list[Figure] = []
    targets = ((100.0, 500.0), (400.0, None))
    for number, (p50_max, p99_max) in zip(keys, targets, strict=True):
        with running(kinds["yggdrasil"]) as server:
            load.fill(server, number)
            samples = [
                load.near_reads(server, _directory(server) / "near.sock", number, seconds, seed)
                for seed in range(1, rounds + 1)
            ]
        for name, limit in (("p50", p50_max), ("p99", p99_max)):
            values = tuple(sample[name] for sample in samples)
            if limit is not None:
                what = f"near reader in Rust, 64 B, {number:,} keys: {name}"
                figures.append(Figure(what, round(statistics.median(values), 1), "ns", limit, values))
        medians = {name: round(statistics.median(sample[name] for sample in samples), 1) for name in samples[0]}
        details.append({"server": "yggdrasil", "what": f"get of 64 B in Rust, {number:,} keys (ns)", **medians})
    beside: dict[str, float] = {}
    for name, kind in kinds.items():
        with running(kind, unixsocket=_UNIX_SOCKET) as server:
            load.fill(server, keys[0])
            found = _python(server, kind, keys[0], view_bytes, rounds)
        details += [{"server": name, "what": f"{what} in Python (ns)", "p50": value} for what, value in found.items()]
        if kind.ours:
            ours = found
        beside[f"redis-py over a Unix socket, {name}"] = found["redis-py get of 64 B"]
    figures.append(Figure("near reader in Python, get of 64 B: p50", ours["get of 64 B"], "ns", 300.0, (), beside))
    views = (f"view of {size:,} B" for size in view_bytes)
    figures += [Figure(f"{view} in Python: p50", ours[view], "ns", 2000.0) for view in views]
    return {"figures": [figure.to_json() for figure in figures], "details": details, "notes": []}


def _directory(server: Server) -> Path:
    return Path(f"/proc/{server.process.pid}/cwd").resolve()


def _python(server: Server, kind: Kind, keys: int, view_bytes: Sequence[int], rounds: int) -> dict[str, float]:
    """What `benches.near_python` measures, on the core of the load."""
    near = str(_directory(server) / "near.sock") if kind.ours else ""
    program = ["taskset", "-c", str(load.LOAD_CPU), sys.executable, "-m", "benches.near_python"]
    unix = str(_directory(server) / _UNIX_SOCKET)
    command = [*program, near, unix, str(keys), str(rounds), *map(str, view_bytes)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if run.returncode != 0:
        raise BenchError(f"{' '.join(command)}: {run.stderr.strip()}")
    found: dict[str, float] = json.loads(run.stdout)
    return found
