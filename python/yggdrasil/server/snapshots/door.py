"""The door of a worker: what the steward asks of the owner of a shard, because nobody else finds it.

```text
question   kind: u8 (1 entries, 2 pins) | physical database: u8 | keys: u32 | of each key: bytes: u32, the key
answer     of each part of a record: its number: u64 | bytes * 2, and 1 more where the record goes on: u64 | the part;
           at the end two zeros
```
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import IO, ParamSpec, TypeVar

from yggdrasil._core import Worker

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")

_ENTRIES, _PINS = 1, 2
_QUESTION = struct.Struct("<BBI")
_KEY = struct.Struct("<I")
_PART = struct.Struct("<QQ")
_CREDENTIALS = struct.Struct("3i")
_PINS_AT_ONCE = 200
_BYTES_AT_ONCE = 64 << 10
_BUSY_S = 0.001
_TIMEOUT_S = 60.0


def open_door() -> socket.socket:
    """A listening socket without a file, whose name the kernel chooses."""
    door = socket.socket(socket.AF_UNIX)
    door.bind("")
    door.listen()
    return door


def address_of(door: socket.socket) -> str:
    """Where it is: in digits, because the name is no text."""
    name: bytes = door.getsockname()
    return name.hex()


async def serve_door(worker: Worker, door: socket.socket) -> asyncio.Server:
    """Answers the steward from now on."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Who has gone, or is no part of the node, gets nothing.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if _is_ours(writer.get_extra_info("socket")):
                kind, physical, keys = await _question(reader)
                records = _entries(worker, physical, keys) if kind == _ENTRIES else _pins(worker, physical)
                async for number, part, goes_on in records:
                    writer.write(_PART.pack(number, len(part) << 1 | goes_on))
                    writer.write(part)
                    await writer.drain()
                writer.write(_PART.pack(0, 0))
                await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(answer, sock=door)


def _is_ours(connection: socket.socket) -> bool:
    """A name of the kernel's has no permissions: whoever asks must be the same user."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(credentials)
    return bool(user == os.geteuid())


async def _question(reader: asyncio.StreamReader) -> tuple[int, int, list[bytes]]:
    kind, physical, count = _QUESTION.unpack(await reader.readexactly(_QUESTION.size))
    keys = []
    for _ in range(count):
        (length,) = _KEY.unpack(await reader.readexactly(_KEY.size))
        keys.append(await reader.readexactly(length))
    return kind, physical, keys


Part = tuple[int, bytes, bool]
"""The number of a record, a part of it, and whether it goes on."""


async def _entries(worker: Worker, physical: int, keys: list[bytes]) -> AsyncIterator[Part]:
    for key in keys:
        parts = await _settled(worker.record_parts, physical, key)
        if parts is not None:
            while (part := parts.next(_BYTES_AT_ONCE)) is not None:
                yield parts.number, part, True
                # Clients have their turn after each.
                await asyncio.sleep(0)
            yield parts.number, b"", False
            continue
        found = await _settled(worker.record_of, physical, key)
        if found is not None:
            yield *found, False
        await asyncio.sleep(0)


async def _pins(worker: Worker, physical: int) -> AsyncIterator[Part]:
    cursor = 0
    while True:
        cursor, found = await _settled(worker.pin_records, physical, cursor, _PINS_AT_ONCE)
        for number, record in found:
            yield number, record, False
        if not cursor:
            return
        await asyncio.sleep(0)


async def _settled(ask: Callable[Asked, Answer], *asked: Asked.args, **named: Asked.kwargs) -> Answer:
    """Asks while no transaction is changing the shard."""
    while True:
        try:
            return ask(*asked, **named)
        except BlockingIOError:
            await asyncio.sleep(_BUSY_S)


class Owners:
    """The workers of a node, for a thread that may wait for them."""

    def __init__(self, doors: Sequence[str]) -> None:
        self._doors = [bytes.fromhex(door) for door in doors]

    def entries(self, shard: int, physical: int, keys: list[bytes]) -> Iterator[tuple[int, bytes]]:
        """Version and record of each of these entries that is there."""
        asked = b"".join(_KEY.pack(len(key)) + key for key in keys)
        yield from self._ask(shard, _QUESTION.pack(_ENTRIES, physical, len(keys)) + asked)

    def pins(self, shard: int, physical: int) -> Iterator[tuple[int, bytes]]:
        """Version and record of each pin."""
        yield from self._ask(shard, _QUESTION.pack(_PINS, physical, 0))

    def _ask(self, shard: int, question: bytes) -> Iterator[tuple[int, bytes]]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.connect(self._doors[shard])
            connection.sendall(question)
            with connection.makefile("rb") as answer:
                begun: list[bytes] = []
                while True:
                    number, length = _PART.unpack(_whole(answer, _PART.size))
                    if not number:
                        return
                    begun.append(_whole(answer, length >> 1))
                    if not length & 1:
                        yield number, b"".join(begun)
                        begun.clear()


def _whole(answer: IO[bytes], length: int) -> bytes:
    read = answer.read(length)
    if len(read) < length:
        raise ConnectionError("the worker has ended")
    return read
