"""WATCH and UNWATCH: what ends a transaction and what does not."""

from collections.abc import Callable

import pytest
from tests.wire import NULL_ARRAY, OK, QUEUED, Wire, eventually

pytestmark = pytest.mark.all_servers


def exec_after(c: Wire, watched: str, change: Callable[[], object]) -> bool:
    """Whether a transaction that watches `watched` runs after `change`."""
    assert c("WATCH", *watched.split()) == OK
    change()
    assert c("MULTI") == OK
    assert c("PING") == QUEUED
    reply = c("EXEC")
    assert reply in (["PONG"], None, NULL_ARRAY)
    return bool(reply == ["PONG"])


CHANGES = [
    "SET k other",
    "SET k v",
    "DEL k",
    "UNLINK k",
    "APPEND k x",
    "SETRANGE k 0 x",
    "GETSET k x",
    "GETDEL k",
    "MSET a 1 k 2",
    "RENAME k other",
    "RENAME source k",
    "COPY source k REPLACE",
    "MOVE k 1",
    "EXPIRE k 100",
    "PEXPIREAT k 1",
    "GETEX k EX 10",
    "FLUSHDB",
    "FLUSHALL",
    "SWAPDB 0 1",
    "SWAPDB 2 0",
]
NO_CHANGES = [
    "GET k",
    "SET k x NX",
    "SETNX k x",
    "APPEND other x",
    "SET other x",
    "DEL other",
    "EXISTS k",
    "TOUCH k",
    "TTL k",
    "PERSIST k",
    "GETEX k",
    "EXPIRE k 100 XX",
    "RENAMENX source k",
    "COPY source k",
    "MSETNX k 1 other 2",
    "INCR k",
    "SETRANGE k 0 ''",
    "DUMP k",
    "SWAPDB 1 2",
]


def test_expiry_of_a_watched_key_ends_it(c: Wire) -> None:
    # The key has to be there still when it is watched: a longer time where the machine is slow.
    for milliseconds in (10, 100, 1000, 10_000):
        steps = [("UNWATCH",), ("SET", "k", "v", "PX", milliseconds), ("WATCH", "k"), ("EXISTS", "k")]
        if c.pipeline(steps)[-1] == 1:
            break
    assert not exec_after(c, "k", lambda: eventually(lambda: c("EXISTS", "k") == 0))


def test_a_key_already_expired_when_watched(c: Wire) -> None:
    assert c("SET", "k", "v", "PX", 1) == OK
    assert c("SET", "clock", "v", "PX", 3) == OK
    eventually(lambda: c("EXISTS", "clock") == 0)
    assert exec_after(c, "k", lambda: None)


def test_many_watchers_of_one_key(c: Wire, connect: Callable[[], Wire]) -> None:
    watchers = [connect() for _ in range(30)]
    for watcher in watchers:
        assert watcher("WATCH", "k") == OK
    watchers[0].close()
    assert c("SET", "k", "v") == OK
    for watcher in watchers[1:]:
        watcher.pipeline([("MULTI",), ("PING",)])
        assert watcher("EXEC") in (None, NULL_ARRAY)


def test_counting_with_watch_loses_nothing(c: Wire, connect: Callable[[], Wire]) -> None:
    """Optimistic increments by interleaved clients: as many succeed as the counter says."""
    clients = [connect() for _ in range(8)]
    assert c("SET", "n", 0) == OK
    succeeded = 0
    for _ in range(60):
        values = [client.pipeline([("WATCH", "n"), ("GET", "n"), ("MULTI",)])[1] for client in clients]
        for client, value in zip(clients, values, strict=True):
            client.send("SET", "n", int(value) + 1)
            client.send("EXEC")
        for client in clients:
            assert client.read() == QUEUED
            succeeded += client.read() == [OK]
    assert c("GET", "n") == str(succeeded).encode()
    assert succeeded >= 60
