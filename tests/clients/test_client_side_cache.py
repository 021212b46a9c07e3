"""The client-side cache of redis-py, as it is: it is told what is stale, whichever worker it is connected to."""

import random
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import redis
from redis.cache import CacheConfig
from tests.targets import Target
from tests.wire import eventually

KEYS = [f"key:{number}" for number in range(20)]


def caching(target: Target, port: int) -> Any:
    return redis.Redis(host=target.host, port=port, protocol=3, cache_config=CacheConfig(max_size=100))


@pytest.fixture
def clients(target: Target) -> Iterator[list[Any]]:
    """A caching client of each worker, and some of the common port."""
    ports = [*target.worker_ports, target.port, target.port]
    opened = [caching(target, port) for port in ports]
    yield opened
    for client in opened:
        client.close()


@pytest.fixture
def writer(target: Target) -> Iterator[Any]:
    with redis.Redis(host=target.host, port=target.port) as opened:
        yield opened


def read_by(client: Any) -> list[bytes | None]:
    return [client.get(key) for key in KEYS]


def has_read(client: Any, values: list[bytes | None]) -> bool:
    return read_by(client) == values


def cached(client: Any) -> int:
    return int(client.get_cache().size)


def test_what_is_kept_is_read_again_once_it_has_changed(clients: list[Any], writer: Any) -> None:
    for key in KEYS:
        writer.set(key, "old")
    for client in clients:
        assert read_by(client) == [b"old"] * len(KEYS)
        assert cached(client) == len(KEYS)
    for key in KEYS:
        writer.set(key, "new")
    for client in clients:
        eventually(partial(has_read, client, [b"new"] * len(KEYS)))


def test_reads_of_what_is_kept_ask_nobody(clients: list[Any], writer: Any) -> None:
    writer.set("k", "v")
    client = clients[0]
    client.get("k")
    hits_before = writer.info("stats")["keyspace_hits"]
    assert [client.get("k") for _ in range(50)] == [b"v"] * 50
    assert writer.info("stats")["keyspace_hits"] == hits_before


@pytest.mark.parametrize("change", ["delete", "expire", "flush", "transaction"])
def test_all_changes_are_told(clients: list[Any], writer: Any, change: str) -> None:
    writer.mset(dict.fromkeys(KEYS, "old"))
    for client in clients:
        assert client.mget(KEYS) == [b"old"] * len(KEYS)
    match change:
        case "delete":
            writer.delete(*KEYS)
        case "expire":
            for key in KEYS:
                writer.pexpire(key, 5)
        case "flush":
            writer.flushall()
        case "transaction":
            with writer.pipeline(transaction=True) as pipe:
                for key in KEYS:
                    pipe.delete(key)
                pipe.execute()
    for client in clients:
        eventually(partial(has_read, client, [None] * len(KEYS)))


def test_nothing_stays_stale(clients: list[Any], writer: Any) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown where the test fails
    chance = random.Random(seed)
    for number in range(1500):
        key = chance.choice(KEYS)
        if chance.random() < 0.3:
            writer.set(key, number)
        else:
            chance.choice(clients).get(key)
    current = writer.mget(KEYS)
    for client in clients:
        eventually(partial(has_read, client, current))


def test_the_node_counts_who_keeps_what(clients: list[Any], writer: Any) -> None:
    writer.mset(dict.fromkeys(KEYS, "old"))
    for client in clients:
        for key in KEYS:
            client.get(key)
    assert writer.info("clients")["tracking_clients"] == len(clients)
    eventually(lambda: writer.info("stats")["tracking_total_keys"] == len(KEYS))
    eventually(lambda: writer.info("stats")["tracking_total_items"] == len(KEYS) * len(clients))
    assert sum("t" in client["flags"] for client in writer.client_list()) == len(clients)
    for client in clients:
        client.close()
    eventually(lambda: writer.info("clients")["tracking_clients"] == 0)
