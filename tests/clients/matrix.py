"""A smoke test of one version of redis-py: `python matrix.py HOST PORT [CLUSTER_PORT]`.

Runs with nothing but redis-py installed, versions 5 to 8, and ends with a line that names the version.
"""

import asyncio
import sys
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.cluster


def check(name: str, got: Any, expected: Any) -> None:
    """Raises where a reply is not the expected one."""
    if got != expected:
        raise SystemExit(f"redis-py {redis.__version__}: {name}: {got!r} instead of {expected!r}")


def plain(host: str, port: int, protocol: int) -> None:
    """The synchronous client."""
    client: Any = redis.Redis(host=host, port=port, protocol=protocol)
    client.flushall()
    check("set", client.set("k", "v", ex=100), True)
    check("get", client.get("k"), b"v")
    check("set nx", client.set("k", "w", nx=True), None)
    check("mset", client.mset({f"k{i}": i for i in range(30)}), True)
    check("mget", client.mget([f"k{i}" for i in range(30)]), [str(i).encode() for i in range(30)])
    check("scan", len(set(client.scan_iter(count=5))), 31)
    with client.pipeline() as pipe:
        check("transaction", pipe.incr("n").set("t", 1).mget("n", "t").execute(), [1, True, [b"1", b"1"]])
    with client.pipeline(transaction=False) as pipe:
        for i in range(100):
            pipe.incrby("m", i)
        check("pipeline", pipe.execute()[-1], 4950)
    listener = client.pubsub()
    listener.subscribe("news")
    check("subscribe", listener.get_message(timeout=5)["type"], "subscribe")
    check("publish", client.publish("news", "x"), 1)
    check("message", listener.get_message(timeout=5)["data"], b"x")
    listener.close()
    check("info", client.info()["role"], "master")
    check("config", client.config_get("maxmemory"), {"maxmemory": "0"})
    check("client list", len(client.client_list()) >= 1, True)
    check("delete", client.delete("k", "n"), 2)
    client.close()


async def asynchronous(host: str, port: int, protocol: int) -> None:
    """The asyncio client."""
    client: Any = redis.asyncio.Redis(host=host, port=port, protocol=protocol)
    check("async set", await client.set("k", "v"), True)
    check("async gather", await asyncio.gather(*(client.get("k") for _ in range(20))), [b"v"] * 20)
    async with client.pipeline(transaction=True) as pipe:
        check("async transaction", await pipe.incr("async").get("async").execute(), [1, b"1"])
    async with client.pubsub() as listener:
        await listener.subscribe("news")
        await listener.get_message(timeout=5)
        check("async publish", await client.publish("news", "x"), 1)
        check("async message", (await listener.get_message(timeout=5))["data"], b"x")
    await client.aclose()


def cluster(host: str, port: int, protocol: int) -> None:
    """The cluster client."""
    client: Any = redis.cluster.RedisCluster(host=host, port=port, protocol=protocol)
    for i in range(100):
        check("cluster set", client.set(f"c{i}", i), True)
    check("cluster get", [client.get(f"c{i}") for i in range(100)], [str(i).encode() for i in range(100)])
    check("cluster mset", client.mset({"{t}a": 1, "{t}b": 2}), True)
    check("cluster delete", client.delete("c1", "c2", "c3"), 3)
    check("cluster scan", len(set(client.scan_iter("c*"))), 97)
    client.close()


async def asynchronous_cluster(host: str, port: int, protocol: int) -> None:
    """The asyncio cluster client."""
    client: Any = redis.asyncio.cluster.RedisCluster(host=host, port=port, protocol=protocol)
    check("async cluster set", await client.set("ac", "v"), True)
    check("async cluster get", await asyncio.gather(*(client.get("ac") for _ in range(20))), [b"v"] * 20)
    await client.aclose()


def main() -> None:
    """Checks every client of the installed version on both protocols."""
    host, port = sys.argv[1], int(sys.argv[2])
    for protocol in (2, 3):
        plain(host, port, protocol)
        asyncio.run(asynchronous(host, port, protocol))
        if len(sys.argv) > 3:
            cluster(host, int(sys.argv[3]), protocol)
            asyncio.run(asynchronous_cluster(host, int(sys.argv[3]), protocol))
    sys.stdout.write(f"redis-py {redis.__version__}: ok\n")


if __name__ == "__main__":
    main()
