"""What a long change costs others: `python -m benches.long_records`. Each server keeps its changes in a file.

A second client sends PING all the time. Its longest wait, and the memory of the processes, are those of one change.
"""

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from redis import Redis

from benches.of_log import FAST
from benches.processes import memory
from benches.servers import Kind, Server, find_kinds, running

_MB = 1_000_000
_ELEMENT_BYTES = 1000
_BATCH = 1000
_SAMPLE_S = 0.01
# Longer than redis takes by default.
_BULK_MAX = 2**31

_PINGS = """
import socket, sys, threading, time
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set())).start()
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
longest = 0.0
while not over.is_set():
    began = time.perf_counter()
    connection.sendall(b"PING\\r\\n")
    connection.recv(100)
    longest = max(longest, time.perf_counter() - began)
    time.sleep(0.0005)
print(longest * 1000)
"""

Work = Callable[[Redis, bytes], object]
"""A change, given a value."""


def _in_multi(client: Redis, value: bytes) -> None:
    pipe = client.pipeline(transaction=True)
    pipe.set("key", value)
    pipe.execute()


def _fill_list(client: Redis, value: bytes) -> None:
    pipe = client.pipeline(transaction=False)
    for number in range(len(value) // _ELEMENT_BYTES):
        pipe.rpush("list", value[:_ELEMENT_BYTES])
        if number % _BATCH == 0:
            pipe.execute()
    pipe.execute()


def _restore(client: Redis, _: bytes) -> None:
    client.execute_command("RESTORE", "other", 0, client.dump("key"), "REPLACE")


def _nothing(_client: Redis, _value: bytes) -> None:
    time.sleep(1)


CHANGES: dict[str, tuple[Work | None, Work]] = {
    "nothing": (None, _nothing),
    "SET": (None, lambda client, value: client.set("key", value)),
    "SET in MULTI": (None, _in_multi),
    "APPEND": (lambda client, _: client.set("key", "x"), lambda client, value: client.append("key", value)),
    "SETRANGE": (lambda client, _: client.set("key", "x"), lambda client, value: client.setrange("key", 0, value)),
    "RESTORE": (lambda client, value: client.set("key", value), _restore),
    "RENAME of a list": (_fill_list, lambda client, _: client.rename("list", "other")),
    "COPY of a list": (_fill_list, lambda client, _: client.copy("list", "other")),
}
"""What comes before, and the change, by name."""


def _watched(server: Server, work: Callable[[], object]) -> tuple[float, int]:
    """The longest PING in ms while something is done, and the bytes that the processes took more on their heaps."""
    before, peak, over = memory(server.pids).anonymous, 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.is_set():
            with suppress(OSError):
                peak = max(peak, memory(server.pids).anonymous)
            time.sleep(_SAMPLE_S)

    watcher = threading.Thread(target=watch)
    command = [sys.executable, "-c", _PINGS, str(server.port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as pings:
        time.sleep(0.3)
        watcher.start()
        work()
        over.set()
        watcher.join()
        longest, _ = pings.communicate()
    return float(longest), max(peak - before, 0)


def measure(kind: Kind, name: str, size: int) -> tuple[float, int, float]:
    """The longest PING in ms, bytes on the heap, and seconds of a change of so many bytes."""
    before, work = CHANGES[name]
    options = dict(FAST.ours if kind.ours else FAST.redis) | {"proto_max_bulk_len": _BULK_MAX}
    with running(kind, **options) as server, Redis(port=server.port, socket_timeout=None) as client:
        value = bytes(range(1, 251)) * (size // 250)
        if before is not None:
            before(client, value)
        began = time.monotonic()
        longest, heap = _watched(server, lambda: work(client, value))
        return longest, heap, time.monotonic() - began


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m benches.long_records", description=__doc__)
    parser.add_argument("--mb", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--changes", nargs="+", choices=list(CHANGES), default=list(CHANGES))
    parser.add_argument("--servers", nargs="+", default=["yggdrasil", "redis"])
    options = parser.parse_args()
    kinds = find_kinds(peers=True)
    for size in options.mb:
        for name in options.changes:
            for server in options.servers:
                longest, heap, seconds = measure(kinds[server], name, size * _MB)
                print(
                    f"{server}: {name}, {size:,} MB: longest PING {longest:,.1f} ms, heap {heap / _MB:,.0f} MB, "
                    f"{seconds:,.1f} s",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
