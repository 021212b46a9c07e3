"""Many requests at once: order, size, mixture."""

import random
import socket

import pytest
from tests.targets import Target
from tests.wire import OK, QUEUED, Error, Wire, encode

pytestmark = pytest.mark.all_servers


def test_a_hundred_thousand_requests_in_one_write(c: Wire) -> None:
    count = 100_000
    data = b"".join(encode("INCR", f"n{i % 50}") for i in range(count))
    replies = c.exchange(data, count)
    assert replies == [i // 50 + 1 for i in range(count)]


def test_replies_come_in_request_order_whoever_answers(c: Wire) -> None:
    """Local keys, keys of other shards, many-key commands, commands written in Python and errors, mixed."""
    source = random.Random(7)
    requests: list[tuple[str | int, ...]] = []
    expected: list[object] = []
    values: dict[str, int] = {}
    for i in range(5_000):
        key = f"k{source.randrange(100)}"
        kind = source.randrange(9)
        if kind == 0:
            requests.append(("SET", key, i))
            values[key] = i
            expected.append(OK)
        elif kind == 1:
            requests.append(("GET", key))
            expected.append(str(values[key]).encode() if key in values else None)
        elif kind == 2:
            requests.append(("ECHO", i))
            expected.append(str(i).encode())
        elif kind == 3:
            other = f"k{source.randrange(100)}"
            requests.append(("MGET", key, other))
            expected.append([str(values[k]).encode() if k in values else None for k in (key, other)])
        elif kind == 4:
            other = f"k{source.randrange(100)}"
            requests.append(("MSET", key, i, other, i + 1))
            values[key] = i
            values[other] = i + 1
            expected.append(OK)
        elif kind == 5:
            requests.append(("DEL", key))
            expected.append(int(values.pop(key, None) is not None))
        elif kind == 6:
            requests.append(("OBJECT", "FOO", key))
            expected.append(Error("ERR unknown subcommand 'FOO'. Try OBJECT HELP."))
        elif kind == 7:
            requests.append(("CLIENT", "GETNAME"))
            expected.append(None)
        else:
            requests.append(("DBSIZE",))
            expected.append(len(values))
    assert c.pipeline(requests) == expected


def test_transactions_one_after_another_in_a_pipeline(c: Wire) -> None:
    requests: list[tuple[str | int, ...]] = []
    for i in range(500):
        requests += [("MULTI",), ("INCR", "a"), ("SET", f"k{i}", i), ("GET", f"k{i}"), ("EXEC",)]
    replies = c.pipeline(requests)
    for i in range(500):
        assert replies[i * 5 : i * 5 + 5] == [OK, QUEUED, QUEUED, QUEUED, [i + 1, OK, str(i).encode()]]


def test_large_and_small_values_alternate(c: Wire) -> None:
    sizes = [0, 70_000, 1, 16_384, 200_000, 3, 16_385] * 10
    requests: list[tuple[str | bytes | int, ...]] = []
    for i, size in enumerate(sizes):
        requests += [("SET", f"k{i}", bytes([i % 256]) * size), ("GET", f"k{i}"), ("STRLEN", f"k{i}")]
    replies = c.pipeline(requests)
    for i, size in enumerate(sizes):
        assert replies[3 * i : 3 * i + 3] == [OK, bytes([i % 256]) * size, size]


def test_replies_due_come_after_the_client_stops_sending(c: Wire) -> None:
    c.send_raw(b"".join(encode("ECHO", i) for i in range(1000)))
    c.socket.shutdown(socket.SHUT_WR)
    assert [c.read() for _ in range(1000)] == [str(i).encode() for i in range(1000)]
    assert c.is_closed()


def test_many_clients_at_once(target: Target, resp: int) -> None:
    clients = [target.connect(resp) for _ in range(300)]
    for i, client in enumerate(clients):
        client.send("SET", f"k{i}", i)
        client.send("GET", f"k{i}")
    for i, client in enumerate(clients):
        assert client.read() == OK
        assert client.read() == str(i).encode()
