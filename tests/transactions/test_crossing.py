"""Crossing key sets end in no deadlock; a connection reads its own writes over all shards."""

import random
from collections.abc import Iterator

import pytest
from tests.targets import Servers, Target, emptied
from tests.wire import OK, Error, Wire, encode

CLIENTS = 50


@pytest.fixture(params=["peer", "node2", "node3", "node4"])
def crowd(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Target]:
    yield from emptied(servers.get(request.param))


def crossing_requests(source: random.Random) -> tuple[bytes, int]:
    """A batch over keys that everybody uses, and how many replies it has."""
    keys = [f"key:{i}" for i in range(12)]
    parts: list[bytes] = []
    for _ in range(20):
        some = source.sample(keys, source.randrange(2, 7))
        kind = source.randrange(7)
        if kind == 0:
            parts.append(encode("MSET", *[part for key in some for part in (key, "v")]))
        elif kind == 1:
            parts.append(encode("MGET", *some))
        elif kind == 2:
            parts.append(encode("DEL", *some))
        elif kind == 3:
            parts.append(encode("RENAME", some[0], some[1]))
        elif kind == 4:
            parts.append(encode("COPY", some[0], some[1], "REPLACE"))
        elif kind == 5:
            parts += [encode("MULTI"), *[encode("APPEND", key, "x") for key in some], encode("EXEC")]
        else:
            parts += [encode("WATCH", *some), encode("MULTI"), *[encode("GET", key) for key in some], encode("EXEC")]
    return b"".join(parts), len(parts)


@pytest.mark.timeout(300)
def test_fifty_clients_with_crossing_keys(crowd: Target) -> None:
    source = random.Random(50)
    ports = (crowd.port, *crowd.worker_ports)
    clients = [crowd.connect(port=ports[i % len(ports)]) for i in range(CLIENTS)]
    for _ in range(15):
        counts = []
        for client in clients:
            data, count = crossing_requests(source)
            client.send_raw(data)
            counts.append(count)
        for client, count in zip(clients, counts, strict=True):
            for _ in range(count):
                reply = client.read()
                assert not isinstance(reply, Error) or reply.text == "ERR no such key", reply
    assert all(client("PING") == "PONG" for client in clients)


class Model:
    """What one client must see when nobody else writes its keys."""

    def __init__(self, seed: int) -> None:
        self.source = random.Random(seed)
        self.keys = [f"{seed}:key:{i}" for i in range(10)]
        self.values: dict[str, bytes] = {}

    def request(self) -> tuple[tuple[str | bytes | int, ...], object]:
        source = self.source
        key, other = source.sample(self.keys, 2)
        value = b"%d" % source.randrange(1_000_000)
        kind = source.randrange(9)
        if kind == 0:
            self.values[key] = value
            return ("SET", key, value), OK
        if kind == 1:
            self.values[key] = self.values[other] = value
            return ("MSET", key, value, other, value), OK
        if kind == 2:
            present = sum(self.values.pop(name, None) is not None for name in (key, other))
            return ("DEL", key, other), present
        if kind == 3:
            number = int(self.values.get(key, b"0")) + 1
            self.values[key] = b"%d" % number
            return ("INCR", key), number
        if kind == 4:
            return ("MGET", *self.keys), [self.values.get(name) for name in self.keys]
        if kind == 5:
            return ("EXISTS", *self.keys), len(self.values)
        if kind == 6 and key in self.values:
            self.values[other] = self.values.pop(key)
            return ("RENAME", key, other), OK
        if kind == 7 and key in self.values:
            del self.values[key]
            return ("PEXPIRE", key, -1), 1
        return ("GET", key), self.values.get(key)


@pytest.mark.parametrize("seed", range(3))
def test_each_connection_reads_its_own_writes(crowd: Target, seed: int) -> None:
    ports = (crowd.port, *crowd.worker_ports)
    pairs = [(crowd.connect(port=port), Model(seed * 100 + i)) for i, port in enumerate(ports * 2)]
    for turn in range(30):
        expected: list[tuple[Wire, list[object]]] = []
        for client, model in pairs:
            steps = [model.request() for _ in range(1 if turn % 3 == 0 else 60)]
            client.send_raw(b"".join(encode(*request) for request, _ in steps))
            expected.append((client, [reply for _, reply in steps]))
        for client, replies in expected:
            assert [client.read() for _ in replies] == replies


def test_a_write_is_seen_by_whoever_asks_after_its_reply(crowd: Target) -> None:
    ports = (crowd.port, *crowd.worker_ports)
    clients = [crowd.connect(port=port) for port in ports * 2]
    for i in range(400):
        writer, reader = clients[i % len(clients)], clients[(i * 7 + 3) % len(clients)]
        assert writer("SET", f"key:{i % 20}", i) == OK
        assert reader("GET", f"key:{i % 20}") == str(i).encode()
