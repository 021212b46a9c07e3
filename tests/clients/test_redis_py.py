"""redis-py as applications use it, and our clients in its place: sync and asyncio, RESP2 and RESP3."""

import asyncio
import contextlib
import threading
import uuid
from collections.abc import AsyncIterator, Iterator, Set
from functools import partial
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    ExecAbortError,
    ResponseError,
    WatchError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.retry import Retry
from tests.targets import Target, configured
from tests.wire import eventually

from yggdrasil.client import AsyncClient, Client


@pytest.fixture(params=[redis.Redis, Client], ids=["redis-py", "ours"])
def client(request: pytest.FixtureRequest, target: Target, resp: int) -> Iterator[Any]:
    """redis-py's own client, and ours, which is to be all that it is."""
    with request.param(host=target.host, port=target.port, protocol=resp) as connected:
        yield connected
        connected.connection_pool.disconnect()


@pytest.fixture(params=[redis.asyncio.Redis, AsyncClient], ids=["redis-py", "ours"])
async def aclient(request: pytest.FixtureRequest, target: Target, resp: int) -> AsyncIterator[Any]:
    """The same for asyncio."""
    async with request.param(host=target.host, port=target.port, protocol=resp) as connected:
        yield connected


def test_strings(client: Any) -> None:
    assert client.set("k", "v") is True
    assert client.get("k") == b"v"
    assert client.set("k", "w", nx=True) is None
    assert client.set("k", "w", xx=True, get=True) == b"v"
    assert client.set("k", "x", ex=100) is True
    assert 0 < client.ttl("k") <= 100
    assert client.set("k", "x", keepttl=True) is True
    assert client.getex("k", persist=True) == b"x"
    assert client.ttl("k") == -1
    assert client.mset({"a": 1, "b": 2.5, "c": b"\xff"}) is True
    assert client.mget("a", "b", "c", "d") == [b"1", b"2.5", b"\xff", None]
    assert client.incr("n") == 1
    assert client.incrby("n", 41) == 42
    assert client.incrbyfloat("n", 0.5) == 42.5
    assert client.append("k", "yz") == 3
    assert client.getrange("k", 1, 2) == b"yz"
    assert client.setrange("k", 1, "Y") == 3
    assert client.strlen("k") == 3
    assert client.getdel("k") == b"xYz"
    assert client.setnx("k", 1) is True
    assert client.lcs("a", "absent") == b""
    with pytest.raises(ResponseError, match="not an integer"):
        client.incr("c")


def test_keys(client: Any) -> None:
    client.mset({f"k{i}": i for i in range(50)})
    assert client.exists("k1", "k2", "absent") == 2
    assert client.delete("k1", "k2") == 2
    assert client.unlink("k3") == 1
    assert client.type("k4") == b"string"
    assert client.expire("k4", 100, nx=True)
    assert client.pexpireat("k4", 33177117420000)
    assert client.expiretime("k4") == 33177117420
    assert client.persist("k4") in (1, True)
    assert client.rename("k4", "renamed") is True
    assert client.renamenx("renamed", "k5") is False
    assert client.copy("renamed", "copied") in (1, True)
    assert client.dbsize() == 48
    assert sorted(client.keys("k1?")) == [f"k1{i}".encode() for i in range(10)]
    assert len(set(client.scan_iter("k*", count=7))) == 46
    assert client.randomkey() is not None
    payload = client.dump("renamed")
    assert client.restore("restored", 0, payload) in (b"OK", True, "OK")
    assert client.get("restored") == b"4"
    assert client.object("encoding", "restored") in (b"int", "int")
    assert client.touch("k6", "k7") == 2


@pytest.mark.both_protocols
def test_decoded_responses(target: Target, resp: int) -> None:
    with redis.Redis(host=target.host, port=target.port, protocol=resp, decode_responses=True) as client:
        client.set("ä", "ö")
        assert client.get("ä") == "ö"
        assert client.keys("*") == ["ä"]
        assert client.config_get("maxmemory") == {"maxmemory": "0"}


def test_pipelines_and_transactions(client: Any) -> None:
    with client.pipeline(transaction=False) as pipe:
        for i in range(1000):
            pipe.set(f"k{i}", i)
            pipe.get(f"k{i}")
        assert pipe.execute() == [part for i in range(1000) for part in (True, str(i).encode())]
    with client.pipeline() as pipe:
        pipe.multi()
        pipe.incr("n")
        pipe.set("k", "v")
        pipe.mget("n", "k")
        assert pipe.execute() == [1, True, [b"1", b"v"]]
    with client.pipeline() as pipe:
        pipe.set("t", "x").incr("t").get("t")
        first, second, third = pipe.execute(raise_on_error=False)
        assert first is True
        assert isinstance(second, ResponseError)
        assert third == b"x"
    with client.pipeline() as pipe, pytest.raises((ExecAbortError, ResponseError)):
        pipe.set("k", "w").execute_command("NOSUCH").execute()
    assert client.get("k") == b"v"


def test_optimistic_locking(client: Any, target: Target) -> None:
    other = target.connect()
    with client.pipeline() as pipe:
        pipe.watch("n")
        assert pipe.get("n") is None
        other("SET", "n", 5)
        pipe.multi()
        pipe.set("n", 6)
        with pytest.raises(WatchError):
            pipe.execute()

    def increment(pipe: Any) -> None:
        value = int(pipe.get("n"))
        pipe.multi()
        pipe.set("n", value + 1)

    assert client.transaction(increment, "n") == [True]
    assert client.get("n") == b"6"


def test_publish_and_subscribe(client: Any) -> None:
    with client.pubsub() as listener:
        listener.subscribe("news", "other")
        listener.psubscribe("n*")
        kinds = [listener.get_message(timeout=20)["type"] for _ in range(3)]
        assert kinds == ["subscribe", "subscribe", "psubscribe"]
        assert client.publish("news", "hello") == 2
        messages = [listener.get_message(timeout=20) for _ in range(2)]
        assert {message["type"]: message["data"] for message in messages} == {"message": b"hello", "pmessage": b"hello"}
        listener.unsubscribe("news")
        assert listener.get_message(timeout=20)["type"] == "unsubscribe"
        assert client.pubsub_channels() == [b"other"]
        assert client.pubsub_numpat() == 1


def test_publish_and_subscribe_in_a_thread(client: Any) -> None:
    heard: list[bytes] = []
    listener = client.pubsub()
    listener.subscribe(news=lambda message: heard.append(message["data"]))
    thread = listener.run_in_thread(sleep_time=0.01)
    eventually(lambda: client.publish("news", "x") == 1)
    eventually(lambda: heard)
    thread.stop()
    thread.join(30)
    assert not thread.is_alive()


def test_monitor(client: Any) -> None:
    with client.monitor() as monitor:
        client.set("k", "v")
        commands = [monitor.next_command()["command"] for _ in range(3)]
        assert any("SET k v" in command for command in commands) or "SET k v" in monitor.next_command()["command"]


def test_locks(client: Any) -> None:
    assert client.set("lock", "owner", nx=True, px=10_000) is True
    assert client.set("lock", "other", nx=True, px=10_000) is None
    assert 0 < client.pttl("lock") <= 10_000


def test_server_commands(client: Any) -> None:
    assert client.ping() is True
    assert client.echo("x") == b"x"
    assert len(client.time()) == 2
    info = client.info()
    assert info["redis_version"].split(".")[0] in ("7", "8")
    assert info["role"] == "master"
    client.set("k", "v")
    assert client.info("keyspace")["db0"]["keys"] == 1
    assert client.config_get("max*")["maxmemory"] == "0"
    assert client.config_set("timeout", 0) is True
    assert client.client_setname("me") is True
    assert client.client_getname() in (b"me", "me")
    assert any(entry["name"] == "me" for entry in client.client_list())
    assert client.client_info()["name"] == "me"
    assert client.client_id() > 0
    assert client.client_no_evict("ON") in (b"OK", True, "OK")
    assert isinstance(client.slowlog_get(), list)
    assert client.slowlog_len() >= 0
    assert client.memory_usage("k") > 0
    assert client.memory_stats()["keys.count"] == 1
    assert client.latency_latest() == []
    assert client.command_count() > 80
    assert "get" in client.command()
    assert client.command_getkeys("MSET", "a", 1, "b", 2) in ([b"a", b"b"], ["a", "b"])
    assert client.role()[0] in (b"master", "master")
    assert client.wait(0, 10) == 0
    assert client.lolwut()
    assert client.swapdb(0, 1) is True
    assert client.swapdb(0, 1) is True
    assert client.flushdb(asynchronous=True) is True


def test_a_pool_shared_by_threads(target: Target, resp: int) -> None:
    pool = redis.ConnectionPool(host=target.host, port=target.port, protocol=resp, max_connections=20)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            client = redis.Redis(connection_pool=pool)
            for i in range(50):
                key = f"{number}:{i}"
                assert client.set(key, i)
                assert client.get(key) == str(i).encode()
        except BaseException as error:  # noqa: BLE001 - reported by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    pool.disconnect()
    assert not failures, failures[0]


@pytest.mark.both_protocols
def test_a_password_and_a_name_in_the_url(target: Target, resp: int) -> None:
    admin = target.connect()
    with configured(admin, requirepass="secret"):
        url = f"redis://default:secret@{target.host}:{target.port}/3?protocol={resp}&client_name=me"
        with redis.Redis.from_url(url) as client:
            assert client.set("k", "v") is True
            info: Any = client.client_info()
            assert (info["name"], info["db"], info["resp"]) == ("me", 3, str(resp)) or info["resp"] == resp
        once = Retry(NoBackoff(), 0)
        wrong = redis.Redis(host=target.host, port=target.port, protocol=resp, password="wrong", retry=once)
        with wrong, pytest.raises(AuthenticationError):
            wrong.ping()


def test_a_killed_connection_is_made_anew(client: Any, target: Target) -> None:
    number = client.client_id()
    assert target.connect()("CLIENT", "KILL", "ID", number) == 1
    with contextlib.suppress(RedisConnectionError):
        client.ping()
    assert client.ping() is True
    assert client.client_id() != number


def test_the_unix_socket(node3: Target, resp: int) -> None:
    with redis.Redis(unix_socket_path=node3.server.unixsocket, protocol=resp) as client:
        assert client.set("k", "v") is True
        assert client.get("k") == b"v"
        with client.pipeline() as pipe:
            assert pipe.mset({f"k{i}": i for i in range(20)}).mget([f"k{i}" for i in range(20)]).execute()[0] is True
    assert node3.connect()("GET", "k") == b"v"


async def test_asyncio_strings(aclient: Any) -> None:
    assert await aclient.set("k", "v", ex=100) is True
    assert await aclient.get("k") == b"v"
    assert await aclient.mset({"a": 1, "b": 2}) is True
    assert await aclient.mget("a", "b", "c") == [b"1", b"2", None]
    assert sorted([key async for key in aclient.scan_iter()]) == [b"a", b"b", b"k"]
    with pytest.raises(ResponseError, match="not an integer"):
        await aclient.incr("k")


async def test_asyncio_many_at_once(aclient: Any) -> None:
    async def work(number: int) -> None:
        for i in range(10):
            assert await aclient.set(f"{number}:{i}", i) is True
            assert await aclient.get(f"{number}:{i}") == str(i).encode()

    await asyncio.gather(*(work(number) for number in range(50)))
    assert await aclient.dbsize() == 500


async def test_asyncio_transactions(aclient: Any) -> None:
    async with aclient.pipeline(transaction=True) as pipe:
        assert await pipe.incr("n").set("k", "v").get("k").execute() == [1, True, b"v"]
    async with aclient.pipeline() as pipe:
        await pipe.watch("k")
        await aclient.set("k", "w")
        pipe.multi()
        pipe.set("k", "x")
        with pytest.raises(WatchError):
            await pipe.execute()


async def test_asyncio_publish_and_subscribe(aclient: Any) -> None:
    async with aclient.pubsub() as listener:
        await listener.subscribe("news")
        assert (await listener.get_message(timeout=20))["type"] == "subscribe"
        assert await aclient.publish("news", "hello") == 1
        assert (await listener.get_message(timeout=20))["data"] == b"hello"


async def test_asyncio_cancelled_requests_leave_no_reply_behind(aclient: Any, target: Target) -> None:
    name = f"k:{uuid.uuid4()}"
    await aclient.set(name, "v")
    watcher = target.connect()

    def waiting(but: Set[str] = frozenset()) -> set[str]:
        """The connections that have asked for WAIT, but for some."""
        lines = watcher("CLIENT", "LIST").decode().splitlines()
        return {line.split()[0] for line in lines if " cmd=wait " in line} - but

    for _ in range(10):
        begun = partial(waiting, waiting())
        task = asyncio.ensure_future(aclient.wait(1, 1000))
        await asyncio.to_thread(eventually, begun)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert await aclient.get(name) == b"v"
