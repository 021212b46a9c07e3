"""What it costs to keep changes: beside Redis with its append only file, and beside ourselves without a log."""

import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benches import load
from benches.load import Sample, Shape
from benches.results import Figure, detail, ratios
from benches.servers import SERVER_CPU, BenchError, Kind, Server, running

_VALUES = 4096
# Syncs of the plain loop in a round.
_SYNCS = 500
_RECORD_BYTES = 128
_LOADED_WITHIN_S = 300
# Starts of which the median counts: that of an interpreter is not always the same.
_STARTS = 3


@dataclass(frozen=True, slots=True)
class Keeping:
    """A promise, as both servers are told to give it."""

    name: str
    ours: dict[str, Any]
    redis: dict[str, Any]


# A rewrite of Redis's file would be a second process, and cost that is not of the request.
_APPENDING = {"appendonly": "yes", "auto_aof_rewrite_percentage": 0}
FAST = Keeping("fast", {"ack": "fast"}, _APPENDING | {"appendfsync": "everysec"})
SYNC = Keeping("sync", {"ack": "sync"}, _APPENDING | {"appendfsync": "always"})
NONE = Keeping("none", {"ack": "none"}, {})


def measure(kinds: dict[str, Kind], *, keys: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Findings: CPU per SET, operations a second with each write synced, and how fast the keys come back."""
    figures: list[dict[str, Any]] = []
    details: list[dict[str, Any]] = []
    with ExitStack() as stack:
        servers = {
            (keeping.name, name): stack.enter_context(_keeping(kind, keeping))
            for keeping in (FAST, SYNC, NONE)
            for name, kind in kinds.items()
            if keeping is not NONE or kind.ours
        }
        shape = Shape(depth=1, get_share=0, keys=keys)
        for depth, target in ((1, 0.95), (16, 0.60)):
            samples = _rounds(servers, (FAST.name,), replace(shape, depth=depth), rounds, seconds)
            figures += _cpu(samples, f"SET, fast, depth {depth}", target)
            details += _details(samples, f"SET, depth {depth}")
        for connections in (50, 500):
            for value_bytes in (64, _VALUES):
                what = f"SET of {value_bytes:,} B, {connections} clients"
                one = replace(shape, connections=connections, value_bytes=value_bytes)
                samples = _rounds(servers, (SYNC.name, NONE.name), one, rounds, seconds)
                figures += _throughput(samples, what, is_plain=connections == 50 and value_bytes == 64)
                details += _details(samples, what)
        if ("sync", "yggdrasil") in servers:
            found, beside = _latency(servers, replace(shape, connections=1), rounds, seconds)
            figures += found
            details += beside
    found, beside = _recovery(kinds, keys * 10, min(rounds, _STARTS))
    return {"figures": figures + found, "details": details + beside, "notes": []}


@contextmanager
def _keeping(kind: Kind, keeping: Keeping, **more: Any) -> Iterator[Server]:
    """A server that keeps its promise on the disk on which ours does."""
    options = dict(keeping.ours if kind.ours else keeping.redis) | more
    if kind.ours or kind.command[0] != "chroot":
        with running(kind, **options) as server:
            yield server
        return
    root = Path(kind.command[1])
    with (
        tempfile.TemporaryDirectory(dir=root / "tmp") as directory,
        running(kind, dir=f"/{Path(directory).relative_to(root)}", **options) as server,
    ):
        yield server


Samples = dict[tuple[str, str], list[Sample]]


def _rounds(
    servers: dict[tuple[str, str], Server], kept: tuple[str, ...], shape: Shape, rounds: int, seconds: float
) -> Samples:
    chosen = [key for key in servers if key[0] in kept]
    samples: Samples = {key: [] for key in chosen}
    for key in chosen:
        load.measure(servers[key], shape, min(seconds, 0.3), seed=1)
    for number in range(rounds):
        for key in chosen if number % 2 == 0 else chosen[::-1]:
            samples[key].append(load.measure(servers[key], shape, seconds, seed=number + 2))
    return samples


def _details(samples: Samples, what: str) -> list[dict[str, Any]]:
    return [detail(name, f"{what}, {kept}", rounds) for (kept, name), rounds in samples.items()]


def _cpu(samples: Samples, what: str, target: float) -> list[dict[str, Any]]:
    ours, theirs = samples.get(("fast", "yggdrasil")), samples.get(("fast", "redis"))
    if ours is None or theirs is None:
        return []
    found = ratios(ours, theirs)
    name = f"{what}: CPU per operation of yggdrasil by that of redis"
    return [Figure(name, round(statistics.median(found), 3), "ratio", target, found).to_json()]


def _throughput(samples: Samples, what: str, *, is_plain: bool) -> list[dict[str, Any]]:
    """Operations a second, the other way round: a figure is met when it is not above its target."""
    ours = samples.get(("sync", "yggdrasil"))
    if ours is None:
        return []
    wanted = [("sync", "redis", 1 / 1.4, "redis always"), ("none", "yggdrasil", 1 / 0.85, "yggdrasil none")]
    figures = []
    for kept, name, target, words in wanted:
        others = samples.get((kept, name))
        if others is None or (kept == "none" and not is_plain):
            continue
        pairs = zip(others, ours, strict=True)
        found = tuple(round(other.ops_per_s / max(own.ops_per_s, 1e-9), 4) for other, own in pairs)
        title = f"{what}: operations a second of {words} by yggdrasil sync"
        figures.append(Figure(title, round(statistics.median(found), 3), "ratio", round(target, 3), found).to_json())
    return figures


def _latency(
    servers: dict[tuple[str, str], Server], shape: Shape, rounds: int, seconds: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The median of one client that waits for each SET, against syncs of as many bytes with nothing around them."""
    kept = [key for key in servers if key[0] == "sync"]
    found: list[float] = []
    medians: dict[str, list[float]] = {"plain fdatasync": []}
    for number in range(rounds):
        plain = _plain_syncs()
        medians["plain fdatasync"].append(plain)
        for key in kept:
            sample = load.measure(servers[key], shape, seconds, seed=number + 2)
            medians.setdefault(key[1], []).append(sample.p50_us)
            if key[1] == "yggdrasil":
                found.append(round(sample.p50_us / plain, 4))
    name = "SET of one client, sync: its median by that of a plain fdatasync"
    figure = Figure(name, round(statistics.median(found), 3), "ratio", 1.25, tuple(found)).to_json()
    details = [
        {"server": name, "what": "one synced SET at a time", "p50_us": statistics.median(times)}
        for name, times in medians.items()
    ]
    return [figure], details


_PLAIN = f"""
import os, statistics, sys, time
descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
times = []
for _ in range({_SYNCS}):
    began = time.perf_counter()
    os.write(descriptor, bytes({_RECORD_BYTES}))
    os.fdatasync(descriptor)
    times.append(time.perf_counter() - began)
print(statistics.median(times) * 1e6)
"""


def _plain_syncs() -> float:
    with tempfile.TemporaryDirectory(prefix="yggdrasil-bench-") as directory:
        command = ["taskset", "-c", str(SERVER_CPU), sys.executable, "-c", _PLAIN, str(Path(directory, "plain"))]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _recovery(kinds: dict[str, Kind], keys: int, starts: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """CPU of a start that finds so many keys on disk, less that of one that finds none."""
    spent: dict[str, float] = {}
    details = []
    for name, kind in kinds.items():
        if name not in ("yggdrasil", "redis"):
            continue
        root = Path(kind.command[1]) / "tmp" if kind.command[0] == "chroot" else None
        with tempfile.TemporaryDirectory(prefix="yggdrasil-bench-", dir=root) as directory:
            place = directory if root is None else f"/tmp/{Path(directory).name}"
            empty = statistics.median(_start_cpu(kind, place, 0) for _ in range(starts))
            with _keeping_in(kind, place) as server:
                load.fill(server, keys)
            spent[name] = statistics.median(_start_cpu(kind, place, keys) for _ in range(starts)) - empty
        details.append(
            {"server": name, "what": f"{keys:,} keys from disk", "cpu_s": round(spent[name], 3)}
            | {"keys_per_cpu_s": round(keys / max(spent[name], 1e-3))}
        )
    if spent.keys() != {"yggdrasil", "redis"}:
        return [], details
    title = "keys a second of CPU from disk, redis by yggdrasil"
    value = round(spent["yggdrasil"] / max(spent["redis"], 1e-9), 3)
    return [Figure(title, value, "ratio", round(1 / 3, 3)).to_json()], details


def _start_cpu(kind: Kind, directory: str, keys: int) -> float:
    """CPU of a start until so many keys are there."""
    with _keeping_in(kind, directory) as server:
        _wait_for_keys(server, keys)
        return server.cpu_seconds()


@contextmanager
def _keeping_in(kind: Kind, directory: str) -> Iterator[Server]:
    with running(kind, dir=directory, **(FAST.ours if kind.ours else FAST.redis)) as server:
        yield server


def _wait_for_keys(server: Server, keys: int) -> None:
    """Until all keys are there again: the first answer may be that they are loading."""
    deadline = time.monotonic() + _LOADED_WITHIN_S
    expected, found = f":{keys}\r\n".encode(), b""
    while found != expected:
        if time.monotonic() > deadline:
            raise BenchError(f"{server.kind.name}: asked for its keys, it says {found!r}, not {expected!r}")
        time.sleep(0.02)
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            connection.sendall(b"DBSIZE\r\n")
            found = connection.recv(1024)
