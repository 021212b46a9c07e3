"""The door of a worker: what the steward asks of the owner of a shard, because nobody else finds it.

```text
question   kind: u8 (1 entries, 2 pins) | physical database: u8 | keys: u32 | of each key: bytes: u32, the key
answer     of each record: its number: u64 | bytes: u64 | the record; at the end two zeros
```
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator, Sequence

from yggdrasil._core import Worker

_ENTRIES, _PINS = 1, 2
_QUESTION = struct.Struct("<BBI")
_KEY = struct.Struct("<I")
_RECORD = struct.Struct("<QQ")
_CREDENTIALS = struct.Struct("3i")
_PINS_AT_ONCE = 200
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
                async for number, record in records:
                    writer.write(_RECORD.pack(number, len(record)))
                    writer.write(record)
                    await writer.drain()
                writer.write(_RECORD.pack(0, 0))
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


async def _entries(worker: Worker, physical: int, keys: list[bytes]) -> AsyncIterator[tuple[int, bytes]]:
    for key in keys:
        while True:
            try:
                found = worker.record_of(physical, key)
                break
            except BlockingIOError:
                await asyncio.sleep(_BUSY_S)
        if found is not None:
            yield found
        # Clients have their turn after each: one may have been long.
        await asyncio.sleep(0)


async def _pins(worker: Worker, physical: int) -> AsyncIterator[tuple[int, bytes]]:
    cursor = 0
    while True:
        try:
            cursor, found = worker.pin_records(physical, cursor, _PINS_AT_ONCE)
        except BlockingIOError:
            await asyncio.sleep(_BUSY_S)
            continue
        for record in found:
            yield record
        if not cursor:
            return
        await asyncio.sleep(0)


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
                while True:
                    head = answer.read(_RECORD.size)
                    if len(head) < _RECORD.size:
                        raise ConnectionError("the worker has ended")
                    number, length = _RECORD.unpack(head)
                    if not number:
                        return
                    record = answer.read(length)
                    if len(record) < length:
                        raise ConnectionError("the worker has ended")
                    yield number, record
