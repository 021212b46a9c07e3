"""Everything at once over real sockets: nobody waits for ever, whatever others do at the same time."""

import asyncio
import logging
import random
import time
from collections.abc import Iterator

import hiredis
import pytest
from tests.node import HOST, Node
from tests.wire import encode

pytestmark = pytest.mark.slow

SECONDS = 8.0
CLIENTS = 8
REPLY_TIMEOUT_S = 60.0
KEYS = [f"key:{number}" for number in range(30)]
LONG = b"x" * 200_000


@pytest.fixture(params=[1, 2, 3])
def loaded(request: pytest.FixtureRequest) -> Iterator[Node]:
    """A node of one, two and three shards, with little memory."""
    with Node(shards=request.param, maxmemory="200mb", maxmemory_policy="allkeys-lru") as started:
        yield started


def a_request(dice: random.Random) -> list[str | bytes]:
    """Any request, with one reply."""
    key, other = dice.choice(KEYS), dice.choice(KEYS)
    some = dice.sample(KEYS, dice.randrange(1, 6))
    small, length = str(dice.randrange(1000)), dice.choice([65_535, 70_000, 150_000, 200_000])
    choices: list[tuple[int, list[str | bytes]]] = [
        (6, ["SET", key, small]),
        (8, ["GET", key]),
        (3, ["SET", key, LONG[:length]]),
        (2, ["APPEND", key, small]),
        (2, ["INCR", f"counter:{small[0]}"]),
        (3, ["MGET", *some]),
        (2, ["MGET", *(KEYS * 12)]),
        (3, ["MSET", *[part for name in some for part in (name, small)]]),
        (1, ["MSET", key, LONG[:length], other, small]),
        (2, ["DEL", *some]),
        (1, ["RENAME", key, other]),
        (1, ["COPY", key, other, "REPLACE"]),
        (1, ["FLUSHALL"]),
        (1, ["DBSIZE"]),
        (1, ["PUBLISH", "channel", small]),
        (1, ["INFO", "clients"]),
        (1, ["WATCH", key]),
        (1, ["SCAN", "0"]),
        (1, ["EXPIRE", key, "100"]),
        (1, ["PIN", key]),
    ]
    weights = [weight for weight, _ in choices]
    return dice.choices([request for _, request in choices], weights)[0]


def a_pipeline(dice: random.Random) -> tuple[list[bytes], int]:
    """The bytes of some requests, and how many replies there will be."""
    requests = [a_request(dice) for _ in range(dice.choice([1, 1, 4, 16, 40]))]
    if dice.random() < 0.1:
        inside = [request for request in requests if request[0] not in ("WATCH", "INFO")]
        requests = [["MULTI"], *inside, ["EXEC"]]
    return [encode(*request) for request in requests], len(requests)


async def a_client(port: int, seed: int, until: float) -> int:
    """Sends pipelines and reads all replies; leaves in the middle of one now and then, and comes back."""
    dice = random.Random(seed)
    answered = 0
    reader, writer = await asyncio.open_connection(HOST, port)
    replies = hiredis.Reader(notEnoughData=...)
    while time.monotonic() < until:
        requests, due = a_pipeline(dice)
        writer.writelines(requests)
        if dice.random() < 0.03:
            writer.transport.abort()
            reader, writer = await asyncio.open_connection(HOST, port)
            replies = hiredis.Reader(notEnoughData=...)
            continue
        async with asyncio.timeout(REPLY_TIMEOUT_S):
            while due:
                data = await reader.read(1 << 20)
                assert data, "the node has closed the connection"
                replies.feed(data)
                while due and replies.gets() is not ...:
                    due -= 1
                    answered += 1
    writer.close()
    return answered


async def test_every_request_of_a_mixed_load_is_answered(loaded: Node) -> None:
    seed = random.randrange(1 << 30)
    logging.getLogger(__name__).info("seed %d", seed)
    until = time.monotonic() + SECONDS
    ports = [loaded.port, *loaded.worker_ports]
    clients = [a_client(ports[number % len(ports)], seed + number, until) for number in range(CLIENTS)]
    answered = await asyncio.gather(*clients)
    assert min(answered) > 0
    async with asyncio.timeout(REPLY_TIMEOUT_S):
        reader, writer = await asyncio.open_connection(HOST, loaded.port)
        shown = b""
        while b"connected_clients:1\r\n" not in shown:
            writer.write(b"INFO clients\r\n")
            shown = await reader.readuntil(b"\r\n\r\n")
        assert b"blocked_clients:0\r\n" in shown, shown
        writer.close()
