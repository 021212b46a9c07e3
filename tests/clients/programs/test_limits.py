"""limits: rate limiting by script in all its strategies, synchronous, by asyncio and on a cluster."""

import time
from typing import Any

import limits
import limits.aio.storage
import limits.aio.strategies
import limits.storage
import limits.strategies
import pytest
from tests.targets import Target

pytestmark = pytest.mark.all_servers

STRATEGIES = ["FixedWindowRateLimiter", "MovingWindowRateLimiter", "SlidingWindowCounterRateLimiter"]
PER_HOUR = limits.parse("10/hour")
PER_SECOND = limits.parse("5/second")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategies(url: str, strategy: str) -> None:
    storage = limits.storage.RedisStorage(url)
    limiter = getattr(limits.strategies, strategy)(storage)
    for key in range(20):
        assert limiter.test(PER_HOUR, "user", str(key))
        allowed = [limiter.hit(PER_HOUR, "user", str(key)) for _ in range(12)]
        assert allowed == [True] * 10 + [False] * 2
        assert not limiter.test(PER_HOUR, "user", str(key))
        reset, remaining = limiter.get_window_stats(PER_HOUR, "user", str(key))
        assert remaining == 0
        assert time.time() - 3601 < reset <= time.time() + 3601
        limiter.clear(PER_HOUR, "user", str(key))
        assert limiter.hit(PER_HOUR, "user", str(key), cost=10)
        assert not limiter.hit(PER_HOUR, "user", str(key))
    assert storage.reset() == storage.storage.dbsize() or storage.storage.dbsize() == 0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_windows_end(url: str, strategy: str) -> None:
    limiter = getattr(limits.strategies, strategy)(limits.storage.RedisStorage(url))
    while not all(limiter.hit(PER_SECOND, "k") for _ in range(5)):
        pass
    deadline = time.monotonic() + 30
    while not limiter.hit(PER_SECOND, "k"):
        assert time.monotonic() < deadline


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_asyncio(url: str, strategy: str) -> None:
    storage = limits.aio.storage.RedisStorage(f"async+{url}", implementation="redispy")
    limiter: Any = getattr(limits.aio.strategies, strategy)(storage)
    assert [await limiter.hit(PER_HOUR, "k") for _ in range(12)] == [True] * 10 + [False] * 2
    await limiter.clear(PER_HOUR, "k")
    assert await limiter.hit(PER_HOUR, "k")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_cluster(node3: Target, strategy: str) -> None:
    storage = limits.storage.RedisClusterStorage(f"redis+cluster://{node3.host}:{node3.port}")
    limiter = getattr(limits.strategies, strategy)(storage)
    for key in range(10):
        assert [limiter.hit(PER_HOUR, str(key)) for _ in range(12)] == [True] * 10 + [False] * 2
