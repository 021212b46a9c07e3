"""Commands of the types beside Redis, driven by valkey-benchmark: server CPU per operation."""

import os
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benches.load import LOAD_CPU
from benches.results import Figure
from benches.servers import BenchError, Kind, Server, running

_CONNECTIONS = 50
_RANDOM = "__rand_int__"
_TARGETS = {1: 1.0, 16: 0.60}
_TARGETS_LONG = {1: 0.8}


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is sent again and again, with random numbers in it."""

    name: str
    words: tuple[str, ...]
    targets: Mapping[int, float] = field(default_factory=lambda: _TARGETS)
    """By depth."""
    is_long: bool = False
    """Its reply has hundreds of elements."""


REQUESTS = (
    Request("INCR", ("INCR", f"counter:{_RANDOM}")),
    Request("HSET", ("HSET", "hash", f"field:{_RANDOM}", "value:0123456789")),
    Request("HGET", ("HGET", "hash", f"field:{_RANDOM}")),
    Request("LPUSH", ("LPUSH", "list", "value:0123456789")),
    Request("RPOP", ("RPOP", "list")),
    Request("SADD", ("SADD", "set", f"member:{_RANDOM}")),
    Request("SISMEMBER", ("SISMEMBER", "set", f"member:{_RANDOM}")),
    Request("ZADD", ("ZADD", "sorted", _RANDOM, f"member:{_RANDOM}")),
    Request("ZSCORE", ("ZSCORE", "sorted", f"member:{_RANDOM}")),
    Request("ZRANGE of 10", ("ZRANGE", "sorted", "1000", "1009")),
    Request("XADD", ("XADD", "stream", "*", "field", "value:0123456789")),
    Request("LRANGE of 600", ("LRANGE", "long", "0", "599"), _TARGETS_LONG, is_long=True),
    Request("HGETALL of 100", ("HGETALL", "hundred"), _TARGETS_LONG, is_long=True),
    Request("ZRANGE of 500", ("ZRANGE", "sorted", "0", "499"), _TARGETS_LONG, is_long=True),
    Request("SMEMBERS of 500", ("SMEMBERS", "members"), _TARGETS_LONG, is_long=True),
    Request(
        "EVAL of three lines",
        (
            "EVAL",
            "local n = redis.call('INCR', KEYS[1]) if n == 1 then redis.call('EXPIRE', KEYS[1], 10) end return n",
            "1",
            f"limit:{_RANDOM}",
        ),
        {16: 0.9},
    ),
)


def measure(kinds: dict[str, Kind], *, requests: int, keys: int, rounds: int) -> dict[str, Any]:
    """Findings: the ratio of CPU per operation of each request, its median over the rounds."""
    figures: list[dict[str, Any]] = []
    details: list[dict[str, Any]] = []
    if _generator() is None:
        return {"figures": figures, "details": details, "notes": ["valkey-benchmark is not here: nothing was measured"]}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(running(kind)) for name, kind in kinds.items()}
        for server in servers.values():
            _fill(server, keys)
        for request in REQUESTS:
            for depth, target in request.targets.items():
                what = f"{request.name}, depth {depth}"
                # The kernel counts CPU in ticks: a run is long enough for a hundred of them.
                count = max(requests // 20, 1) if request.is_long else requests * depth // 2 + requests // 2
                costs = _rounds(servers, request, depth, count=count, keys=keys, rounds=rounds)
                details += [
                    {"server": name, "what": what, "cpu_us_per_op": statistics.median(cost), "rounds": cost}
                    for name, cost in costs.items()
                ]
                if "redis" in costs:
                    pairs = zip(costs["yggdrasil"], costs["redis"], strict=True)
                    ratios = tuple(round(ours / max(theirs, 1e-9), 4) for ours, theirs in pairs)
                    name = f"{what}: CPU per operation of yggdrasil by that of redis"
                    median = round(statistics.median(ratios), 3)
                    figures.append(Figure(name, median, "ratio", target, ratios).to_json())
    return {"figures": figures, "details": details, "notes": []}


def _fill(server: Server, keys: int) -> None:
    for words in (
        ("HSET", "hash", f"field:{_RANDOM}", "value:0123456789"),
        ("SADD", "set", f"member:{_RANDOM}"),
        ("ZADD", "sorted", _RANDOM, f"member:{_RANDOM}"),
        ("LPUSH", "list", "value:0123456789"),
    ):
        _drive(server, words, depth=64, count=3 * keys, keys=keys)
    for words, count in (
        (("RPUSH", "long", "value:0123456789"), 600),
        (("HSET", "hundred", f"field:{_RANDOM}", "value"), 100),
        (("SADD", "members", f"member:{_RANDOM}"), 500),
    ):
        _drive(server, words, depth=1, count=20 * count, keys=count)


def _rounds(
    servers: dict[str, Server], request: Request, depth: int, *, count: int, keys: int, rounds: int
) -> dict[str, list[float]]:
    costs: dict[str, list[float]] = {name: [] for name in servers}
    for number in range(rounds):
        order = list(servers) if number % 2 == 0 else list(servers)[::-1]
        for name in order:
            before = servers[name].cpu_seconds()
            _drive(servers[name], request.words, depth=depth, count=count, keys=keys)
            spent = servers[name].cpu_seconds() - before
            costs[name].append(round(spent / count * 1e6, 4))
    return costs


def _drive(server: Server, words: Sequence[str], *, depth: int, count: int, keys: int) -> None:
    host, _, port = server.address.rpartition(":")
    arguments = ("-h", host, "-p", port, "-c", str(_CONNECTIONS), "-P", str(depth), "-n", str(count), "-r", str(keys))
    command = ["taskset", "-c", str(LOAD_CPU), *(_generator() or ()), "-q", *arguments, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"valkey-benchmark failed: {done.stderr.strip() or done.stdout.strip()}")


def _generator() -> tuple[str, ...] | None:
    root = Path(os.environ.get("PEERS_ROOT", "/opt/peers"))
    if (root / "usr/bin/valkey-benchmark").exists():
        return ("chroot", str(root), "valkey-benchmark")
    found = shutil.which("valkey-benchmark")
    return (found,) if found else None
