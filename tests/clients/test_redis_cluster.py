"""redis-py's cluster client: it finds the workers' own ports and reaches each owner directly."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis.asyncio.cluster
from redis.cluster import RedisCluster
from tests.targets import Target


@pytest.fixture
def client(clustered: Target, resp: int) -> Iterator[Any]:
    connected = RedisCluster(host=clustered.host, port=clustered.port, protocol=resp)
    yield connected
    connected.close()


def test_it_knows_every_worker(client: Any, clustered: Target) -> None:
    assert {node.port for node in client.get_primaries()} == set(clustered.worker_ports)


def test_keys_go_to_their_owner(client: Any, clustered: Target) -> None:
    for i in range(300):
        assert client.set(f"key:{i}", i) is True
    assert [client.get(f"key:{i}") for i in range(300)] == [str(i).encode() for i in range(300)]
    assert clustered.connect()("DBSIZE") == 300
    used = {client.get_node_from_key(f"key:{i}").port for i in range(300)}
    assert used == set(clustered.worker_ports)


def test_many_keys_at_once(client: Any) -> None:
    keys = {f"key:{i}": i for i in range(100)}
    assert client.mset_nonatomic(keys)
    assert client.mget_nonatomic(list(keys)) == [str(i).encode() for i in range(100)]
    assert client.exists(*keys) == 100
    assert client.mset({"{t}a": 1, "{t}b": 2}) is True
    assert client.mget("{t}a", "{t}b") == [b"1", b"2"]
    assert client.delete(*list(keys)[:50]) == 50
    assert client.touch(*keys) == 50
    assert client.rename("{t}a", "{t}c") is True


def test_pipelines(client: Any) -> None:
    with client.pipeline() as pipe:
        for i in range(200):
            pipe.set(f"key:{i}", i)
            pipe.incr(f"count:{i % 7}")
        replies = pipe.execute()
    assert replies[::2] == [True] * 200
    assert sorted(int(client.get(f"count:{i}")) for i in range(7)) == [28] * 3 + [29] * 4


def test_scanning_finds_every_key_once(client: Any, clustered: Target) -> None:
    """The client asks every worker in turn, so each must give the keys of its own slots only."""
    for i in range(200):
        client.set(f"key:{i}", i)
    found = list(client.scan_iter("key:*", count=20))
    assert sorted(found) == sorted(f"key:{i}".encode() for i in range(200))
    # Without target_nodes redis-py asks its default node only, which answers for its own slots as in Redis Cluster.
    keys = client.keys("key:1?", target_nodes=RedisCluster.PRIMARIES)
    assert sorted(keys) == sorted(f"key:1{i}".encode() for i in range(10))
    assert client.dbsize(target_nodes=RedisCluster.PRIMARIES) == 200


def test_shard_channels(client: Any) -> None:
    listener = client.pubsub()
    listener.ssubscribe("orders")
    assert listener.get_sharded_message(timeout=20)["type"] == "ssubscribe"
    assert client.spublish("orders", "x") == 1
    assert listener.get_sharded_message(timeout=20)["data"] == b"x"
    listener.close()


async def test_asyncio(clustered: Target, resp: int) -> None:
    client: Any = redis.asyncio.cluster.RedisCluster(host=clustered.host, port=clustered.port, protocol=resp)
    for begin in range(0, 200, 20):
        numbers = range(begin, begin + 20)
        await asyncio.gather(*(client.set(f"key:{i}", i) for i in numbers))
        replies = await asyncio.gather(*(client.get(f"key:{i}") for i in numbers))
        assert replies == [str(i).encode() for i in numbers]
    async with client.pipeline() as pipe:
        for i in range(50):
            pipe.get(f"key:{i}")
        assert await pipe.execute() == [str(i).encode() for i in range(50)]
    assert await client.dbsize(target_nodes=RedisCluster.PRIMARIES) == 200
    await client.aclose()
