"""How fast a Python program gets large values into its memory."""

import json
import statistics
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import redis

from benches.fetch import KEY, value_of
from benches.results import Figure
from benches.servers import ROOT, BenchError, Kind, Server, running

_TIMEOUT_S = 120
_REDIS = ("redis", "get")
_OURS = ("yggdrasil", "get_into")
_READS = (_REDIS, _OURS, ("yggdrasil", "async get_into"), ("yggdrasil", "get"), ("redis", "get_into"))


@dataclass(frozen=True, slots=True)
class _Reads:
    """One run of a client, and what it cost both ends."""

    gb_per_s: float
    client_cpu_s_per_gb: float
    server_cpu_s_per_gb: float


def get_into(kinds: dict[str, Kind], *, value_bytes: int, rounds: int, seconds: float) -> dict[str, Any]:
    """`get_into` and redis-py's `get`, each of them from both servers, in turn."""
    found: dict[tuple[str, str], list[_Reads]] = {read: [] for read in _READS if read[0] in kinds}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(running(kinds[name])) for name in {name for name, _ in found}}
        for server in servers.values():
            with redis.Redis(port=server.port) as client:
                client.set(KEY, value_of(value_bytes))
        for number in range(rounds):
            for read in list(found) if number % 2 == 0 else list(found)[::-1]:
                found[read].append(_fetch(servers[read[0]], read[1], value_bytes, seconds))
    figures = []
    if _REDIS in found:
        shares = tuple(
            round(theirs.gb_per_s / ours.gb_per_s, 4) for ours, theirs in zip(found[_OURS], found[_REDIS], strict=True)
        )
        name = f"get_into of {value_bytes:,} B: time by that of redis-py's get from redis"
        figures.append(Figure(name, round(statistics.median(shares), 3), "ratio", 0.25, shares).to_json())
    details = [_detail(*read, value_bytes, samples) for read, samples in found.items()]
    return {"figures": figures, "details": details, "notes": []}


def _fetch(server: Server, how: str, value_bytes: int, seconds: float) -> _Reads:
    before = server.cpu_seconds()
    command = [sys.executable, "-m", "benches.fetch", how, str(server.port), str(value_bytes), str(seconds)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if run.returncode != 0:
        raise BenchError(f"{' '.join(command)}: {run.stderr.strip()}")
    cpu = server.cpu_seconds() - before
    found = json.loads(run.stdout)
    gb = found["bytes"] / 1e9
    # The server also served the read that was checked, and was not timed.
    served_gb = gb + value_bytes / 1e9
    return _Reads(gb / found["seconds"], found["cpu_seconds"] / gb, cpu / served_gb)


def _detail(server: str, how: str, value_bytes: int, samples: list[_Reads]) -> dict[str, Any]:
    def median(name: str) -> float:
        values: list[float] = [getattr(sample, name) for sample in samples]
        return round(statistics.median(values), 4)

    return {
        "server": server,
        "what": f"{how}, {value_bytes:,} B",
        "gb_per_s": median("gb_per_s"),
        "client_cpu_s_per_gb": median("client_cpu_s_per_gb"),
        "server_cpu_s_per_gb": median("server_cpu_s_per_gb"),
        "rounds": [round(sample.gb_per_s, 4) for sample in samples],
    }
