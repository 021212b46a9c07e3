"""Clients that leave at every point of a request and of a reply."""

import socket
from collections.abc import Callable

import pytest
from tests.targets import Target
from tests.wire import OK, Wire, encode, eventually, info

pytestmark = pytest.mark.all_servers

REQUEST = encode("MSET", "a", "value of a", "b", "value of b") + encode("GET", "a") + encode("MGET", "a", "b", "absent")


def leave(connection: Wire, how: str) -> None:
    if how == "reset":
        connection.reset_connection()
    elif how == "half":
        connection.socket.shutdown(socket.SHUT_WR)
        connection.read_all()
        connection.close()
    else:
        connection.close()


def client_count(c: Wire) -> int:
    return int(info(c, "clients")["connected_clients"])


def test_leaving_at_every_point_of_a_request(target: Target, resp: int) -> None:
    admin = target.connect()
    before = client_count(admin)
    for how in ("close", "reset", "half"):
        for at in range(len(REQUEST) + 1):
            connection = target.connect(resp)
            connection.send_raw(REQUEST[:at])
            leave(connection, how)
        assert admin("PING") == "PONG"
    assert admin("MGET", "a", "b") in ([b"value of a", b"value of b"], [None, None])
    eventually(lambda: client_count(admin) <= before)


def test_leaving_at_every_point_of_a_reply(target: Target, resp: int) -> None:
    admin = target.connect()
    assert admin("MSET", "a", "x" * 50, "b", "y" * 20_000) == OK
    requests = encode("GET", "a") + encode("MGET", "a", "absent") + encode("GET", "b")
    complete = target.connect(resp)
    complete.send_raw(requests)
    length = sum(len(complete.read_bytes()) for _ in range(3))
    points = [*range(150), *range(150, length, 997), length]
    for how in ("close", "reset"):
        for at in points:
            connection = target.connect(resp)
            connection.send_raw(requests)
            left = at
            while left > 0:
                left -= len(connection.socket.recv(left))
            leave(connection, how)
        assert admin("PING") == "PONG"


def test_leaving_within_a_large_value(target: Target, resp: int) -> None:
    admin = target.connect()
    request = encode("SET", "big", bytes(3_000_000))
    for at in [10, 100, 16_384, 65_536, 1_000_000, 2_999_999, len(request) - 1]:
        for how in ("close", "reset", "half"):
            connection = target.connect(resp)
            connection.send_raw(request[:at])
            leave(connection, how)
    assert admin("EXISTS", "big") == 0
    assert admin("SET", "big", bytes(3_000_000)) == OK
    for at in [1, 10, 1_000, 100_000, 1_000_000]:
        for how in ("close", "reset"):
            connection = target.connect(resp)
            connection.send("GET", "big")
            left = at
            while left > 0:
                left -= len(connection.socket.recv(left))
            leave(connection, how)
    assert admin("STRLEN", "big") == 3_000_000


def test_leaving_with_a_transaction_or_subscription_open(target: Target, resp: int) -> None:
    admin = target.connect()
    for how in ("close", "reset"):
        for _ in range(20):
            connection = target.connect(resp)
            connection.pipeline([("WATCH", "k"), ("MULTI",), ("SET", "k", "v")])
            leave(connection, how)
            subscriber = target.connect(resp)
            subscriber.pipeline([("SUBSCRIBE", "news"), ("PSUBSCRIBE", "n*"), ("SSUBSCRIBE", "s")])
            leave(subscriber, how)
    eventually(lambda: admin("PUBLISH", "news", "x") == 0)
    eventually(lambda: admin("SPUBLISH", "s", "x") == 0)
    assert admin("PUBSUB", "NUMPAT") == 0
    assert admin("EXISTS", "k") == 0


def test_leaving_while_others_write(target: Target, resp: int) -> None:
    """The requests that were complete are executed, half a one never is."""
    admin = target.connect()
    whole = encode("INCR", "n") * 100
    for i in range(50):
        connection = target.connect(resp)
        connection.send_raw(whole + encode("INCR", "half")[: i % 20])
        connection.socket.shutdown(socket.SHUT_WR)
        connection.read_all()
    assert admin("GET", "n") == b"5000"
    assert admin("EXISTS", "half") == 0


@pytest.mark.parametrize("how", ["close", "reset", "shutdown"])
@pytest.mark.parametrize("behind", [0, 200_000])
def test_leaving_while_blocked(target: Target, resp: int, how: str, behind: int) -> None:
    """With much that was sent behind the command, too: then the connection is not read from."""
    admin = target.connect()
    before = client_count(admin)
    for _ in range(3):
        connection = target.connect(resp)
        connection.send("WAIT", 1, 0)
        connection.send("ECHO", "x" * behind)
        eventually(lambda: info(admin, "clients")["blocked_clients"] == "1")
        if how == "shutdown":
            connection.socket.shutdown(socket.SHUT_WR)
        else:
            leave(connection, how)
        eventually(lambda: info(admin, "clients")["blocked_clients"] == "0")
        eventually(lambda: client_count(admin) == before)
        connection.close()


@pytest.mark.parametrize("how", ["close", "reset", "shutdown"])
def test_leaving_while_paused(target: Target, resp: int, how: str) -> None:
    admin = target.connect()
    before = client_count(admin)
    connection = target.connect(resp)
    assert connection("PING") == "PONG"
    assert admin("CLIENT", "PAUSE", 20_000, "WRITE") == OK
    connection.send("SET", "k", "held")
    assert connection.silent()
    if how == "shutdown":
        connection.socket.shutdown(socket.SHUT_WR)
    else:
        leave(connection, how)
    eventually(lambda: client_count(admin) == before)
    assert admin("CLIENT", "UNPAUSE") == OK
    assert admin("SET", "later", "v") == OK
    assert admin("GET", "k") is None
    connection.close()


def test_connections_that_never_say_anything(c: Wire, connect: Callable[[], Wire]) -> None:
    silent = [connect() for _ in range(100)]
    assert c("SET", "k", "v") == OK
    for connection in silent:
        connection.reset_connection()
    assert c("GET", "k") == b"v"
