"""A smoke test of one version of redis-py: `python matrix.py HOST PORT [CLUSTER_PORT]`.

Runs with nothing but redis-py installed, versions 5 to 8, and ends with a line that names the version. Where our
package is on the path and the server is our node (CLUSTER_PORT is given), our clients run on that version, too.
"""

import asyncio
import importlib.util
import sys
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.cluster

SIZES = (0, 1, 100, 100_000, 3_000_000)
VALUE = bytes(range(250)) * (SIZES[-1] // 250)


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
    check("subscribe", listener.get_message(timeout=20)["type"], "subscribe")
    check("publish", client.publish("news", "x"), 1)
    check("message", listener.get_message(timeout=20)["data"], b"x")
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
        await listener.get_message(timeout=20)
        check("async publish", await client.publish("news", "x"), 1)
        check("async message", (await listener.get_message(timeout=20))["data"], b"x")
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


def ours(host: str, port: int, protocol: int) -> None:
    """Our synchronous client."""
    from yggdrasil.client import BufferTooSmallError, Client  # noqa: PLC0415 - not there with redis-py alone
    from yggdrasil.client.bulk import BulkReply  # noqa: PLC0415

    with Client(host=host, port=port, protocol=protocol) as client, Direct(BulkReply) as direct:
        for size in SIZES:
            value = VALUE[:size]
            check("put_stream", client.put_stream("large", value, ex=100) > 0, True)
            buffer = bytearray(size)
            check("get_into", (client.get_into("large", buffer), buffer), (size, value))
            check("stream", b"".join(client.stream("large", chunk_size=10_000)), value)
        check("get_into of nothing", client.get_into("absent", bytearray(1)), None)
        with client.pipeline() as pipe:
            check("pipeline", pipe.pin("large").unpin("large").pin_ttl("large").execute(), [1, 1, -1])
        try:
            check("get_into of too little", client.get_into("large", bytearray(5)), BufferTooSmallError)
        except BufferTooSmallError as error:
            check("what is needed", error.needed, SIZES[-1])
        check("after that", client.get("large"), VALUE)
        check("received without a copy", direct.bytes >= 2 * sum(SIZES), True)


async def ours_asynchronous(host: str, port: int, protocol: int) -> None:
    """Our asyncio client."""
    from yggdrasil.client import AsyncClient, BufferTooSmallError  # noqa: PLC0415 - not there with redis-py alone
    from yggdrasil.client.bulk import BulkReply  # noqa: PLC0415

    async with AsyncClient(host=host, port=port, protocol=protocol) as client:
        with Direct(BulkReply) as direct:
            for size in SIZES:
                value = VALUE[:size]
                check("async put_stream", await client.put_stream("large", value, ex=100) > 0, True)
                buffer = bytearray(size)
                check("async get_into", (await client.get_into("large", buffer), buffer), (size, value))
                chunks = [chunk async for chunk in client.stream("large", chunk_size=10_000)]
                check("async stream", b"".join(chunks), value)
            check("async get_into of nothing", await client.get_into("absent", bytearray(1)), None)
            try:
                check("async get_into of too little", await client.get_into("large", bytearray(5)), 0)
            except BufferTooSmallError as error:
                check("async what is needed", error.needed, SIZES[-1])
            check("async after that", await client.get("large"), VALUE)
            check("async received without a copy", direct.bytes >= 2 * sum(SIZES), True)


class Direct:
    """Counts the bytes of values that did not pass redis-py's parser."""

    def __init__(self, kind: Any) -> None:
        self.kind, self.begin, self.bytes = kind, kind.begin, 0

    def __enter__(self) -> "Direct":
        def begin(reply: Any) -> bool:
            self.bytes += len(reply.target)
            return bool(self.begin(reply))

        self.kind.begin = begin
        return self

    def __exit__(self, *_error: object) -> None:
        self.kind.begin = self.begin


def main() -> None:
    """Checks every client of the installed version on both protocols."""
    host, port = sys.argv[1], int(sys.argv[2])
    for protocol in (2, 3):
        plain(host, port, protocol)
        asyncio.run(asynchronous(host, port, protocol))
        if len(sys.argv) > 3:
            cluster(host, int(sys.argv[3]), protocol)
            asyncio.run(asynchronous_cluster(host, int(sys.argv[3]), protocol))
        if len(sys.argv) > 3 and importlib.util.find_spec("yggdrasil"):
            ours(host, port, protocol)
            asyncio.run(ours_asynchronous(host, port, protocol))
    parser = "hiredis" if importlib.util.find_spec("hiredis") else "its own parser"
    sys.stdout.write(f"redis-py {redis.__version__} with {parser}: ok\n")


if __name__ == "__main__":
    main()
