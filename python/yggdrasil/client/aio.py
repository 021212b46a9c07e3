"""The client for asyncio."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import islice
from typing import Any, Self, cast

import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from yggdrasil.client import requests
from yggdrasil.client.errors import BufferTooSmallError, MissingKeyError, StaleValueError
from yggdrasil.client.memory import writable_bytes
from yggdrasil.client.near import NearReader
from yggdrasil.client.nearby import NOT_SERVED, chunks_of, nearby_of
from yggdrasil.client.pipelines import AsyncPipeline
from yggdrasil.client.receive import TooLargeError
from yggdrasil.client.requests import CHUNK_BYTES, READ_AHEAD, TARGET, Key, StreamInfo
from yggdrasil.client.source import AsyncSource, achunks, size_of
from yggdrasil.client.takeover import Takeover

__all__ = ["AsyncClient"]


class AsyncClient(redis.asyncio.Redis):
    """redis-py's `redis.asyncio.Redis`, with the methods of `Client` to be awaited; on asyncio's loop and on uvloop.

    What each method takes, gives and raises is said at `Client`.
    """

    def __init__(self, *args: Any, near: str | NearReader | None = None, **kwargs: Any) -> None:
        """As `Client`."""
        super().__init__(*args, **kwargs)
        self._nearby = nearby_of(self, near)
        for name, callback in requests.RESPONSE_CALLBACKS.items():
            self.set_response_callback(name, callback)

    @classmethod
    def from_url(cls, url: str, *args: Any, near: str | NearReader | None = None, **kwargs: Any) -> Self:
        """As redis-py's `from_url`, and `near` as `Client` takes it."""
        client = cast("Self", super().from_url(url, *args, **kwargs))
        client._nearby = nearby_of(client, near)  # noqa: SLF001 - one of this class
        return client

    async def get_into(self, key: Key, buffer: object) -> int | None:
        """Fills `buffer` with the value of `key`; the event loop receives straight into it.

        The buffer must not be touched before the call has ended. As `Client.get_into`.
        """
        with writable_bytes(buffer) as target:
            try:
                written: int | None = await self.execute_command("GET", key, **{TARGET: target})
            except TooLargeError as error:
                raise BufferTooSmallError(key, error.length, len(target)) from None
            return written

    async def stream_info(self, key: Key) -> StreamInfo | None:
        """As `Client.stream_info`."""
        info: StreamInfo | None = await self.execute_command("STREAMINFO", key)
        return info

    async def stream(
        self, key: Key, *, chunk_size: int = CHUNK_BYTES, read_ahead: int = READ_AHEAD
    ) -> AsyncIterator[bytes]:
        """As `Client.stream`: `async for chunk in client.stream(key)`."""
        requests.check_sizes(chunk_size, read_ahead)
        view = self._nearby.view(key) if self._nearby is not None and self.connection is None else None
        if view is not None:
            for chunk in chunks_of(key, view, chunk_size):
                yield chunk
            return
        info = await self.stream_info(key)
        if info is None:
            raise MissingKeyError(key)
        async with self._own_connection() as connection, Takeover(connection) as taken:
            memory = memoryview(bytearray(min(chunk_size, info.length)))
            asked = requests.spans(info.length, chunk_size)
            for offset, size in requests.spans(info.length, chunk_size):
                for span in islice(asked, 1 if offset else 1 + read_ahead):
                    request = requests.part_request(key, span, info.version)
                    await connection.send_command(*request, check_health=False)
                with requests.stale_errors(key, info.version, offset):
                    received = await taken.receive(memory[:size])
                if received != size:
                    raise StaleValueError(key, info.version, offset)
                yield bytes(memory[:size])

    async def put_stream(
        self,
        key: Key,
        source: AsyncSource,
        *,
        size: int | None = None,
        ex: int | None = None,
        px: int | None = None,
        chunk_size: int = CHUNK_BYTES,
        blake3: str | bytes | None = None,
    ) -> int:
        """As `Client.put_stream`; the source may be an async iterable, too, and files are read in a thread."""
        requests.check_sizes(chunk_size)
        expected = requests.hash_digits(blake3)
        begin = requests.begin_request(key, size_of(source) if size is None else size, ex, px)
        upload = requests.upload_id(await self.execute_command(*begin))
        try:
            async with self._own_connection() as connection:
                await _append_all(connection, upload, source, chunk_size)
                # Not by execute_command: a commit that is sent again after a lost connection finds no upload.
                await connection.send_command(*requests.commit_request(upload, expected))
                with requests.checksum_errors(key):
                    version: int = await connection.read_response()
        except (RedisConnectionError, RedisTimeoutError):
            raise  # the node forgets the upload by itself
        except BaseException:
            with suppress(RedisError):
                await self.execute_command("PUT_STREAM ABORT", upload)
            raise
        return version

    async def pin(self, *keys: Key, ex: int | None = None, px: int | None = None) -> int:
        """As `Client.pin`."""
        pinned: int = await self.execute_command(*requests.pin_request(keys, ex, px))
        return pinned

    async def unpin(self, *keys: Key) -> int:
        """As `Client.unpin`."""
        unpinned: int = await self.execute_command(*requests.unpin_request(keys))
        return unpinned

    async def pin_ttl(self, key: Key) -> int:
        """As `Client.pin_ttl`."""
        seconds: int = await self.execute_command("PINTTL", key)
        return seconds

    async def pinned(self, cursor: int = 0, match: Any = None, count: int | None = None) -> tuple[int, list[Any]]:
        """As `Client.pinned`."""
        step: tuple[int, list[Any]] = await self.execute_command(*requests.pinned_request(cursor, match, count))
        return step

    async def pinned_iter(self, match: Any = None, count: int | None = None) -> AsyncIterator[Any]:
        """As `Client.pinned_iter`."""
        cursor = -1
        while cursor:
            cursor, keys = await self.pinned(max(cursor, 0), match, count)
            for key in keys:
                yield key

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> AsyncPipeline:
        """As `Client.pipeline`."""
        return AsyncPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)

    @asynccontextmanager
    async def _own_connection(self) -> AsyncIterator[Any]:
        """A connection of the pool for several requests; after an error replies may be unread, so it is closed."""
        single = redis.asyncio.Redis(connection_pool=self.connection_pool, single_connection_client=True)
        await single.initialize()
        try:
            yield single.connection
        except BaseException:
            if single.connection is not None:
                await single.connection.disconnect(nowait=True)
            raise
        finally:
            await single.aclose()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Any command, as redis-py does it."""
        # A connection of its own may be inside a transaction, where reads have to go.
        if self._nearby is not None and self.connection is None:
            answer = self._nearby.answer(args[0], args[1:], options.get(TARGET))
            if answer is not NOT_SERVED:
                return answer
        return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    async def _send_command_parse_response(self, conn: Any, command_name: Any, *args: Any, **options: Any) -> Any:
        target = options.pop(TARGET, None)
        if target is None:
            return await super()._send_command_parse_response(conn, command_name, *args, **options)  # type: ignore[no-untyped-call]
        async with Takeover(conn) as taken:
            await conn.send_command(*args, check_health=False)
            return await taken.receive(target)


async def _append_all(connection: Any, upload: bytes, source: AsyncSource, chunk_size: int) -> None:
    unanswered = 0
    async for chunk in achunks(source, chunk_size):
        await connection.send_packed_command(requests.append_request(upload, chunk), check_health=unanswered == 0)
        unanswered += 1
        if unanswered > requests.APPENDS_AHEAD:
            await connection.read_response()
            unanswered -= 1
    for _ in range(unanswered):
        await connection.read_response()
