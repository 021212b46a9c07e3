"""PINGs beside very large collections, and clients that wait: latencies beside Redis."""

import functools
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from benches import load
from benches.results import Figure
from benches.servers import BenchError, Kind, Server, running

_BATCH = 100
_PIPELINE = 50
_KEY = b"large"
_READ_BYTES = 1 << 20
# Memory goes back beside the next phase, or after the last one.
_AFTER_S = 2.0

Request = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Collection:
    """A collection of some kind: what makes it of so many elements, and what is asked then, by phase."""

    name: str
    build: Callable[[range, int], Iterator[Request]]
    phases: Callable[[int], dict[str, Request]]


def _member(index: int, members: int) -> bytes:
    """Members come in no order."""
    return b"member:%08d" % (index * 7919 % members)


def _added(command: bytes, arguments: Callable[[int, int], Request]) -> Callable[[range, int], Iterator[Request]]:
    """One command that adds a batch of elements."""

    def requests(batch: range, members: int) -> Iterator[Request]:
        yield (command, _KEY, *(argument for index in batch for argument in arguments(index, members)))

    return requests


def _each(request: Callable[[int, int], Request]) -> Callable[[range, int], Iterator[Request]]:
    """A command for each element of a batch."""

    def requests(batch: range, members: int) -> Iterator[Request]:
        for index in batch:
            yield request(index, members)

    return requests


def _script(*request: bytes) -> Request:
    """A script that makes a request."""
    return (b"EVAL", b"return redis.call(unpack(ARGV))", b"1", _KEY, *request)


_COLLECTIONS = (
    _Collection(
        "sorted set",
        _added(b"ZADD", lambda index, members: (b"%d" % index, _member(index, members))),
        lambda members: {
            "read by range": (b"ZRANGE", _KEY, b"0", b"-1"),
            "popped from, a tenth": (b"ZPOPMIN", _KEY, b"%d" % (members // 10)),
            "cut by rank, by a tenth": (b"ZREMRANGEBYRANK", _KEY, b"0", b"%d" % (members // 10)),
            "cut by a script, by a tenth": _script(b"ZREMRANGEBYRANK", _KEY, b"0", b"%d" % (members // 10)),
            "stored by a script": _script(b"ZRANGESTORE", b"stored", _KEY, b"0", b"-1"),
            "unlinked": (b"UNLINK", _KEY),
        },
    ),
    _Collection(
        "set",
        _added(b"SADD", lambda index, members: (_member(index, members),)),
        lambda members: {
            "read": (b"SMEMBERS", _KEY),
            "popped from, a tenth": (b"SPOP", _KEY, b"%d" % (members // 10)),
            "deleted": (b"DEL", _KEY),
        },
    ),
    _Collection(
        "hash",
        _added(b"HSET", lambda index, members: (_member(index, members), b"value of 16 bytes")),
        lambda members: {
            "read": (b"HGETALL", _KEY),
            "sampled, a tenth": (b"HRANDFIELD", _KEY, b"%d" % (members // 10), b"WITHVALUES"),
            "overwritten": (b"SET", _KEY, b"short"),
        },
    ),
    _Collection(
        "list",
        _added(b"RPUSH", lambda index, members: (_member(index, members),)),
        lambda members: {
            "read": (b"LRANGE", _KEY, b"0", b"-1"),
            "searched": (b"LINSERT", _KEY, b"BEFORE", b"missing", b"new"),
            "sorted and stored": (b"SORT", _KEY, b"ALPHA", b"STORE", b"stored"),
            "trimmed by half": (b"LTRIM", _KEY, b"%d" % (members // 2), b"-1"),
            "expired": (b"PEXPIRE", _KEY, b"1"),
        },
    ),
    _Collection(
        "stream",
        _each(lambda index, members: (b"XADD", _KEY, b"*", b"field", _member(index, members))),
        lambda members: {
            "read": (b"XRANGE", _KEY, b"-", b"+"),
            "trimmed by half": (b"XTRIM", _KEY, b"MAXLEN", b"%d" % (members // 2)),
            "unlinked": (b"UNLINK", _KEY),
        },
    ),
    _Collection(
        "keyspace",
        _each(lambda index, members: (b"SET", _member(index, members), b"value of 16 bytes")),
        lambda _members: {"flushed": (b"FLUSHALL", b"ASYNC")},
    ),
)


def stalls(kinds: dict[str, Kind], *, members: int, idle_s: float) -> dict[str, Any]:
    """The longest PING beside each phase of each collection, beyond that of an idle run."""
    beyond: dict[str, dict[str, float]] = {collection.name: {} for collection in _COLLECTIONS}
    details = []
    for kind in kinds.values():
        for collection in _COLLECTIONS:
            with running(kind) as server:
                found = list(_beside(server, collection, members, idle_s))
            details += found
            longest = max(phase["loaded_us"]["max"] - phase["idle_us"]["max"] for phase in found)
            beyond[collection.name][kind.name] = round(longest / 1000, 3)
    figures = []
    for name, of in beyond.items():
        if "yggdrasil" in of:
            others = {kind: value for kind, value in of.items() if kind != "yggdrasil"}
            title = f"longest PING beside a large {name}, beyond an idle run's"
            figures.append(Figure(title, of["yggdrasil"], "ms", 2.0, (), others).to_json())
    return {"figures": figures, "details": details, "notes": []}


def _beside(server: Server, collection: _Collection, members: int, idle_s: float) -> Iterator[dict[str, Any]]:
    """What PINGs take while the server is idle, and in each phase."""
    idle = load.ask_for(server, idle_s)
    phases: dict[str, Callable[[], None]] = {"built": functools.partial(_build, server, collection, members)}
    for name, request in collection.phases(members).items():
        phases[name] = functools.partial(_ask, server, request)
    for name, work in phases.items():
        with load.asking(server) as beside:
            work()
            time.sleep(min(_AFTER_S, idle_s))
        yield {
            "server": server.kind.name,
            "what": f"PING while a {collection.name} of {members:,} is {name}",
            "idle_us": idle["latency_us"],
            "loaded_us": beside["latency_us"],
        }


def _encoded(request: Request) -> bytes:
    return b"*%d\r\n" % len(request) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in request)


def _build(server: Server, collection: _Collection, members: int) -> None:
    """Adds all elements, in pipelines."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection, connection.makefile("rb") as replies:
        waiting: list[bytes] = []
        for first in range(0, members, _BATCH):
            batch = range(first, min(first + _BATCH, members))
            waiting += map(_encoded, collection.build(batch, members))
            if len(waiting) >= _PIPELINE or batch.stop == members:
                connection.sendall(b"".join(waiting))
                for _ in waiting:
                    _take(replies)
                waiting.clear()


def _take(replies: Any) -> None:
    """Reads a reply that is a line, or one string."""
    line = replies.readline()
    if line.startswith(b"-"):
        raise BenchError(f"the server says {line!r}")
    if line.startswith(b"$"):
        replies.readline()


def _ask(server: Server, request: Request) -> None:
    """Reads all of a reply, whatever it is."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(_encoded(request) + _encoded((b"QUIT",)))
        while connection.recv(_READ_BYTES):
            pass


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
