"""MIGRATE between nodes, and from and to a Redis."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from tests.node import HOST
from tests.targets import Servers, Target, configured, emptied
from tests.wire import OK

SOURCES_AND_TARGETS = [("node3", "peer"), ("peer", "node3"), ("node3", "node1"), ("node1", "node3")]


@pytest.fixture(params=SOURCES_AND_TARGETS, ids="-to-".join)
def ways(request: pytest.FixtureRequest, servers: Servers) -> Iterator[tuple[Target, Target]]:
    source, target = (contextmanager(emptied)(servers.get(name)) for name in request.param)
    with source as here, target as there:
        yield here, there


def test_keys_move_with_their_values_and_times(ways: tuple[Target, Target]) -> None:
    source, target = ways
    here, there = source.connect(), target.connect()
    here("MSET", "a", "1", "b", "x" * 100_000, "c", "")
    here("PEXPIRE", "c", 100_000)
    assert here("MIGRATE", HOST, target.port, "a", 3, 5000) == OK
    assert here("MIGRATE", HOST, target.port, "", 3, 5000, "KEYS", "absent", "b", "c") == OK
    assert here("DBSIZE") == 0
    there("SELECT", 3)
    assert there("MGET", "a", "b", "c") == [b"1", b"x" * 100_000, b""]
    assert 0 < there("PTTL", "c") <= 100_000
    assert there("TTL", "a") == -1


def test_copies_and_keys_that_are_there(ways: tuple[Target, Target]) -> None:
    source, target = ways
    here, there = source.connect(), target.connect()
    here("MSET", "a", "new", "b", "new")
    there("SET", "a", "old")
    refused = here("MIGRATE", HOST, target.port, "", 0, 5000, "KEYS", "a", "b")
    assert refused.text.startswith("ERR Target instance replied with error: BUSYKEY")
    assert here("MGET", "a", "b") == [b"new", None], "what has arrived is gone here"
    assert there("MGET", "a", "b") == [b"old", b"new"]
    assert here("MIGRATE", HOST, target.port, "a", 0, 5000, "COPY", "REPLACE") == OK
    assert here("GET", "a") == there("GET", "a") == b"new"


def test_targets_with_passwords(ways: tuple[Target, Target]) -> None:
    source, target = ways
    if source.is_peer:
        pytest.skip("a Redis goes on with a connection that it has from before")
    here, there = source.connect(), target.connect()
    here("MSET", "a", "1", "b", "2", "c", "3")
    with configured(there, requirepass="secret"):
        there("ACL", "SETUSER", "mover", "on", ">word", "~*", "+restore", "+select")
        where = (HOST, target.port)
        reply = here("MIGRATE", *where, "a", 0, 5000)
        assert reply.text == "ERR Target instance replied with error: NOAUTH Authentication required."
        reply = here("MIGRATE", *where, "a", 0, 5000, "AUTH", "wrong")
        assert reply.text.startswith("ERR Target instance replied with error: WRONGPASS")
        assert here("MIGRATE", *where, "a", 0, 5000, "AUTH", "secret") == OK
        assert here("MIGRATE", *where, "", 0, 5000, "AUTH2", "mover", "word", "KEYS", "b", "c") == OK
        there("ACL", "DELUSER", "mover")
    assert there("MGET", "a", "b", "c") == [b"1", b"2", b"3"]
    assert here("EXISTS", "a", "b", "c") == 0


def test_many_keys_of_all_shards(node3: Target, peer: Target) -> None:
    here, there = node3.connect(), peer.connect()
    names = [f"k{number}" for number in range(500)]
    here("MSET", *[part for name in names for part in (name, name * 10)])
    assert here("MIGRATE", HOST, peer.port, "", 0, 5000, "KEYS", *names) == OK
    assert there("MGET", *names) == [(name * 10).encode() for name in names]
    assert here("DBSIZE") == 0


def test_a_transaction_moves_keys(node3: Target, peer: Target) -> None:
    here, there = node3.connect(), peer.connect()
    here("MULTI")
    here("SET", "a", "1")
    here("MIGRATE", HOST, peer.port, "a", 0, 5000)
    here("GET", "a")
    assert here("EXEC") == [OK, OK, None]
    assert there("GET", "a") == b"1"


@contextmanager
def listening(answer: bytes | None) -> Iterator[int]:
    """A port where whoever connects is answered with some bytes and told no more, or is never answered."""
    with socket.create_server((HOST, 0)) as server:
        accepted: list[socket.socket] = []

        def accept() -> None:
            connection, _ = server.accept()
            accepted.append(connection)
            if answer is not None:
                connection.recv(65536)
                # Whoever has had enough of an answer goes.
                with suppress(OSError):
                    connection.sendall(answer)
                    # A connection that is closed with requests unread may lose the answer.
                    connection.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=accept)
        thread.start()
        yield server.getsockname()[1]
        thread.join()
        for connection in accepted:
            connection.close()


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (None, "IOERR error or timeout reading from target instance"),
        (b"", "target instance"),
        (b"+OK\r\n+O", "target instance"),
        (b"-ERR no\r\n", "ERR Target instance replied with error: ERR no"),
        (b"+" + b"x" * 200_000, "target instance"),
    ],
    ids=["silent", "gone", "cut off", "an error", "endless"],
)
def test_a_target_that_fails_loses_nothing(node3: Target, answer: bytes | None, reply: str) -> None:
    here = node3.connect()
    here("SET", "a", "1")
    timeout_ms = 300 if answer is None else 30_000
    with listening(answer) as port:
        assert here("MIGRATE", HOST, port, "a", 0, timeout_ms).text.endswith(reply)
    assert here("GET", "a") == b"1"
