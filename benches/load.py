"""Runs the load generator on the core that the servers do not use."""

import functools
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benches import processes
from benches.servers import ROOT, SERVER_CPU, BenchError, Server

LOAD_CPU = 1

# Figures want a release; that the benchmarks work is seen with any profile.
_PROFILE = os.environ.get("PROFILE", "release")
_BINARY = ROOT / "target" / {"dev": "debug"}.get(_PROFILE, _PROFILE) / "loadgen"
_TIMEOUT_S = 900
_ON_LOAD_CPU = ("taskset", "-c", str(LOAD_CPU))


@dataclass(frozen=True, slots=True)
class Shape:
    """What the clients send."""

    depth: int
    get_share: int
    keys: int
    value_bytes: int = 64
    connections: int = 50
    cluster: bool = False

    def arguments(self) -> list[str]:
        """Options of the load generator."""
        return [
            *("--depth", str(self.depth)),
            *("--get-share", str(self.get_share)),
            *("--keys", str(self.keys)),
            *("--value-bytes", str(self.value_bytes)),
            *("--connections", str(self.connections)),
            *(["--cluster"] if self.cluster else []),
        ]


@dataclass(frozen=True, slots=True)
class Values:
    """Keys that are there, each with a value of this length."""

    keys: int
    value_bytes: int = 64


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of load, and what it cost the server."""

    cpu_us_per_op: float
    ops_per_s: float
    server_busy: float
    others_busy: float
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float

    def to_json(self) -> dict[str, float]:
        """Rounded to what the clocks can tell."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def build() -> None:
    """Builds the load generator where it is not there yet or out of date, with the dependencies of the engine."""
    what = ["--profile", _PROFILE, "--locked", "--workspace", "--bin", "loadgen"]
    subprocess.run(["cargo", "build", "--quiet", *what], cwd=ROOT, check=True)


def fill(server: Server, keys: int, value_bytes: int = 64, depth: int = 128) -> dict[str, Any]:
    """Sets every key once."""
    return _run("load", server, ["--keys", str(keys), "--value-bytes", str(value_bytes), "--depth", str(depth)])


def verify(server: Server, keys: int, value_bytes: int = 64) -> None:
    """Reads every key once; a wrong or missing value ends the benchmark."""
    result = _run("verify", server, ["--keys", str(keys), "--value-bytes", str(value_bytes)])
    if result["operations"] != keys:
        raise BenchError(f"{server.kind.name}: {result['operations']} of {keys} keys were read back")


def measure(server: Server, shape: Shape, seconds: float, seed: int) -> Sample:
    """Loads the server for `seconds`; every reply is checked."""
    before, core_before = server.cpu_seconds(), processes.core_busy_seconds(SERVER_CPU)
    arguments = [*shape.arguments(), "--seconds", str(seconds), "--seed", str(seed)]
    result = _run("run", server, arguments)
    cpu = server.cpu_seconds() - before
    core = processes.core_busy_seconds(SERVER_CPU) - core_before
    latency = result["latency_us"]
    return Sample(
        cpu_us_per_op=cpu * 1e6 / result["operations"],
        ops_per_s=result["operations_per_second"],
        server_busy=cpu / result["seconds"],
        others_busy=max(0.0, core - cpu) / result["seconds"],
        p50_us=latency["p50"],
        p99_us=latency["p99"],
        p999_us=latency["p99.9"],
        max_us=latency["max"],
    )


@contextmanager
def idle_connections(server: Server, connections: int) -> Iterator[None]:
    """Connections that were answered once and then say nothing; all must answer at the end."""
    process = _start("idle", server, ["--connections", str(connections)])
    with process:
        assert process.stdout
        if process.stdout.readline() != "open\n":
            _finish("idle", server.kind.name, process)
        yield
        _finish("idle", server.kind.name, process)


def long_values(server: Server, value_bytes: int, keys: int, *, reads: bool, ops: int) -> tuple[float, float]:
    """Writes or reads so many values in turn; CPU seconds of the server per GiB, and GiB per second."""
    arguments = ["--value-bytes", str(value_bytes), "--keys", str(keys), "--get-share", "100" if reads else "0"]
    # All of them before: the memory of the server is then as it is in the long run.
    _run("long", server, [*arguments, "--ops", str(max(keys, 3))])
    before = server.cpu_seconds()
    result = _run("long", server, [*arguments, "--ops", str(ops)])
    gib = result["bytes"] / 2**30
    return (server.cpu_seconds() - before) / gib, gib / result["seconds"]


@contextmanager
def long_values_beside(server: Server, value_bytes: int, *, reads: bool) -> Iterator[dict[str, Any]]:
    """Writes or reads one long value all the while; the dictionary holds how much once the block has ended."""
    arguments = ["--value-bytes", str(value_bytes), "--get-share", "100" if reads else "0"]
    with _beside("long", server, arguments) as result:
        yield result


@contextmanager
def many_values_beside(server: Server, keys: int, value_bytes: int) -> Iterator[dict[str, Any]]:
    """MGET of all of these keys all the while; the dictionary holds how much once the block has ended."""
    with _beside("mget", server, ["--keys", str(keys), "--value-bytes", str(value_bytes)]) as result:
        yield result


def near_reads(
    server: Server, path: Path, keys: int, seconds: float, seed: int, skew: float | None = None
) -> dict[str, float]:
    """Random reads through shared memory: percentiles in ns, less what the clock itself takes, and that.

    `skew`: of Zipf's distribution over the keys; without it all are read equally often.
    """
    options = ["--keys", str(keys), "--seconds", str(seconds), "--seed", str(seed)]
    if skew is not None:
        options += ["--skew", str(skew)]
    command = [*_ON_LOAD_CPU, str(_BINARY), "near", "--address", str(path), *options]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        result = _finish("near", server.kind.name, process)
    clock = result["clock_us"]["p50"] * 1000
    return {name: value * 1000 - clock for name, value in result["latency_us"].items()} | {"clock": clock}


def memory_access_ns(size: int) -> float:
    """What an access to memory of this size takes that depends on the one before, on the core of the load."""
    command = [*_ON_LOAD_CPU, str(_BINARY), "chase", "--value-bytes", str(size)]
    found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TIMEOUT_S).stdout
    access_ns: float = json.loads(found)["access_ns"]
    return access_ns


@contextmanager
def asking(server: Server, values: Values | None = None) -> Iterator[dict[str, Any]]:
    """PINGs, or GETs of random keys, all the while; the dictionary holds their latencies once the block has ended.

    The prober shares its core with the load: it runs before it whenever it wakes, so that what it sees is the
    server's delay and not its own.
    """
    prefix = ("chrt", "--fifo", "1") if _may_run_first() else ("nice", "-n", "-5")
    arguments = ["--keys", str(values.keys), "--value-bytes", str(values.value_bytes)] if values else []
    with _beside("get" if values else "ping", server, arguments, prefix) as result:
        yield result


def ask_for(server: Server, seconds: float, values: Values | None = None) -> dict[str, Any]:
    """Latencies of PINGs, or of GETs of random keys, over `seconds`."""
    with asking(server, values) as result:
        time.sleep(seconds)
    return result


@contextmanager
def _beside(mode: str, server: Server, arguments: list[str], prefix: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    result: dict[str, Any] = {}
    with _start(mode, server, arguments, prefix) as process:
        yield result
        result |= _finish(mode, server.kind.name, process)


@functools.cache
def _may_run_first() -> bool:
    return subprocess.run(["chrt", "--fifo", "1", "true"], capture_output=True, check=False).returncode == 0


def _run(mode: str, server: Server, arguments: list[str]) -> dict[str, Any]:
    with _start(mode, server, arguments) as process:
        return _finish(mode, server.kind.name, process)


def _start(mode: str, server: Server, arguments: list[str], prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    command = [*_ON_LOAD_CPU, *prefix, str(_BINARY), mode, "--address", server.address]
    return subprocess.Popen(
        [*command, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(mode: str, name: str, process: subprocess.Popen[str]) -> dict[str, Any]:
    """Ends the modes that wait for a line, and takes the result."""
    try:
        output, error = process.communicate("\n", timeout=_TIMEOUT_S)
    except BaseException:
        process.kill()
        raise
    if process.returncode != 0:
        raise BenchError(f"loadgen {mode} against {name}: {error.strip() or output.strip()}")
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result
