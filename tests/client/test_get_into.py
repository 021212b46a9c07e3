"""get_into: every kind of connection and parser, errors that leave the connection as it was."""

import mmap
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
import redis.asyncio
from redis._parsers import _AsyncRESP2Parser, _AsyncRESP3Parser, _RESP2Parser, _RESP3Parser
from redis.backoff import NoBackoff
from redis.cache import CacheConfig
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from tests.client.front import TlsFront
from tests.client.scripted import Scripted
from tests.targets import Target
from tests.wire import eventually

from yggdrasil.client import AsyncClient, BufferTooSmallError, Client
from yggdrasil.client.bulk import BulkReply

pytestmark = pytest.mark.all_servers

SIZES = [0, 1, 41, 55, 56, 57, 58, 100, 16_384, 70_000, 1_000_003, 9_000_000]


def value_of(size: int) -> bytes:
    return bytes(range(251)) * (size // 251) + bytes(range(size % 251))


@pytest.fixture
def filled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of the values received straight into their memory; what redis-py's parser read is not among them."""
    lengths: list[int] = []
    take = BulkReply._take

    def taken(reply: BulkReply, data: bytes) -> bool:
        done = take(reply, data)
        if done and reply.outcome is not None and reply.outcome.name == "VALUE":
            lengths.append(reply.length)
        return done

    monkeypatch.setattr(BulkReply, "_take", taken)
    return lengths


@pytest.mark.both_protocols
@pytest.mark.parametrize("parser", ["hiredis", "python"])
@pytest.mark.parametrize("timeout_s", [None, 10])
def test_every_size(target: Target, resp: int, parser: str, timeout_s: float | None, filled: list[int]) -> None:
    options: dict[str, Any] = {"protocol": resp, "socket_timeout": timeout_s}
    if parser == "python":
        options["parser_class"] = _RESP3Parser if resp == 3 else _RESP2Parser
    pool = redis.ConnectionPool(host=target.host, port=target.port, **options)
    with Client(connection_pool=pool) as client:
        for size in SIZES:
            assert client.set("k", value_of(size)) is True
            buffer = bytearray(b"#" * (size + 3))
            assert client.get_into("k", buffer) == size
            assert buffer == value_of(size) + b"###"
            assert client.ping() is True
        pool.disconnect()
    assert filled == SIZES


@pytest.mark.both_protocols
@pytest.mark.parametrize("parser", ["hiredis", "python"])
@pytest.mark.parametrize("timeout_s", [None, 10])
async def test_every_size_async(
    target: Target, resp: int, parser: str, timeout_s: float | None, filled: list[int]
) -> None:
    options: dict[str, Any] = {"protocol": resp, "socket_timeout": timeout_s}
    if parser == "python":
        options["parser_class"] = _AsyncRESP3Parser if resp == 3 else _AsyncRESP2Parser
    pool = redis.asyncio.ConnectionPool(host=target.host, port=target.port, **options)
    async with AsyncClient(connection_pool=pool) as client:
        for size in SIZES:
            assert await client.set("k", value_of(size)) is True
            buffer = bytearray(b"#" * (size + 3))
            assert await client.get_into("k", buffer) == size
            assert buffer == value_of(size) + b"###"
            assert await client.ping() is True
        await pool.disconnect()
    assert filled == SIZES


def test_an_array_and_a_mapping(client: Client, tmp_path: Path) -> None:
    weights = np.arange(100_000, dtype=np.float32).reshape(100, -1)
    client.set("weights", weights.tobytes())
    loaded = np.empty_like(weights)
    assert client.get_into("weights", loaded) == weights.nbytes
    assert (loaded == weights).all()
    part = np.zeros((3, 100, 1000), dtype=np.float32)
    assert client.get_into(b"weights", part[1]) == weights.nbytes
    assert (part[1] == weights).all()
    assert not part[0].any()
    assert not part[2].any()
    with (tmp_path / "weights").open("w+b") as file:
        file.truncate(weights.nbytes)
        with mmap.mmap(file.fileno(), weights.nbytes) as mapping:
            assert client.get_into("weights", mapping) == weights.nbytes
        assert (tmp_path / "weights").read_bytes() == weights.tobytes()


def test_no_key(client: Client) -> None:
    buffer = bytearray(b"unchanged")
    assert client.get_into("absent", buffer) is None
    assert buffer == b"unchanged"
    assert client.ping() is True


async def test_no_key_async(aclient: AsyncClient) -> None:
    buffer = bytearray(b"unchanged")
    assert await aclient.get_into("absent", buffer) is None
    assert buffer == b"unchanged"
    assert await aclient.ping() is True


@pytest.mark.parametrize("size", [10, 100, 3_000_000, 20_000_000])
def test_a_buffer_that_is_too_small(client: Client, size: int) -> None:
    client.set("k", value_of(size))
    buffer = bytearray(b"#" * 9)
    with pytest.raises(BufferTooSmallError, match=rf"'k' has {size} bytes, the buffer 9; .* at least {size}") as raised:
        client.get_into("k", buffer)
    assert (raised.value.needed, raised.value.given) == (size, 9)
    assert buffer == b"#" * 9
    assert client.get("k") == value_of(size)
    assert client.get_into("k", bytearray(size)) == size


@pytest.mark.parametrize("size", [10, 100, 3_000_000, 20_000_000])
async def test_a_buffer_that_is_too_small_async(aclient: AsyncClient, size: int) -> None:
    await aclient.set("k", value_of(size))
    buffer = bytearray(b"#" * 9)
    with pytest.raises(BufferTooSmallError, match=rf"'k' has {size} bytes, the buffer 9; .* at least {size}"):
        await aclient.get_into("k", buffer)
    assert buffer == b"#" * 9
    assert await aclient.get("k") == value_of(size)
    assert await aclient.get_into("k", bytearray(size)) == size


def test_a_transaction_is_not_disturbed(target: Target, resp: int) -> None:
    with Client(host=target.host, port=target.port, protocol=resp, single_connection_client=True) as client:
        client.set("k", b"v" * 100)
        client.execute_command("WATCH", "k")
        with pytest.raises(BufferTooSmallError):
            client.get_into("k", bytearray(99))
        assert client.get_into("k", bytearray(100)) == 100
        target.connect()("SET", "k", "other")
        client.execute_command("MULTI")
        client.execute_command("PING")
        assert client.execute_command("EXEC") is None


def test_an_error_reply(client: Client) -> None:
    with pytest.raises(TypeError, match="read-only"):
        client.get_into("k", b"bytes")
    with Client(connection_pool=client.connection_pool, single_connection_client=True) as single:
        single.execute_command("MULTI")
        with pytest.raises(ResponseError, match="wrong number of arguments"):
            single.execute_command("GET", yggdrasil_target=memoryview(bytearray(5)))
        single.execute_command("DISCARD")
        assert single.get_into("absent", bytearray(1)) is None


def test_decoded_responses(target: Target, resp: int) -> None:
    with Client(host=target.host, port=target.port, protocol=resp, decode_responses=True) as client:
        client.set("k", b"\xff\xfe")
        buffer = bytearray(2)
        assert client.get_into("k", buffer) == 2
        assert buffer == b"\xff\xfe"


def test_over_a_unix_socket(node3: Target, filled: list[int]) -> None:
    with Client(unix_socket_path=node3.server.unixsocket) as client:
        client.set("k", value_of(5_000_000))
        buffer = bytearray(5_000_000)
        assert client.get_into("k", buffer) == 5_000_000
        assert buffer == value_of(5_000_000)
    assert filled == [5_000_000]


async def test_over_a_unix_socket_async(node3: Target, filled: list[int]) -> None:
    async with AsyncClient(unix_socket_path=node3.server.unixsocket) as client:
        await client.set("k", value_of(5_000_000))
        buffer = bytearray(5_000_000)
        assert await client.get_into("k", buffer) == 5_000_000
        assert buffer == value_of(5_000_000)
    assert filled == [5_000_000]


def test_with_a_cache_in_the_client(peer: Target, filled: list[int]) -> None:
    """Only the peer tracks what clients cache."""
    with Client(host=peer.host, port=peer.port, protocol=3, cache_config=CacheConfig()) as client:
        client.set("k", value_of(1000))
        assert client.get("k") == value_of(1000)
        for value in (value_of(1000), bytes(1000)):
            peer.connect()("SET", "k", value)
            buffer = bytearray(1000)
            assert client.get_into("k", buffer) == 1000
            assert buffer == value
            assert client.get("k") == value
        assert client.get_into("k", bytearray(1000)) == 1000
    assert filled[-1] == 1000


def test_from_url_and_pipelines(target: Target, resp: int) -> None:
    with Client.from_url(f"redis://{target.host}:{target.port}/3?protocol={resp}") as client:
        assert isinstance(client, Client)
        client.set("k", b"v")
        assert client.get_into("k", bytearray(1)) == 1
        assert target.connect()("GET", "k") is None
        with client.pipeline() as pipe:
            pipe.get("k")
            pipe.delete("k")
            assert pipe.execute() == [b"v", 1]


def test_many_threads(target: Target, resp: int) -> None:
    client = Client(host=target.host, port=target.port, protocol=resp)
    values = {f"k{i}": value_of(100_000 + i) for i in range(8)}
    client.mset(values)
    wrong: list[str] = []

    def read(name: str) -> None:
        buffer = bytearray(200_000)
        for _ in range(30):
            count = client.get_into(name, buffer)
            if buffer[: count or 0] != values[name]:
                wrong.append(name)

    threads = [threading.Thread(target=read, args=(name,)) for name in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.close()
    assert wrong == []


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem"
    try:
        subprocess.run(command.split(), cwd=directory, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl to make a certificate")
    return directory


@pytest.fixture
def tls_port(node3: Target, certificate: Path) -> Iterator[int]:
    with TlsFront(certificate, node3.host, node3.port) as front:
        yield front.port


TLS: dict[str, Any] = {"ssl": True, "ssl_cert_reqs": "none", "ssl_check_hostname": False}


def test_over_tls(tls_port: int, filled: list[int]) -> None:
    with Client(port=tls_port, **TLS) as client:
        for size in (0, 100, 3_000_000):
            client.set("k", value_of(size))
            buffer = bytearray(size)
            assert client.get_into("k", buffer) == size
            assert buffer == value_of(size)
        assert client.get_into("absent", bytearray(1)) is None
        with pytest.raises(BufferTooSmallError):
            client.get_into("k", bytearray(10))
        assert client.ping() is True
    assert filled == [0, 100, 3_000_000]


async def test_over_tls_async(tls_port: int, filled: list[int]) -> None:
    async with AsyncClient(port=tls_port, **TLS) as client:
        for size in (0, 100, 3_000_000):
            await client.set("k", value_of(size))
            buffer = bytearray(size)
            assert await client.get_into("k", buffer) == size
            assert buffer == value_of(size)
        assert await client.get_into("absent", bytearray(1)) is None
        with pytest.raises(BufferTooSmallError):
            await client.get_into("k", bytearray(10))
        assert await client.ping() is True
    assert filled == [0, 100, 3_000_000]


PUSH = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"
REPLY = b"$5\r\nhello\r\n"
SCRIPTS = {
    "byte by byte": [bytes([byte]) for byte in REPLY],
    "a push message before": [PUSH + REPLY],
    "a push message before, in pieces": [PUSH[:9], PUSH[9:] + REPLY[:6], REPLY[6:]],
    "a push message behind": [REPLY + PUSH],
    "a push message behind, in pieces": [REPLY + PUSH[:5], PUSH[5:]],
}


@pytest.mark.parametrize("pieces", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("parser", ["hiredis", "python"])
def test_replies_in_pieces_and_push_messages(pieces: list[bytes], parser: str) -> None:
    with Scripted(lambda _: pieces) as server:
        options: dict[str, Any] = {"parser_class": _RESP3Parser} if parser == "python" else {}
        pool = redis.ConnectionPool(port=server.port, protocol=3, **options)
        with Client(connection_pool=pool, single_connection_client=True) as client:
            for _ in range(3):
                buffer = bytearray(9)
                assert client.get_into("k", buffer) == 5
                assert buffer == b"hello\0\0\0\0"
                assert client.get("k") == b"hello"
        pool.disconnect()
        assert server.connections == 1


@pytest.mark.parametrize("pieces", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("parser", ["hiredis", "python"])
async def test_replies_in_pieces_and_push_messages_async(pieces: list[bytes], parser: str) -> None:
    with Scripted(lambda _: pieces) as server:
        options: dict[str, Any] = {"parser_class": _AsyncRESP3Parser} if parser == "python" else {}
        pool = redis.asyncio.ConnectionPool(port=server.port, protocol=3, **options)
        async with AsyncClient(connection_pool=pool, single_connection_client=True) as client:
            for _ in range(3):
                buffer = bytearray(9)
                assert await client.get_into("k", buffer) == 5
                assert buffer == b"hello\0\0\0\0"
                assert await client.get("k") == b"hello"
        await pool.disconnect()
        assert server.connections == 1


BROKEN = {
    "in the header": ([b"$1", b""], RedisConnectionError),
    "in the value": ([b"$100\r\nabc", b""], RedisConnectionError),
    "before the end": ([b"$3\r\nabc\r", b""], RedisConnectionError),
    "wrong end": ([b"$3\r\nabcde"], InvalidResponse),
    "silence": ([b"$100\r\nabc"], RedisTimeoutError),
    "silence at once": ([b"$"], RedisTimeoutError),
}


@pytest.mark.parametrize(("pieces", "error"), BROKEN.values(), ids=BROKEN)
def test_a_connection_that_breaks(pieces: list[bytes], error: type[Exception]) -> None:
    with (
        Scripted(lambda count: pieces if count == 0 else [REPLY]) as server,
        Client(port=server.port, socket_timeout=20, retry=Retry(NoBackoff(), 0)) as client,
    ):
        if error is RedisTimeoutError:
            # Only the silence is waited for so shortly, not the greeting before it nor the next connection.
            connection = client.connection_pool.get_connection()
            connection._sock.settimeout(0.2)
            client.connection_pool.release(connection)
        with pytest.raises(error):
            client.get_into("k", bytearray(200))
        eventually(lambda: server.gets == 1)
        assert client.get_into("k", bytearray(5)) == 5


@pytest.mark.parametrize(("pieces", "error"), BROKEN.values(), ids=BROKEN)
async def test_a_connection_that_breaks_async(pieces: list[bytes], error: type[Exception]) -> None:
    with Scripted(lambda count: pieces if count == 0 else [REPLY]) as server:
        async with AsyncClient(port=server.port, socket_timeout=20, retry=Retry(NoBackoff(), 0)) as client:
            connection = await client.connection_pool.get_connection()
            await client.connection_pool.release(connection)
            if error is RedisTimeoutError:
                connection.socket_timeout = 0.2
            with pytest.raises(error):
                await client.get_into("k", bytearray(200))
            connection.socket_timeout = 20
            eventually(lambda: server.gets == 1)
            assert await client.get_into("k", bytearray(5)) == 5


def test_it_is_tried_again_as_redis_py_is_told() -> None:
    retry = Retry(NoBackoff(), 2, supported_errors=(RedisConnectionError,))
    with Scripted(lambda count: [b"$100\r\nabc", b""] if count < 2 else [REPLY]) as server:
        with Client(port=server.port, retry=retry) as client:
            buffer = bytearray(200)
            assert client.get_into("k", buffer) == 5
            assert buffer[:5] == b"hello"
        assert server.connections == 3
