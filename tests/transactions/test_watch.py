"""WATCH and UNWATCH: what ends a transaction and what does not."""

from collections.abc import Callable
from functools import partial

import pytest
from tests.wire import NULL_ARRAY, OK, QUEUED, Wire, arity, eventually, expect


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


@pytest.mark.parametrize("line", CHANGES)
def test_a_change_ends_it(c: Wire, connect: Callable[[], Wire], line: str) -> None:
    other = connect()
    expect(c, ("SET k v", OK), ("SET source s", OK))
    assert not exec_after(c, "k", lambda: other.do(line))
    assert exec_after(c, "k", lambda: None), "the watch is gone after EXEC"


@pytest.mark.parametrize("line", NO_CHANGES)
def test_what_changes_nothing_does_not(c: Wire, connect: Callable[[], Wire], line: str) -> None:
    other = connect()
    expect(c, ("SET k v", OK), ("SET source s", OK))
    assert exec_after(c, "k", lambda: other.do(line))


def test_own_changes_count_too(c: Wire) -> None:
    assert not exec_after(c, "k", lambda: c("SET", "k", "v"))


def test_the_same_change_inside_the_transaction_is_fine(c: Wire) -> None:
    expect(c, ("WATCH k", OK), ("MULTI", OK), ("SET k v", QUEUED), ("SET k w", QUEUED), ("EXEC", [OK, OK]))


@pytest.mark.parametrize("line", ["SET k v", "MSET k v other w", "RENAME source k", "APPEND k x", "INCR k"])
def test_an_absent_key_that_appears(c: Wire, connect: Callable[[], Wire], line: str) -> None:
    other = connect()
    assert c("SET", "source", "s") == OK
    assert not exec_after(c, "k", lambda: other.do(line))


@pytest.mark.parametrize("line", ["DEL k", "FLUSHALL", "FLUSHDB", "EXPIRE k 10", "GETDEL k", "SWAPDB 0 1"])
def test_an_absent_key_that_stays_absent(c: Wire, connect: Callable[[], Wire], line: str) -> None:
    other = connect()
    assert exec_after(c, "k", lambda: other.do(line))


def test_a_key_that_comes_and_goes_has_changed(c: Wire, connect: Callable[[], Wire]) -> None:
    other = connect()
    assert not exec_after(c, "k", lambda: (other("SET", "k", "v"), other("DEL", "k")))


def test_one_of_many_is_enough(c: Wire, connect: Callable[[], Wire]) -> None:
    other = connect()
    keys = [f"k{i}" for i in range(40)]
    for key in (keys[0], keys[17], keys[39]):
        assert not exec_after(c, " ".join(keys), partial(other, "SET", key, "v"))
    assert exec_after(c, " ".join(keys), lambda: other("SET", "k40", "v"))


def test_several_watches_add_up(c: Wire, connect: Callable[[], Wire]) -> None:
    other = connect()
    assert c("WATCH", "a") == OK
    assert c("WATCH", "b", "b") == OK
    assert not exec_after(c, "c", lambda: other("SET", "a", "v"))


def test_unwatch(c: Wire, connect: Callable[[], Wire]) -> None:
    other = connect()
    assert c("WATCH", "k") == OK
    assert other("SET", "k", "v") == OK
    expect(c, ("UNWATCH", OK), ("MULTI", OK), ("PING", QUEUED), ("EXEC", ["PONG"]), ("UNWATCH", OK))


def test_unwatch_inside_comes_too_late(c: Wire, connect: Callable[[], Wire]) -> None:
    other = connect()
    assert c("WATCH", "k") == OK
    assert other("SET", "k", "v") == OK
    expect(c, ("MULTI", OK), ("UNWATCH", QUEUED))
    assert c("EXEC") in (None, NULL_ARRAY)


def test_discard_ends_the_watch(c: Wire, connect: Callable[[], Wire]) -> None:
    other = connect()
    expect(c, ("WATCH k", OK), ("MULTI", OK), ("DISCARD", OK))
    assert other("SET", "k", "v") == OK
    expect(c, ("MULTI", OK), ("PING", QUEUED), ("EXEC", ["PONG"]))


def test_an_aborted_transaction_ends_the_watch(c: Wire, connect: Callable[[], Wire]) -> None:
    other = connect()
    assert c("WATCH", "k") == OK
    assert c.pipeline([("MULTI",), ("NOSUCH",), ("EXEC",)])[0] == OK
    assert other("SET", "k", "v") == OK
    expect(c, ("MULTI", OK), ("PING", QUEUED), ("EXEC", ["PONG"]))


def test_an_error_while_queueing_counts_before_the_watch(c: Wire, connect: Callable[[], Wire]) -> None:
    other = connect()
    assert c("WATCH", "k") == OK
    assert other("SET", "k", "v") == OK
    replies = c.pipeline([("MULTI",), ("GET",), ("EXEC",)])
    assert replies[2].text.startswith("EXECABORT")


def test_a_change_between_multi_and_exec(c: Wire, connect: Callable[[], Wire]) -> None:
    other = connect()
    expect(c, ("SET k v", OK), ("WATCH k", OK), ("MULTI", OK), ("SET k mine", QUEUED))
    assert other("SET", "k", "theirs") == OK
    assert c("EXEC") in (None, NULL_ARRAY)
    assert c("GET", "k") == b"theirs"


def test_a_change_by_another_transaction(c: Wire, connect: Callable[[], Wire]) -> None:
    other = connect()
    assert not exec_after(c, "k l", lambda: other.pipeline([("MULTI",), ("SET", "l", 1), ("SET", "m", 1), ("EXEC",)]))
    assert exec_after(c, "k l", lambda: other.pipeline([("MULTI",), ("SET", "l", 1), ("SET", "m", 1), ("DISCARD",)]))


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


def test_databases_are_watched_apart(c: Wire, connect: Callable[[], Wire]) -> None:
    other = connect()
    assert other("SELECT", 1) == OK
    assert exec_after(c, "k", lambda: other("SET", "k", "v"))
    assert exec_after(c, "k", lambda: other("FLUSHDB"))
    assert other("SELECT", 0) == OK
    assert not exec_after(c, "k", lambda: other("SET", "k", "v"))


def test_the_watch_stays_with_the_database_it_was_set_in(c: Wire, connect: Callable[[], Wire]) -> None:
    other = connect()
    expect(c, ("SELECT 4", OK), ("WATCH k", OK), ("SELECT 0", OK))
    assert other("SET", "k", "zero") == OK
    expect(c, ("MULTI", OK), ("PING", QUEUED), ("EXEC", ["PONG"]))
    expect(c, ("SELECT 4", OK), ("WATCH k", OK), ("SELECT 0", OK))
    assert other("SELECT", 4) == OK
    assert other("SET", "k", "four") == OK
    expect(c, ("MULTI", OK), ("PING", QUEUED))
    assert c("EXEC") in (None, NULL_ARRAY)


def test_many_watchers_of_one_key(c: Wire, connect: Callable[[], Wire]) -> None:
    watchers = [connect() for _ in range(30)]
    for watcher in watchers:
        assert watcher("WATCH", "k") == OK
    watchers[0].close()
    assert c("SET", "k", "v") == OK
    for watcher in watchers[1:]:
        watcher.pipeline([("MULTI",), ("PING",)])
        assert watcher("EXEC") in (None, NULL_ARRAY)


def test_wrong_calls(c: Wire) -> None:
    expect(c, ("WATCH", arity("watch")), ("UNWATCH x", arity("unwatch")))


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
