"""Reads one large value again and again, as a client program does: `python -m benches.fetch HOW PORT BYTES SECONDS`.

A process of its own on the load's core; prints one line of JSON. The first reads check the value and are not timed.
"""

import argparse
import asyncio
import json
import os
import time
from typing import TYPE_CHECKING, Any

import redis

from benches.load import LOAD_CPU
from yggdrasil.client import AsyncClient, Client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

KEY = "large"
HOWS = ("get", "get_into", "async get_into")


def value_of(size: int) -> bytes:
    """Bytes in which a piece at a wrong place is noticed."""
    block = bytes(range(251))
    return (block * (size // len(block) + 1))[:size]


def main() -> None:
    """Prints how many bytes were read, in how many seconds, and the CPU time of this process."""
    parser = argparse.ArgumentParser(prog="python -m benches.fetch", description=__doc__)
    parser.add_argument("how", choices=HOWS)
    parser.add_argument("port", type=int)
    parser.add_argument("bytes", type=int)
    parser.add_argument("seconds", type=float)
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CPU})
    if options.how == "async get_into":
        found = asyncio.run(_asynchronous(options.port, options.bytes, options.seconds))
    else:
        found = _synchronous(options.how, options.port, options.bytes, options.seconds)
    print(json.dumps(found))


def _synchronous(how: str, port: int, size: int, seconds: float) -> dict[str, float]:
    buffer = bytearray(size)
    expected = value_of(size)
    if how == "get":
        plain = redis.Redis(port=port)
        read: Callable[[], Any] = lambda: plain.get(KEY)  # noqa: E731
        assert read() == expected
    else:
        client = Client(port=port)
        read = lambda: client.get_into(KEY, buffer)  # noqa: E731
        assert read() == size
        assert buffer == expected
    clock = _Clock(seconds)
    while clock.goes_on():
        read()
    return clock.found(size)


async def _asynchronous(port: int, size: int, seconds: float) -> dict[str, float]:
    buffer = bytearray(size)
    async with AsyncClient(port=port) as client:
        read: Callable[[], Awaitable[int | None]] = lambda: client.get_into(KEY, buffer)  # noqa: E731
        assert await read() == size
        assert buffer == value_of(size)
        clock = _Clock(seconds)
        while clock.goes_on():
            await read()
        return clock.found(size)


class _Clock:
    """Counts rounds until the time is over."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._count = -1
        self._cpu = time.process_time()
        self._start = time.perf_counter()

    def goes_on(self) -> bool:
        """Called before each read."""
        self._count += 1
        return self._count == 0 or time.perf_counter() - self._start < self._seconds

    def found(self, size: int) -> dict[str, float]:
        """What the line says."""
        return {
            "bytes": self._count * size,
            "seconds": time.perf_counter() - self._start,
            "cpu_seconds": time.process_time() - self._cpu,
        }


if __name__ == "__main__":
    main()
