"""Commands that wait for an element of a list: order, time, and clients that leave or are let go on."""

import re
import time
from functools import partial
from typing import Any

import pytest
from tests.targets import Target
from tests.wire import OK, Error, Wire, eventually, info, text_of

pytestmark = pytest.mark.all_servers

KEYS = ("a", "b", "c", "d", "e", "f")
"""Enough for every shard to have some."""


def blocked(admin: Wire) -> int:
    return int(info(admin, "clients")["blocked_clients"])


def waiting(target: Target, admin: Wire, resp: int, *request: Any) -> Wire:
    """A client that waits, as the server says."""
    before = blocked(admin)
    client = target.connect(resp)
    client.send(*request)
    eventually(lambda: blocked(admin) == before + 1)
    return client


@pytest.fixture
def admin(target: Target) -> Wire:
    connection = target.connect()
    eventually(lambda: blocked(connection) == 0)
    return connection


@pytest.mark.parametrize("key", KEYS)
def test_who_came_first_is_served_first(target: Target, admin: Wire, resp: int, key: str) -> None:
    others = [other for other in KEYS if other != key]
    requests = [("BLPOP", key, 0), ("BLPOP", *others, key, 0), ("BRPOP", key, others[0], 0), ("BLPOP", key, 0)]
    clients = [waiting(target, admin, resp, *request) for request in requests]
    for number, client in enumerate(clients):
        assert admin("RPUSH", key, number) == 1
        assert client.read() == [key.encode(), str(number).encode()]
    assert admin("EXISTS", *KEYS) == 0
    eventually(lambda: blocked(admin) == 0)


def test_each_element_is_for_one_client(target: Target, admin: Wire, resp: int) -> None:
    clients = [waiting(target, admin, resp, "BLPOP", *KEYS, 0) for _ in range(6)]
    assert admin("RPUSH", "c", 1, 2, 3) == 3
    assert [client.read() for client in clients[:3]] == [[b"c", element] for element in (b"1", b"2", b"3")]
    assert admin("RPUSH", "f", 4, 5, 6, 7) == 4
    assert [client.read() for client in clients[3:]] == [[b"f", element] for element in (b"4", b"5", b"6")]
    assert admin("LRANGE", "f", 0, -1) == [b"7"]


@pytest.mark.parametrize("key", KEYS)
def test_a_client_that_left_takes_nothing_with_it(target: Target, admin: Wire, resp: int, key: str) -> None:
    for request in (("BLPOP", key, 0), ("BRPOP", *KEYS, 0), ("BLMOVE", key, "z", "LEFT", "LEFT", 0)):
        client = waiting(target, admin, resp, *request)
        client.reset_connection()
        eventually(lambda: blocked(admin) == 0)
        assert admin("RPUSH", key, 1) == 1
        assert admin("LRANGE", key, 0, -1) == [b"1"]
        assert admin("DEL", key) == 1


@pytest.mark.parametrize("request_", [("BLPOP", "a"), ("BRPOP", *KEYS), ("BLMOVE", "a", "b", "LEFT", "LEFT")])
def test_time_ends_a_wait(target: Target, admin: Wire, resp: int, request_: tuple[str, ...]) -> None:
    client = target.connect(resp)
    begin = time.monotonic()
    client.send(*request_, 0.03)
    assert client.read_bytes() == (b"_\r\n" if resp == 3 else b"*-1\r\n")
    assert time.monotonic() - begin >= 0.029
    assert admin("RPUSH", "a", 1) == 1
    assert client("PING") == "PONG"
    assert admin("LLEN", "a") == 1


@pytest.mark.parametrize("request_", [("BLPOP", "a"), ("BLPOP", "b"), ("BRPOP", *KEYS), ("BRPOPLPUSH", "a", "b")])
def test_a_client_is_let_go_on(target: Target, admin: Wire, resp: int, request_: tuple[str, ...]) -> None:
    client = target.connect(resp)
    client_id = client("CLIENT", "ID")
    line = partial(admin, "CLIENT", "LIST", "ID", client_id)
    for reason, reply in (
        ((), b"_\r\n" if resp == 3 else b"*-1\r\n"),
        (("ERROR",), b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"),
    ):
        client.send(*request_, 0)
        eventually(lambda: blocked(admin) == 1)
        assert re.search(r" flags=b ", text_of(line()))
        assert admin("CLIENT", "UNBLOCK", client_id, *reason) == 1
        assert client.read_bytes() == reply
        eventually(lambda: blocked(admin) == 0)
        assert admin("CLIENT", "UNBLOCK", client_id) == 0
    assert client("PING") == "PONG"


def test_a_client_that_is_killed_is_forgotten(target: Target, admin: Wire, resp: int) -> None:
    client = target.connect(resp)
    client_id = client("CLIENT", "ID")
    client.send("BLPOP", *KEYS, 0)
    eventually(lambda: blocked(admin) == 1)
    assert admin("CLIENT", "KILL", "ID", client_id) == 1
    eventually(lambda: blocked(admin) == 0)
    assert admin("RPUSH", "a", 1) == 1
    assert admin("LLEN", "a") == 1


def test_a_value_of_another_kind_ends_no_wait(target: Target, admin: Wire, resp: int) -> None:
    client = waiting(target, admin, resp, "BLPOP", "a", "b", 0)
    for key in ("a", "b"):
        assert admin("SET", key, "word") == "OK"
        assert admin("DEL", key) == 1
        assert admin("SADD", key, "member") == 1
    assert admin("DEL", "b") == 1
    assert admin("RPUSH", "b", 1) == 1
    # The request runs again over all its keys.
    reply = client.read()
    assert isinstance(reply, Error)
    assert reply.text.startswith("WRONGTYPE")
    assert admin("LLEN", "b") == 1


def test_a_script_of_moves_hands_on(target: Target, admin: Wire, resp: int) -> None:
    """From key to key, which are of any shards, and back to the first."""
    pairs = zip(KEYS, (*KEYS[1:], "end"), strict=True)
    clients = [waiting(target, admin, resp, "BLMOVE", *pair, "LEFT", "RIGHT", 0) for pair in pairs]
    last = waiting(target, admin, resp, "BLPOP", "end", 0)
    assert admin("RPUSH", "a", "element") == 1
    assert [client.read() for client in clients] == [b"element"] * len(KEYS)
    assert last.read() == [b"end", b"element"]
    assert admin("EXISTS", *KEYS, "end") == 0


@pytest.mark.parametrize("keys", [("a",), ("a", "b", "c")])
def test_a_consumer_is_there_from_the_start_of_its_wait(
    target: Target, admin: Wire, resp: int, keys: tuple[str, ...]
) -> None:
    for key in keys:
        assert admin("XGROUP", "CREATE", key, "g", "$", "MKSTREAM") == OK
    streams = (*keys, *[">"] * len(keys))
    client = waiting(target, admin, resp, "XREADGROUP", "GROUP", "g", "me", "BLOCK", 0, "STREAMS", *streams)
    for key in keys:
        eventually(partial(admin, "XINFO", "CONSUMERS", key, "g"))
    assert admin("XADD", keys[-1], "1-1", "f", "v") == b"1-1"
    assert "1-1" in repr(client.read())
