"""PINGs beside very large collections, and clients that wait: latencies beside Redis."""

import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from redis import Redis

from benches import load
from benches.results import Figure
from benches.servers import Kind, Server, running

_BATCH = 100
_PIPELINE = 50
_KEY = "sorted"


def stalls(kinds: dict[str, Kind], *, members: int, idle_s: float) -> dict[str, Any]:
    """The longest PING while a sorted set is built, read by range and unlinked, beyond that of an idle run."""
    beyond: dict[str, float] = {}
    details = []
    for kind in kinds.values():
        with running(kind) as server:
            idle = load.ask_for(server, idle_s)
            worst = 0.0
            for what, work in (("built", _build), ("read by range", _read), ("unlinked", _unlink)):
                with load.asking(server) as beside:
                    work(server, members)
                longest = (beside["latency_us"]["max"] - idle["latency_us"]["max"]) / 1000
                worst = max(worst, longest)
                details.append(
                    {
                        "server": kind.name,
                        "what": f"PING while a sorted set of {members:,} is {what}",
                        "idle_us": idle["latency_us"],
                        "loaded_us": beside["latency_us"],
                    }
                )
            beyond[kind.name] = round(worst, 3)
    figures = []
    if "yggdrasil" in beyond:
        others = {name: value for name, value in beyond.items() if name != "yggdrasil"}
        name = "longest PING beside a large sorted set, beyond an idle run's"
        figures.append(Figure(name, beyond["yggdrasil"], "ms", 2.0, (), others).to_json())
    return {"figures": figures, "details": details, "notes": []}


def _build(server: Server, members: int) -> None:
    client = Redis(port=server.port)
    pipeline = client.pipeline(transaction=False)
    for first in range(0, members, _BATCH):
        scores = {f"member:{member * 7919 % members:08}": member for member in range(first, first + _BATCH)}
        pipeline.zadd(_KEY, scores)
        if first // _BATCH % _PIPELINE == 0:
            pipeline.execute()
    pipeline.execute()


def _read(server: Server, _members: int) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(f"ZRANGE {_KEY} 0 -1\r\nQUIT\r\n".encode())
        while connection.recv(1 << 20):
            pass


def _unlink(server: Server, _members: int) -> None:
    Redis(port=server.port).unlink(_KEY)
    time.sleep(1.0)


def handovers(kinds: dict[str, Kind], *, elements: int, rounds: int) -> dict[str, Any]:
    """From RPUSH to what BLPOP gives: the median by that of redis."""
    medians: dict[str, list[float]] = {name: [] for name in kinds}
    with ExitStack() as stack:
        pairs = {name: stack.enter_context(_pair(kind)) for name, kind in kinds.items()}
        for _ in range(rounds):
            for name, (producer, consumer) in pairs.items():
                medians[name].append(statistics.median(_handover(producer, consumer) for _ in range(elements)))
    details = [
        {"server": name, "what": "RPUSH to the reply of BLPOP", "median_us": round(statistics.median(found) * 1e6, 1)}
        for name, found in medians.items()
    ]
    figures = []
    if {"yggdrasil", "redis"} <= kinds.keys():
        ratios = tuple(
            round(ours / theirs, 4) for ours, theirs in zip(medians["yggdrasil"], medians["redis"], strict=True)
        )
        name = "BLPOP hand-over, median by that of redis"
        figures.append(Figure(name, round(statistics.median(ratios), 3), "ratio", 1.0, ratios).to_json())
    return {"figures": figures, "details": details, "notes": []}


@contextmanager
def _pair(kind: Kind) -> Iterator[tuple[socket.socket, socket.socket]]:
    with running(kind) as server:
        address = ("127.0.0.1", server.port)
        with socket.create_connection(address) as producer, socket.create_connection(address) as consumer:
            for connection in (producer, consumer):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield producer, consumer


def _handover(producer: socket.socket, consumer: socket.socket) -> float:
    consumer.sendall(b"BLPOP queue 0\r\n")
    # The consumer waits by the time that the producer has had an answer.
    producer.sendall(b"PING\r\n")
    producer.recv(100)
    start = time.perf_counter()
    producer.sendall(b"RPUSH queue element\r\n")
    consumer.recv(100)
    took = time.perf_counter() - start
    producer.recv(100)
    return took
