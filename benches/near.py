"""How long reads through shared memory take, from Rust and from Python, and redis-py over a Unix socket beside them."""

import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis

from benches import load
from benches.results import Figure
from benches.servers import ROOT, BenchError, Kind, Server, running

_TIMEOUT_S = 300
_UNIX_SOCKET = "bench.sock"
# As in YCSB: a fifth of the keys gets most of the reads.
_SKEW = 0.99
# Highest p50 and p99 in ns, by the place of the case and whether few of the keys are read most.
_TARGETS = {(0, True): (100.0, 500.0), (1, True): (100.0, 500.0), (3, False): (400.0, None)}
# Until huge pages hold what they will hold.
_HUGE_TIMEOUT_S, _HUGE_REST_S = 60, 2.0
# Batches of reads in Python in a round, for each second of reads in Rust.
_BATCHES_PER_S = 250


def near_reads(
    kinds: dict[str, Kind], *, keys: Sequence[int], view_bytes: Sequence[int], rounds: int, seconds: float
) -> dict[str, Any]:
    """Reads of 64 B from Rust at both numbers of keys, with huge pages and without.

    From Python at the first; views of each size.
    """
    details: list[dict[str, Any]] = []
    figures: list[Figure] = []
    few, many = keys
    for place, (number, huge_pages) in enumerate(itertools.product((few, many), ("no", "yes"))):
        with running(kinds["yggdrasil"], huge_pages=huge_pages) as server:
            empty = server.memory().shared
            load.fill(server, number)
            filled = server.memory().shared - empty
            if huge_pages == "yes":
                _await_huge_pages(server, min(_HUGE_REST_S, seconds))
            for skewed in (False, True):
                choice = f"{number:,} keys, {'few of them most' if skewed else 'all alike'}"
                choice += ", huge pages" if huge_pages == "yes" else ""
                samples = [_reads(server, number, seconds, seed, skewed) for seed in range(1, rounds + 1)]
                targets = dict(zip(("p50", "p99"), _TARGETS.get((place, skewed), ()), strict=False))
                for name, limit in targets.items():
                    if limit is not None:
                        values = tuple(sample[name] for sample in samples)
                        what = f"near reader in Rust, 64 B, {choice}: {name}"
                        figures.append(Figure(what, round(statistics.median(values), 1), "ns", limit, values))
                medians = {name: round(statistics.median(one[name] for one in samples), 1) for name in samples[0]}
                details.append({"server": "yggdrasil", "what": f"get of 64 B in Rust, {choice} (ns)", **medians})
        if huge_pages == "no":
            access = round(load.memory_access_ns(filled), 1)
            what = f"one access to {filled // 1024**2} MiB, as those keys take, that depends on the one before (ns)"
            details.append({"server": "none", "what": what, "p50": access})
    beside: dict[str, float] = {}
    for name, kind in kinds.items():
        with running(kind, unixsocket=_UNIX_SOCKET) as server:
            load.fill(server, keys[0])
            batches = rounds * max(1, round(seconds * _BATCHES_PER_S))
            found = _python(server, kind, keys[0], view_bytes, batches)
        details += [{"server": name, "what": f"{what} in Python (ns)", "p50": value} for what, value in found.items()]
        if kind.ours:
            ours = found
        beside[f"redis-py over a Unix socket, {name}"] = found["redis-py get of 64 B"]
    figures.append(Figure("near reader in Python, get of 64 B: p50", ours["get of 64 B"], "ns", 300.0, (), beside))
    views = (f"view of {size:,} B" for size in view_bytes)
    figures += [Figure(f"{view} in Python: p50", ours[view], "ns", 2000.0) for view in views]
    return {"figures": [figure.to_json() for figure in figures], "details": details, "notes": []}


def _reads(server: Server, keys: int, seconds: float, seed: int, skewed: bool) -> dict[str, float]:
    socket = _directory(server) / "near.sock"
    return load.near_reads(server, socket, keys, seconds, seed, _SKEW if skewed else None)


def _await_huge_pages(server: Server, rest_s: float) -> None:
    """Returns once huge pages hold no more than a while before."""
    deadline, held, since = time.monotonic() + _HUGE_TIMEOUT_S, -1, time.monotonic()
    with redis.Redis(port=server.port) as client:
        while time.monotonic() < min(deadline, since + rest_s):
            now = int(client.info("memory")["used_memory_huge_pages"])
            if now != held:
                held, since = now, time.monotonic()
            time.sleep(0.1)


def _directory(server: Server) -> Path:
    return Path(f"/proc/{server.process.pid}/cwd").resolve()


def _python(server: Server, kind: Kind, keys: int, view_bytes: Sequence[int], batches: int) -> dict[str, float]:
    """What `benches.near_python` measures, on the core of the load."""
    near = str(_directory(server) / "near.sock") if kind.ours else ""
    program = ["taskset", "-c", str(load.LOAD_CPU), sys.executable, "-m", "benches.near_python"]
    unix = str(_directory(server) / _UNIX_SOCKET)
    command = [*program, near, unix, str(keys), str(batches), *map(str, view_bytes)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if run.returncode != 0:
        raise BenchError(f"{' '.join(command)}: {run.stderr.strip()}")
    found: dict[str, float] = json.loads(run.stdout)
    return found
