"""`near=`: reads come from the node's memory where they can, and over RESP otherwise."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from tests.node import Node
from tests.targets import Target
from tests.wire import OK, eventually

from yggdrasil.client import AsyncClient, BufferTooSmallError, Client, MissingKeyError, NearReader

NOBODY = 1
"""A port where nobody listens: what is answered without it did not go over RESP."""


def url_of(node: Any) -> str:
    return f"unix://{node.dir}/near.sock"


def value_of(size: int) -> bytes:
    return bytes(range(251)) * (size // 251) + bytes(range(size % 251))


@pytest.fixture
def filled(node_target: Target) -> Target:
    c = node_target.connect()
    for name, value in (("k", value_of(100)), ("n", b"12345"), ("large", value_of(3_000_000)), ("empty", b"")):
        c("SET", name, value)
    return node_target


def patient(target: Target) -> NearReader:
    """A reader that waits for closed shards: one that a client opens by its URL has RESP for that."""
    return NearReader(url_of(target.server), patience=20)


def test_a_url_is_read_from_memory(filled: Target) -> None:
    with Client(port=NOBODY, near=url_of(filled.server)) as client:

        def found() -> Any:
            with suppress(RedisConnectionError):
                return client.get("k")
            return None

        assert eventually(found) == value_of(100)


def test_a_client_from_a_url_reads_from_memory(filled: Target) -> None:
    with Client.from_url(f"redis://localhost:{NOBODY}/0", near=patient(filled)) as client:
        assert client.get("k") == value_of(100)
    with Client.from_url(f"redis://localhost:{filled.port}/3", near=url_of(filled.server)) as client:
        assert client.set("in three", "v") is True
        assert client.get("in three") == b"v"
        assert client.get("k") is None


async def test_a_client_from_a_url_reads_from_memory_async(filled: Target) -> None:
    async with AsyncClient.from_url(f"redis://localhost:{NOBODY}/0", near=patient(filled)) as client:
        assert await client.get("k") == value_of(100)


async def test_a_url_is_read_from_memory_async(filled: Target) -> None:
    async with AsyncClient(port=NOBODY, near=url_of(filled.server)) as client:
        async with asyncio.timeout(20):
            value = None
            while value is None:
                with suppress(RedisConnectionError):
                    value = await client.get("k")
        assert value == value_of(100)


def test_reads_need_no_connection(filled: Target) -> None:
    client = Client(port=NOBODY, near=patient(filled))
    assert client.get("k") == value_of(100)
    assert client.get(b"n") == b"12345"
    assert client.get("absent") is None
    assert client.mget("k", "absent", "n", "empty") == [value_of(100), None, b"12345", b""]
    assert client.exists("k") == 1
    assert client.exists("k", "absent", "n", "k") == 3
    buffer = bytearray(3_000_000)
    assert client.get_into("large", buffer) == 3_000_000
    assert buffer == value_of(3_000_000)
    assert client.get_into("absent", buffer) is None
    with pytest.raises(BufferTooSmallError, match="'large' has 3000000 bytes, the buffer 5;") as raised:
        client.get_into("large", bytearray(5))
    assert (raised.value.needed, raised.value.given) == (3_000_000, 5)
    with pytest.raises(RedisConnectionError):
        client.set("k", "v")
    client.close()


async def test_reads_need_no_connection_async(filled: Target) -> None:
    async with AsyncClient(port=NOBODY, near=patient(filled)) as client:
        assert await client.get("k") == value_of(100)
        assert await client.mget("k", "absent") == [value_of(100), None]
        assert await client.exists("k", "absent") == 1
        buffer = bytearray(100)
        assert await client.get_into("k", buffer) == 100
        assert buffer == value_of(100)


def test_a_stream_needs_no_connection_and_keeps_its_version(filled: Target) -> None:
    writer = filled.connect()
    with Client(port=NOBODY, near=patient(filled)) as client:
        assert list(client.stream("k", chunk_size=40)) == [value_of(100)[:40], value_of(100)[40:80], value_of(100)[80:]]
        assert list(client.stream("empty")) == []
        stream = client.stream("large", chunk_size=1_000_000)
        first = next(stream)
        writer("SET", "large", b"x" * 3_000_000)
        assert first + b"".join(stream) == value_of(3_000_000)
        assert b"".join(client.stream("large")) == b"x" * 3_000_000
    with Client(port=filled.port, near=url_of(filled.server)) as client, pytest.raises(MissingKeyError):
        next(client.stream("absent"))


def test_a_stream_that_is_closed_lets_the_value_go(node_target: Target) -> None:
    reader = patient(node_target)
    assert node_target.connect()("SET", "large", value_of(3_000_000)) == OK
    with Client(port=NOBODY, near=reader) as client:
        # More than may be held at a time (near-leases-max).
        for _ in range(2000):
            stream = client.stream("large", chunk_size=1000)
            next(stream)
            stream.close()


async def test_a_stream_needs_no_connection_async(filled: Target) -> None:
    async with AsyncClient(port=NOBODY, near=patient(filled)) as client:
        assert b"".join([chunk async for chunk in client.stream("large")]) == value_of(3_000_000)


def test_decoded_and_another_database(filled: Target) -> None:
    with Client(port=filled.port, db=3, decode_responses=True, near=url_of(filled.server)) as client:
        assert client.get("k") is None
        client.set("ä", "ö")
        assert client.get("ä") == "ö"
        assert client.mget("ä", "k") == ["ö", None]


def test_a_reader_of_another_database_is_refused(filled: Target) -> None:
    reader = NearReader(url_of(filled.server), db=3)
    assert reader.db == 3
    with Client(port=filled.port, db=3, near=reader) as client:
        assert client.get("k") is None
    for other in (0, 1):
        with pytest.raises(ValueError, match=rf"near reads database 3, the client database {other}"):
            Client(port=filled.port, db=other, near=reader)


def test_its_own_writes_are_read(filled: Target) -> None:
    with Client(port=filled.port, near=url_of(filled.server)) as client:
        for i in range(300):
            client.set(f"k{i % 7}", i)
            assert client.get(f"k{i % 7}") == str(i).encode()
            client.delete(f"k{i % 7}")
            assert client.get(f"k{i % 7}") is None


def test_a_single_connection_reads_inside_its_transaction(filled: Target) -> None:
    with Client(port=filled.port, single_connection_client=True, near=url_of(filled.server)) as client:
        client.execute_command("MULTI")
        assert client.execute_command("GET", "k") == b"QUEUED"
        assert client.execute_command("EXEC") == [value_of(100)]
    with Client(port=filled.port, near=url_of(filled.server)) as client, client.pipeline() as pipe:
        pipe.get("k")
        assert pipe.execute() == [value_of(100)]


@pytest.mark.parametrize("url", ["unix:///nowhere/near.sock", "unix:///etc/passwd"])
def test_without_a_node_here_it_is_resp(filled: Target, url: str) -> None:
    with Client(port=filled.port, near=url) as client:
        assert client.get("k") == value_of(100)
        assert client.mget("k", "n") == [value_of(100), b"12345"]
        assert client.exists("k") == 1
        assert client.get_into("k", bytearray(100)) == 100
        with pytest.raises(ResponseError):
            client.execute_command("GET", "k", "too many")


def test_a_node_that_restarts(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with Node(shards=2, directory=home) as node:
        port = node.port
        client = Client(port=port, near=url_of(node))
        client.set("k", "before")
        assert client.get("k") == b"before"
        node.stop()
        with pytest.raises(RedisConnectionError):
            client.get("k")
    home.mkdir()
    with Node(shards=2, directory=home, port=port):
        assert client.get("k") is None
        client.set("k", "after")
        assert client.get("k") == b"after"
        client.close()


def test_a_url_that_is_none(filled: Target) -> None:
    with Client(port=filled.port, near="http://localhost") as client, pytest.raises(ValueError, match="unix://"):
        client.get("k")
