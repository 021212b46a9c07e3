"""Values read and written in parts."""

import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.targets import Target, configured

from yggdrasil.client import AsyncClient, ChecksumError, Client, MissingKeyError, StaleValueError, StreamInfo

pytestmark = pytest.mark.all_servers


def value_of(size: int) -> bytes:
    return bytes(range(251)) * (size // 251) + bytes(range(size % 251))


def in_use(client: Any) -> int:
    return len(client.connection_pool._in_use_connections)


@pytest.mark.parametrize("read_ahead", [0, 1, 4, 1000])
@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 250_000])
def test_a_value_in_chunks(node_client: Client, size: int, read_ahead: int) -> None:
    node_client.set("k", value_of(size))
    chunks = list(node_client.stream("k", chunk_size=1000, read_ahead=read_ahead))
    assert b"".join(chunks) == value_of(size)
    assert [len(chunk) for chunk in chunks] == [1000] * (size // 1000) + ([size % 1000] if size % 1000 else [])
    assert in_use(node_client) == 0
    assert node_client.ping() is True


@pytest.mark.parametrize("read_ahead", [0, 1, 4, 1000])
@pytest.mark.parametrize("size", [0, 1, 1000, 250_000])
async def test_a_value_in_chunks_async(node_aclient: AsyncClient, size: int, read_ahead: int) -> None:
    await node_aclient.set("k", value_of(size))
    chunks = [chunk async for chunk in node_aclient.stream("k", chunk_size=1000, read_ahead=read_ahead)]
    assert b"".join(chunks) == value_of(size)
    assert in_use(node_aclient) == 0
    assert await node_aclient.ping() is True


def test_large_chunks(node_client: Client) -> None:
    value = value_of(20_000_000)
    node_client.set("k", value)
    assert b"".join(node_client.stream("k")) == value
    node_client.set("n", 12345)
    assert list(node_client.stream("n", chunk_size=3)) == [b"123", b"45"]


async def test_large_chunks_async(node_aclient: AsyncClient) -> None:
    value = value_of(20_000_000)
    await node_aclient.set("k", value)
    assert b"".join([chunk async for chunk in node_aclient.stream("k")]) == value


@pytest.mark.parametrize("change", ["SET k other", "DEL k", "APPEND k x", "SETRANGE k 0 x", "FLUSHALL"])
@pytest.mark.parametrize("read_ahead", [0, 4])
def test_two_versions_are_never_mixed(node_client: Client, change: str, read_ahead: int) -> None:
    node_client.set("k", value_of(100_000))
    stream = node_client.stream("k", chunk_size=100, read_ahead=read_ahead)
    assert next(stream) == value_of(100_000)[:100]
    node_client.execute_command(*change.split())
    with pytest.raises(StaleValueError, match=r"'k' has changed after \d+ bytes") as raised:
        list(stream)
    assert 100 <= raised.value.offset <= 100 * (1 + read_ahead)
    assert in_use(node_client) == 0
    assert node_client.ping() is True


@pytest.mark.parametrize("change", ["SET k other", "DEL k"])
async def test_two_versions_are_never_mixed_async(node_aclient: AsyncClient, change: str) -> None:
    await node_aclient.set("k", value_of(100_000))
    stream = node_aclient.stream("k", chunk_size=100)
    assert await anext(stream) == value_of(100_000)[:100]
    await node_aclient.execute_command(*change.split())
    with pytest.raises(StaleValueError, match="'k' has changed after"):
        [chunk async for chunk in stream]
    assert in_use(node_aclient) == 0
    assert await node_aclient.ping() is True


def test_an_iterator_that_is_left(node_client: Client) -> None:
    node_client.set("k", value_of(1_000_000))
    for chunk in node_client.stream("k", chunk_size=1000):
        assert chunk == value_of(1000)
        break
    stream = node_client.stream("k", chunk_size=1000)
    next(stream)
    assert in_use(node_client) == 1
    stream.close()  # type: ignore[attr-defined]
    assert in_use(node_client) == 0
    assert node_client.get("k") == value_of(1_000_000)


async def test_an_iterator_that_is_left_async(node_aclient: AsyncClient) -> None:
    await node_aclient.set("k", value_of(1_000_000))
    stream: Any = node_aclient.stream("k", chunk_size=1000)
    await anext(stream)
    assert in_use(node_aclient) == 1
    await stream.aclose()
    assert in_use(node_aclient) == 0
    assert await node_aclient.get("k") == value_of(1_000_000)


def test_no_key(node_client: Client) -> None:
    with pytest.raises(MissingKeyError, match="there is no key 'absent'"):
        next(node_client.stream("absent"))
    assert node_client.stream_info("absent") is None


async def test_no_key_async(node_aclient: AsyncClient) -> None:
    with pytest.raises(MissingKeyError):
        await anext(node_aclient.stream("absent"))
    assert await node_aclient.stream_info("absent") is None


@pytest.mark.parametrize(("options", "why"), [({"chunk_size": 0}, "chunk_size"), ({"read_ahead": -1}, "read_ahead")])
def test_wrong_numbers(node_client: Client, options: dict[str, int], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        next(node_client.stream("k", **options))


def test_stream_info(node_client: Client, node_target: Target, resp: int) -> None:
    node_client.set("k", value_of(1234))
    info = node_client.stream_info("k")
    assert isinstance(info, StreamInfo)
    assert (info.length, info.tier, info.pin) == (1234, "dram", None)
    assert info.chunk_size > 0
    node_client.append("k", "x")
    later = node_client.stream_info("k")
    assert later is not None
    assert later.length == 1235
    assert later.version != info.version
    with Client(port=node_target.port, protocol=resp, decode_responses=True) as decoded:
        assert decoded.stream_info("k") == later
        assert list(decoded.stream("k")) == [value_of(1234) + b"x"]


class Pipe(io.RawIOBase):
    """A file that gives less than it is asked for, and knows no size."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece, self.data = self.data[:7], self.data[min(7, len(buffer)) :]
        buffer[: len(piece)] = piece[: len(buffer)]
        return min(len(piece), len(buffer))


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    yield from (data[at : at + size] for at in range(0, len(data), size))


SOURCES: dict[str, Any] = {
    "bytes": lambda data: data,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "file": io.BytesIO,
    "pipe": Pipe,
    "small pieces": lambda data: pieces(data, 7),
    "large pieces": lambda data: pieces(data, 3001),
    "changing memory": lambda data: (memoryview(bytearray(piece)) for piece in pieces(data, 1000)),
    "empty pieces": lambda data: [b"", data, b""],
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 20_011])
def test_put_stream(node_client: Client, source: Any, size: int) -> None:
    data = value_of(size)
    version = node_client.put_stream("k", source(data), chunk_size=1000)
    assert node_client.get("k") == data
    info = node_client.stream_info("k")
    assert info is not None
    assert info.version == version
    assert in_use(node_client) == 0


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
async def test_put_stream_async(node_aclient: AsyncClient, source: Any) -> None:
    data = value_of(20_011)
    await node_aclient.put_stream("k", source(data), chunk_size=1000)
    assert await node_aclient.get("k") == data
    assert in_use(node_aclient) == 0


async def test_put_stream_of_what_is_awaited(node_aclient: AsyncClient) -> None:
    data = value_of(20_011)

    async def produced() -> AsyncIterator[bytes]:
        for piece in pieces(data, 3000):
            yield piece

    class File:
        def __init__(self) -> None:
            self.file = io.BytesIO(data)

        async def read(self, size: int) -> bytes:
            return self.file.read(size)

    for source in (produced(), File()):
        await node_aclient.put_stream("k", source, chunk_size=1000)
        assert await node_aclient.get("k") == data


def test_put_stream_of_a_large_file(node_client: Client, tmp_path: Path) -> None:
    data = value_of(9_000_000)
    (tmp_path / "large").write_bytes(data)
    with (tmp_path / "large").open("rb") as file:
        file.seek(1_000_000)
        node_client.put_stream("k", file, ex=100)
    assert node_client.get("k") == data[1_000_000:]
    assert 0 < int(node_client.ttl("k")) <= 100
    node_client.put_stream("k", data, px=5000)
    assert 0 < int(node_client.pttl("k")) <= 5000


# The hashes of nothing and of "abc", from the test vectors of BLAKE3.
EMPTY_HASH = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
ABC_HASH = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"


def test_put_stream_checks_the_hash(node_client: Client) -> None:
    node_client.set("k", "before")
    for wrong in (ABC_HASH, ABC_HASH.upper(), bytes.fromhex(ABC_HASH)):
        with pytest.raises(ChecksumError, match=f"'k' was not stored: .* BLAKE3 {EMPTY_HASH}, not {ABC_HASH}"):
            node_client.put_stream("k", b"", blake3=wrong)
        assert node_client.get("k") == b"before"
    for right in (ABC_HASH, ABC_HASH.upper(), bytes.fromhex(ABC_HASH)):
        node_client.put_stream("k", iter((b"a", b"bc")), blake3=right)
        assert node_client.getdel("k") == b"abc"
    assert in_use(node_client) == 0


@pytest.mark.parametrize("wrong", ["", "x", EMPTY_HASH + "0", "g" * 64, b"", bytes(31), EMPTY_HASH.encode()])
def test_put_stream_refuses_what_is_no_hash(node_client: Client, wrong: str | bytes) -> None:
    def source() -> Iterator[bytes]:
        pytest.fail("nothing is to be read for it")
        yield b""

    with pytest.raises(ValueError, match="64 hexadecimal digits or 32 bytes"):
        node_client.put_stream("k", source(), blake3=wrong)
    assert node_client.exists("k") == 0


async def test_put_stream_checks_the_hash_async(node_aclient: AsyncClient) -> None:
    await node_aclient.set("k", "before")
    with pytest.raises(ChecksumError, match="'k' was not stored"):
        await node_aclient.put_stream("k", b"", blake3=bytes.fromhex(ABC_HASH))
    assert await node_aclient.get("k") == b"before"
    with pytest.raises(ValueError, match="64 hexadecimal digits or 32 bytes"):
        await node_aclient.put_stream("k", b"", blake3="x")
    await node_aclient.put_stream("k", b"abc", blake3=ABC_HASH)
    assert await node_aclient.get("k") == b"abc"
    assert in_use(node_aclient) == 0


def broken() -> Iterator[bytes]:
    yield value_of(5000)
    raise RuntimeError("the source is broken")


def test_put_stream_of_what_has_no_bytes(node_client: Client) -> None:
    sources: list[Any] = [None, 5, [1, 2], ["text"], [None]]
    for source in sources:
        with pytest.raises(TypeError):
            node_client.put_stream("k", source)
    assert node_client.exists("k") == 0


def test_put_stream_from_a_source_that_breaks(node_client: Client) -> None:
    node_client.set("k", "before")
    with pytest.raises(RuntimeError, match="the source is broken"):
        node_client.put_stream("k", broken(), chunk_size=1000)
    assert node_client.get("k") == b"before"
    assert in_use(node_client) == 0


async def test_put_stream_from_a_source_that_breaks_async(node_aclient: AsyncClient) -> None:
    await node_aclient.set("k", "before")
    with pytest.raises(RuntimeError, match="the source is broken"):
        await node_aclient.put_stream("k", broken(), chunk_size=1000)
    assert await node_aclient.get("k") == b"before"
    assert in_use(node_aclient) == 0


def test_an_upload_that_is_given_up_is_forgotten(node_client: Client, node_target: Target) -> None:
    with configured(node_target.connect(), stream_uploads_max=1):
        for _ in range(20):
            with pytest.raises(RuntimeError):
                node_client.put_stream("k", broken(), chunk_size=1000)
        node_client.put_stream("k", b"value")
    assert node_client.get("k") == b"value"


@pytest.mark.parametrize("source", [lambda: io.StringIO("text"), lambda: ["text"], lambda: [1]])
def test_what_gives_no_bytes(node_client: Client, source: Any) -> None:
    with pytest.raises(TypeError, match="bytes"):
        node_client.put_stream("k", source())
    assert node_client.exists("k") == 0
