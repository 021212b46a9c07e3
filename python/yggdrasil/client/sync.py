"""The synchronous client."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, Self, cast

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from yggdrasil.client import requests
from yggdrasil.client.errors import BufferTooSmallError, MissingKeyError, StaleValueError
from yggdrasil.client.internals import unwrapped
from yggdrasil.client.memory import writable_bytes
from yggdrasil.client.near import NearReader
from yggdrasil.client.nearby import NOT_SERVED, chunks_of, nearby_of
from yggdrasil.client.pipelines import Pipeline
from yggdrasil.client.receive import Receiver, TooLargeError
from yggdrasil.client.requests import CHUNK_BYTES, READ_AHEAD, TARGET, Key, StreamInfo
from yggdrasil.client.source import Source, chunks, size_of

__all__ = ["Client"]


class Client(redis.Redis):
    """redis-py's `redis.Redis` (all of it: arguments, pools, retries, types), and what only Yggdrasil can do.

    `get_into` needs no more of a server than GET. Errors are redis-py's where they are the same, otherwise those of
    `yggdrasil.client`. Thread-safe as redis-py is.
    """

    def __init__(self, *args: Any, near: str | NearReader | None = None, **kwargs: Any) -> None:
        """The arguments of redis-py's client, and `near`.

        `near`: URL of the near socket of the node (`unix:///path/of/near.sock`), or a NearReader. Then `get`, `mget`,
        `exists`, `get_into` and `stream` are answered from the node's memory where this process is on its machine and
        the value can be read there, and over RESP otherwise; the same values either way. User, password and database
        are those of the connections; ValueError for a reader of another database.
        """
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

    def get_into(self, key: Key, buffer: object) -> int | None:
        """Fills `buffer` with the value of `key`: received from the socket straight into it, without a copy.

        `buffer`: bytearray, memoryview, mmap, numpy array of any type and shape (C-contiguous, writable), or torch
        tensor in the memory of the CPU; of at least as many bytes as the value.

        Returns the bytes written, from the start of the buffer; None where there is no such key. Raises
        BufferTooSmallError (the buffer is unchanged, the error says what is needed), TypeError for memory that cannot
        be filled, and what redis-py raises. After a lost connection the content of the buffer is undefined.
        """
        with writable_bytes(buffer) as target:
            try:
                written: int | None = self.execute_command("GET", key, **{TARGET: target})
            except TooLargeError as error:
                raise BufferTooSmallError(key, error.length, len(target)) from None
            return written

    def stream_info(self, key: Key) -> StreamInfo | None:
        """Length, version, tier and pin of a value; None where there is no such key."""
        info: StreamInfo | None = self.execute_command("STREAMINFO", key)
        return info

    def stream(self, key: Key, *, chunk_size: int = CHUNK_BYTES, read_ahead: int = READ_AHEAD) -> Iterator[bytes]:
        """The value of `key` in chunks of `chunk_size` bytes, the last one shorter; nothing for an empty value.

        `read_ahead` chunks are asked for before they are needed; what the consumer does not take waits at the node. A
        connection is in use until the iterator ends or is closed.

        Raises MissingKeyError where there is no such key, and StaleValueError as soon as the value has changed or gone:
        chunks of two versions are never mixed. With `near` the version of the beginning is given to its end, also when
        the key is written or deleted meanwhile, as long as the node lets its memory be held (near-lease-age).
        """
        requests.check_sizes(chunk_size, read_ahead)
        view = self._nearby.view(key) if self._nearby is not None and self.connection is None else None
        if view is not None:
            yield from chunks_of(key, view, chunk_size)
            return
        info = self.stream_info(key)
        if info is None:
            raise MissingKeyError(key)
        with self._own_connection() as connection:
            yield from _chunks(connection, key, info, chunk_size, read_ahead)

    def put_stream(
        self,
        key: Key,
        source: Source,
        *,
        size: int | None = None,
        ex: int | None = None,
        px: int | None = None,
        chunk_size: int = CHUNK_BYTES,
        blake3: str | bytes | None = None,
    ) -> int:
        """Stores what `source` gives: one piece of memory, a file opened in binary mode, or an iterable of bytes.

        Nobody sees the value before it is complete. `size`, in bytes, lets the node refuse at once what will not fit;
        taken from the source where it is known. `ex` and `px`: time to live in seconds or milliseconds from the end of
        the upload. `blake3`: hash of all bytes, as 64 hexadecimal digits or 32 bytes, which the node checks before it
        stores the value; another hash raises ChecksumError.

        Returns the version of the new value. An error, of the source too, aborts the upload and leaves the key as it
        was. The upload is not repeated after a lost connection: the source may not be.
        """
        requests.check_sizes(chunk_size)
        expected = requests.hash_digits(blake3)
        begin = requests.begin_request(key, size_of(source) if size is None else size, ex, px)
        upload = requests.upload_id(self.execute_command(*begin))
        try:
            with self._own_connection() as connection:
                _append_all(connection, upload, source, chunk_size)
                # Not by execute_command: a commit that is sent again after a lost connection finds no upload.
                connection.send_command(*requests.commit_request(upload, expected))
                with requests.checksum_errors(key):
                    version: int = connection.read_response()
        except (RedisConnectionError, RedisTimeoutError):
            raise  # the node forgets the upload by itself
        except BaseException:
            with suppress(RedisError):
                self.execute_command("PUT_STREAM ABORT", upload)
            raise
        return version

    def pin(self, *keys: Key, ex: int | None = None, px: int | None = None) -> int:
        """Keeps keys from being evicted for `ex` seconds or `px` milliseconds (default: what the node says).

        Returns how many of them exist. Raises redis-py's ResponseError (`PINLIMIT`) where the pinned bytes would pass
        the limit; then nothing is changed.
        """
        pinned: int = self.execute_command(*requests.pin_request(keys, ex, px))
        return pinned

    def unpin(self, *keys: Key) -> int:
        """Ends the pins of keys. Returns how many were pinned."""
        unpinned: int = self.execute_command(*requests.unpin_request(keys))
        return unpinned

    def pin_ttl(self, key: Key) -> int:
        """Seconds until the pin of a key ends; -1 without a pin, -2 without a key."""
        seconds: int = self.execute_command("PINTTL", key)
        return seconds

    def pinned(self, cursor: int = 0, match: Any = None, count: int | None = None) -> tuple[int, list[Any]]:
        """One step over the pinned keys, as `scan`: the cursor of the next step (0: that was all) and some keys."""
        step: tuple[int, list[Any]] = self.execute_command(*requests.pinned_request(cursor, match, count))
        return step

    def pinned_iter(self, match: Any = None, count: int | None = None) -> Iterator[Any]:
        """All pinned keys, as `scan_iter`."""
        cursor, keys = self.pinned(0, match, count)
        yield from keys
        while cursor:
            cursor, keys = self.pinned(cursor, match, count)
            yield from keys

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """As redis-py does it; `stream_info` and the pins can be asked for in it, too."""
        return Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)

    @contextmanager
    def _own_connection(self) -> Iterator[Any]:
        """A connection of the pool for several requests; after an error replies may be unread, so it is closed."""
        single = redis.Redis(connection_pool=self.connection_pool, single_connection_client=True)
        try:
            yield unwrapped(single.connection)
        except BaseException:
            if single.connection is not None:
                single.connection.disconnect()
            raise
        finally:
            single.close()

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Any command, as redis-py does it."""
        # A connection of its own may be inside a transaction, where reads have to go.
        if self._nearby is not None and self.connection is None:
            answer = self._nearby.answer(args[0], args[1:], options.get(TARGET))
            if answer is not NOT_SERVED:
                return answer
        return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def _send_command_parse_response(self, conn: Any, command_name: Any, *args: Any, **options: Any) -> Any:
        target = options.pop(TARGET, None)
        if target is None:
            return super()._send_command_parse_response(conn, command_name, *args, **options)  # type: ignore[no-untyped-call]
        connection = unwrapped(conn)
        connection.send_command(*args)
        receiver = Receiver(connection)
        length = receiver.receive(target)
        receiver.close()
        return length


def _chunks(connection: Any, key: Key, info: StreamInfo, chunk_size: int, read_ahead: int) -> Iterator[bytes]:
    memory = memoryview(bytearray(min(chunk_size, info.length)))
    asked = requests.spans(info.length, chunk_size)
    receiver = None
    for offset, size in requests.spans(info.length, chunk_size):
        for span in islice(asked, 1 if receiver else 1 + read_ahead):
            request = requests.part_request(key, span, info.version)
            # A health check in between would take a part for its answer.
            connection.send_command(*request, check_health=span[0] == 0)
        receiver = receiver or Receiver(connection)
        with requests.stale_errors(key, info.version, offset):
            received = receiver.receive(memory[:size])
        if received != size:
            raise StaleValueError(key, info.version, offset)
        yield bytes(memory[:size])
    if receiver:
        receiver.close()


def _append_all(connection: Any, upload: bytes, source: Source, chunk_size: int) -> None:
    unanswered = 0
    for chunk in chunks(source, chunk_size):
        connection.send_packed_command(requests.append_request(upload, chunk), check_health=unanswered == 0)
        unanswered += 1
        if unanswered > requests.APPENDS_AHEAD:
            connection.read_response()
            unanswered -= 1
    for _ in range(unanswered):
        connection.read_response()
