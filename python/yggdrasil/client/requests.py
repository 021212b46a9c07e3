"""Requests and replies of the commands that redis-py does not know, for both clients."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from redis.exceptions import InvalidResponse, ResponseError

from yggdrasil.client.errors import ChecksumError, StaleValueError

__all__ = ["CHUNK_BYTES", "READ_AHEAD", "TARGET", "Key", "StreamInfo"]

Key = str | bytes | memoryview
"""What redis-py takes for the name of a key."""
Request = list[Any]

CHUNK_BYTES = 1024 * 1024
"""Large enough that requests cost nothing beside the bytes, small enough to stay in the cache of a core."""
READ_AHEAD = 4
"""Chunks that are asked for before they are needed."""
APPENDS_AHEAD = 4
"""Chunks of an upload that are sent before the first of them is answered."""

TARGET = "yggdrasil_target"
"""The option of a request whose reply goes into memory of the caller."""

_JOIN_BYTES_MAX = 16 * 1024
_HASH = re.compile("[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What a node says of a value."""

    length: int
    """Bytes of the value."""
    version: int
    """Another number after each change of the value."""
    chunk_size: int
    """Bytes of a read that the node advises."""
    tier: str
    """Where the value is: `dram`."""
    pin: int | None
    """Milliseconds until its pin ends; None where it is not pinned."""

    @classmethod
    def from_reply(cls, reply: Any, **_options: Any) -> Self | None:
        """From the reply of STREAMINFO, in either protocol, decoded or not."""
        if reply is None:
            return None
        items = reply.items() if isinstance(reply, Mapping) else zip(reply[::2], reply[1::2], strict=True)
        fields = {_text(name): value for name, value in items}
        try:
            return cls(
                length=int(fields["length"]),
                version=int(fields["version"]),
                chunk_size=int(fields["chunk-size"]),
                tier=_text(fields["tier"]),
                pin=None if fields["pin"] is None else int(fields["pin"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidResponse(f"STREAMINFO replied {reply!r}") from error


def _cursor_and_keys(reply: Any, **_options: Any) -> tuple[int, list[Any]]:
    cursor, keys = reply
    return int(cursor), list(keys)


RESPONSE_CALLBACKS: dict[str, Any] = {"STREAMINFO": StreamInfo.from_reply, "PINNED": _cursor_and_keys}


def pin_request(keys: tuple[Key, ...], ex: int | None, px: int | None) -> Request:
    """PIN; ValueError where no key is given or both times are."""
    if not keys:
        raise ValueError("pin needs at least one key")
    return ["PIN", *keys, *_lifetime(ex, px)]


def unpin_request(keys: tuple[Key, ...]) -> Request:
    """UNPIN."""
    if not keys:
        raise ValueError("unpin needs at least one key")
    return ["UNPIN", *keys]


def pinned_request(cursor: int, match: Any, count: int | None) -> Request:
    """PINNED."""
    request: Request = ["PINNED", cursor]
    if match is not None:
        request += ["MATCH", match]
    if count is not None:
        request += ["COUNT", count]
    return request


def begin_request(key: Key, size: int | None, ex: int | None, px: int | None) -> Request:
    """PUT_STREAM BEGIN."""
    return ["PUT_STREAM BEGIN", key, *([] if size is None else [size]), *_lifetime(ex, px)]


def append_request(upload: bytes, chunk: bytes | memoryview) -> list[bytes | memoryview]:
    """PUT_STREAM APPEND in pieces ready to be sent, without a copy of a large chunk."""
    size = len(chunk)
    head = b"*4\r\n$10\r\nPUT_STREAM\r\n$6\r\nAPPEND\r\n$%d\r\n%b\r\n$%d\r\n" % (len(upload), upload, size)
    if size <= _JOIN_BYTES_MAX:
        return [b"".join((head, chunk, b"\r\n"))]
    return [head, chunk, b"\r\n"]


def hash_digits(blake3: str | bytes | None) -> str | None:
    """A BLAKE3 hash as PUT_STREAM COMMIT takes it; ValueError for what is none."""
    digits = blake3.hex() if isinstance(blake3, bytes) else blake3
    if digits is not None and not _HASH.fullmatch(digits):
        raise ValueError(f"blake3 is 64 hexadecimal digits or 32 bytes, not {blake3!r}")
    return digits


def commit_request(upload: bytes, digits: str | None) -> Request:
    """PUT_STREAM COMMIT."""
    return ["PUT_STREAM COMMIT", upload, *([] if digits is None else [digits])]


@contextmanager
def checksum_errors(key: Key) -> Iterator[None]:
    """The error reply that says that an upload has another hash, as ChecksumError."""
    try:
        yield
    except ResponseError as error:
        if str(error).startswith("CHECKSUM "):
            raise ChecksumError(key, str(error).removeprefix("CHECKSUM ")) from None
        raise


def upload_id(reply: Any) -> bytes:
    """The id that PUT_STREAM BEGIN gave."""
    return reply.encode() if isinstance(reply, str) else bytes(reply)


def part_request(key: Key, span: tuple[int, int], version: int) -> Request:
    """GET_STREAM of one version."""
    return ["GET_STREAM", key, *span, "VERSION", version]


@contextmanager
def stale_errors(key: Key, version: int, offset: int) -> Iterator[None]:
    """The error reply that says that a value has another version by now, as StaleValueError."""
    try:
        yield
    except ResponseError as error:
        if str(error).startswith("STALE"):
            raise StaleValueError(key, version, offset) from None
        raise


def spans(length: int, chunk_size: int) -> Iterator[tuple[int, int]]:
    """Offset and size of each chunk of a value."""
    for offset in range(0, length, chunk_size):
        yield offset, min(chunk_size, length - offset)


def check_sizes(chunk_size: int, read_ahead: int = 0) -> None:
    """ValueError where a caller's numbers make no sense."""
    if chunk_size < 1:
        raise ValueError(f"chunk_size is a number of bytes from 1 on, not {chunk_size}")
    if read_ahead < 0:
        raise ValueError(f"read_ahead is a number of chunks from 0 on, not {read_ahead}")


def _lifetime(ex: int | None, px: int | None) -> Request:
    if ex is not None and px is not None:
        raise ValueError("give ex (seconds) or px (milliseconds), not both")
    if ex is not None:
        return ["EX", ex]
    return [] if px is None else ["PX", px]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
