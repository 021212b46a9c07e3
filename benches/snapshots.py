"""Snapshots beside the RDB files of Redis: `python -m benches.snapshots`. The values are real text and JSON.

Both servers get the same keys, write them to the same disk, and are started again.
"""

import argparse
import itertools
import json
import random
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis, RedisError, ResponseError

from benches import load, processes
from benches.load import Shape
from benches.servers import SERVER_CPU, BenchError, Kind, Server, find_kinds

_PIECE_BYTES = (100, 700)
_BATCH = 500
_PEER_ROOT = Path("/opt/peers")
_SAMPLE_S = 0.005
_PORT = 7441
_LOG = "server.txt"


@dataclass(slots=True)
class Measured:
    """What one server needed."""

    full_s: list[float] = field(default_factory=list)
    full_bytes: int = 0
    extra_bytes: int = 0
    load_s: list[float] = field(default_factory=list)
    load_cpu_s: list[float] = field(default_factory=list)
    memory_bytes: int = 0


def values(keys: int) -> Iterator[tuple[str, bytes]]:
    """Pieces of the sources of Python's library, again and again, cut elsewhere each time; every second one as JSON."""
    rng = random.Random(1)
    number = 0
    for path in itertools.cycle(sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py"))):
        text = path.read_text(errors="ignore")
        at, line = 0, 0
        while at < len(text):
            size = rng.randint(*_PIECE_BYTES)
            piece = text[at : at + size]
            record = {"id": number, "path": path.name, "line": line, "text": piece}
            yield f"text:{number}", (json.dumps(record) if number % 2 else piece).encode()
            at += size
            line += piece.count("\n")
            number += 1
            if number == keys:
                return


@contextmanager
def serving(
    kind: Kind, directory: Path, port: int, ack: str = "none", on: tuple[str, ...] = ()
) -> Iterator[tuple[Redis, Server]]:
    """A server on a directory that stays, and a client. `on` is a command that starts it on one core, say."""
    common = ["--port", str(port), "--bind", "127.0.0.1"]
    if kind.ours:
        more = ["--shards", "1", "--dir", str(directory), "--ack", ack, "--admin-port", "0", "--snapshot-rate", "0"]
    else:
        inside = "/" + str(directory.relative_to(_PEER_ROOT))
        more = ["--dir", inside, "--save", "", "--appendonly", "no", "--daemonize", "no"]
    with (directory / _LOG).open("wb") as log:
        process = subprocess.Popen([*on, *kind.command, *common, *more], cwd=directory, stdout=log, stderr=log)
    client = Redis(port=port, socket_timeout=None)
    try:
        while True:
            try:
                client.ping()
                break
            except RedisError:
                if process.poll() is not None:
                    raise BenchError(f"{kind.name} ended; see {directory / 'log'}") from None
                time.sleep(0.01)
        yield client, Server(kind, port, process, processes.tree(process.pid))
    finally:
        client.close()
        process.terminate()
        process.wait()


def fill(client: Redis, pairs: list[tuple[str, bytes]]) -> None:
    """Sets all keys."""
    pipe = client.pipeline(transaction=False)
    for number, (key, value) in enumerate(pairs):
        pipe.set(key, value)
        if number % _BATCH == 0:
            pipe.execute()
    pipe.execute()


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory below the root that redis is confined to, so that both write to the same disk."""
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=_PEER_ROOT / "tmp"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def extra_memory(pid: int, work: Callable[[], None]) -> int:
    """What all processes of a server take more at most while something is done."""

    def taken() -> int:
        return processes.memory(processes.tree(pid)).kept

    before, peak, over = taken(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.is_set():
            try:
                peak = max(peak, taken())
            except (OSError, ProcessLookupError):
                continue
            time.sleep(_SAMPLE_S)

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    over.set()
    watcher.join()
    return max(peak - before, 0)


def _saved(client: Redis) -> None:
    """BGSAVE, and until it is done; one that the node takes by itself will do."""
    saves = client.info("persistence")["rdb_saves"]
    with suppress(ResponseError):
        client.bgsave()
    while (now := client.info("persistence"))["rdb_saves"] == saves or now["rdb_bgsave_in_progress"]:
        time.sleep(0.005)


def _timed(work: Callable[[], object]) -> float:
    """The seconds that a snapshot takes, from the moment on at which the one before it is over."""
    while True:
        began = time.monotonic()
        try:
            work()
        except ResponseError as error:
            if "already in progress" not in str(error):
                raise
            time.sleep(0.005)
        else:
            return time.monotonic() - began


def measure(kind: Kind, directory: Path, port: int, pairs: list[tuple[str, bytes]], rounds: int) -> Measured:
    """Fills a server, takes snapshots, changes a hundredth, and starts it again."""
    result = Measured()
    with serving(kind, directory, port) as (client, server):
        pid = server.process.pid
        empty = server.cpu_seconds()
        fill(client, pairs)
        result.memory_bytes = processes.memory(processes.tree(pid)).kept
        result.extra_bytes = extra_memory(pid, lambda: _saved(client))
        for _ in range(rounds):
            full = (lambda: client.execute_command("SNAPSHOT", "CREATE", "FULL")) if kind.ours else client.save
            result.full_s.append(_timed(full))
        result.full_bytes = _bytes_of(kind, client, directory)
    for _ in range(rounds):
        with serving(kind, directory, port) as (client, server):
            while client.dbsize() < len(pairs):
                time.sleep(0.01)
            result.load_cpu_s.append(server.cpu_seconds() - empty)
        result.load_s.append(_loaded_s(kind, directory))
    return result


def _bytes_of(kind: Kind, client: Redis, directory: Path) -> int:
    if not kind.ours:
        return (directory / "dump.rdb").stat().st_size
    return int(client.info("persistence")["snapshot_last_bytes"])


def _loaded_s(kind: Kind, directory: Path) -> float:
    """What the server itself says of it."""
    mark = "filled from a snapshot" if kind.ours else "loaded from disk"
    lines = [line for line in (directory / _LOG).read_text(errors="replace").splitlines() if mark in line]
    pattern = r"seconds\W+([\d.]+)" if kind.ours else r"disk: ([\d.]+) seconds"
    return max(float(found[1]) for line in lines if (found := re.search(pattern, line)))


def incremental(kind: Kind, directory: Path, port: int, pairs: list[tuple[str, bytes]]) -> tuple[int, int]:
    """Bytes of a snapshot, and those written for the one after a hundredth of the keys has changed; with a log."""
    with serving(kind, directory, port, ack="fast") as (client, _):
        fill(client, pairs)
        # Others were taken on the way, as the log grew.
        _timed(client.save)
        full = int(client.info("persistence")["snapshot_last_bytes"])
        for key, value in random.Random(2).sample(pairs, len(pairs) // 100):
            client.set(key, value[::-1])
        client.save()
        return full, int(client.info("persistence")["snapshot_last_new_bytes"])


def requests_beside(kind: Kind, directory: Path, port: int, keys: int, seconds: float) -> tuple[float, float]:
    """p99.9 in us of small requests, nine in ten of them GET: by themselves, and while snapshots are taken.

    All processes of the server share a core, and the load has the other one.
    """
    shape = Shape(depth=1, get_share=90, keys=keys)
    with serving(kind, directory, port, on=("taskset", "-c", str(SERVER_CPU))) as (client, server):
        load.fill(server, keys)
        alone = load.measure(server, shape, seconds, seed=1)
        over = threading.Event()

        def save() -> None:
            with Redis(port=port, socket_timeout=None) as other:
                while not over.is_set():
                    _saved(other)

        saving = threading.Thread(target=save)
        saving.start()
        try:
            beside = load.measure(server, shape, seconds, seed=2)
        finally:
            over.set()
            saving.join()
        client.ping()
        return alone.p999_us, beside.p999_us


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m benches.snapshots", description=__doc__)
    parser.add_argument("--keys", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--served-keys", type=int, default=2_000_000, help="keys while requests are timed")
    parser.add_argument("--seconds", type=float, default=20, help="how long requests are timed; 0 for not at all")
    options = parser.parse_args()
    kinds = find_kinds(peers=True)
    pairs = list(values(options.keys))
    raw = sum(len(key) + len(value) for key, value in pairs)
    print(f"{len(pairs):,} keys, {raw:,} bytes of keys and values")
    found: dict[str, Measured] = {}
    for name in ("yggdrasil", "redis"):
        with scratch() as directory:
            found[name] = measure(kinds[name], directory, _PORT, pairs, options.rounds)
        one = found[name]
        print(
            f"{name}: full {statistics.median(one.full_s):.3f} s, {one.full_bytes:,} bytes; "
            f"load {statistics.median(one.load_s):.3f} s; extra memory {one.extra_bytes:,} of {one.memory_bytes:,}"
        )
    ours, theirs = found["yggdrasil"], found["redis"]
    print(f"size by redis's: {ours.full_bytes / theirs.full_bytes:.3f}")
    print(f"time by redis's: {statistics.median(ours.full_s) / statistics.median(theirs.full_s):.3f}")
    print(f"loading by redis's: {statistics.median(theirs.load_s) / statistics.median(ours.load_s):.2f} times as fast")
    spent = [statistics.median(one.load_cpu_s) for one in (ours, theirs)]
    print(f"CPU of loading by redis's: {spent[0] / spent[1]:.3f} ({spent[0]:.3f} s, {spent[1]:.3f} s)")
    shares = [f"{one.extra_bytes / one.memory_bytes:.1%}" for one in (ours, theirs)]
    print(f"extra memory: {shares[0]}; redis {shares[1]}")
    with scratch() as directory:
        full, small = incremental(kinds["yggdrasil"], directory, _PORT, pairs)
    print(f"a hundredth changed: {small:,} of {full:,} bytes, {small / full:.2%}")
    if not options.seconds:
        return 0
    load.build()
    for name in ("yggdrasil", "redis"):
        with scratch() as directory:
            alone, beside = requests_beside(kinds[name], directory, _PORT, options.served_keys, options.seconds)
        print(f"{name}: p99.9 of small requests {alone:,.0f} us, while snapshots are taken {beside:,.0f} us")
    return 0


if __name__ == "__main__":
    sys.exit(main())
