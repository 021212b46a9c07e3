"""Locks: redis-py's own, and python-redis-lock, whose waiters block on a list."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis
import redis.asyncio
import redis_lock
from redis.exceptions import LockError, LockNotOwnedError
from redis.lock import Lock

pytestmark = pytest.mark.all_servers


def counted_under(make: Callable[[Any], Any], url: str) -> int:
    """What threads count to that each read and write under the lock."""

    def work() -> None:
        with redis.Redis.from_url(url) as own:
            for _ in range(20):
                with make(own):
                    own.set("n", int(own.get("n") or 0) + 1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    with redis.Redis.from_url(url) as own:
        return int(own.get("n") or 0)


def test_nobody_else_is_in_the_lock(url: str) -> None:
    assert counted_under(lambda own: Lock(own, "lock", timeout=60, sleep=0.001), url) == 120


def test_nobody_else_is_in_the_lock_of_python_redis_lock(url: str) -> None:
    assert counted_under(lambda own: redis_lock.Lock(own, "lock", expire=60), url) == 120


def test_redis_py(client: Any) -> None:
    lock = client.lock("lock", timeout=60)
    assert lock.acquire(blocking=False)
    assert client.lock("lock").locked()
    assert not client.lock("lock", timeout=60).acquire(blocking=False)
    assert lock.extend(100)
    assert client.pttl("lock") > 60_000
    assert lock.reacquire()
    assert client.pttl("lock") <= 60_000
    with pytest.raises(LockError):
        client.lock("lock", timeout=60).release()
    client.set("lock", "other")
    with pytest.raises(LockNotOwnedError):
        lock.release()
    assert client.get("lock") == b"other"


async def test_redis_py_by_asyncio(url: str) -> None:
    async with redis.asyncio.Redis.from_url(url) as client:

        async def work() -> None:
            for _ in range(10):
                async with client.lock("lock", timeout=60, sleep=0.001):
                    await client.set("n", int(await client.get("n") or 0) + 1)

        await asyncio.gather(*(work() for _ in range(5)))
        assert await client.get("n") == b"50"


def test_python_redis_lock(client: Any) -> None:
    lock = redis_lock.Lock(client, "one", expire=60)
    assert lock.acquire(blocking=False)
    assert not redis_lock.Lock(client, "one").acquire(blocking=False)
    lock.extend(100)
    assert client.ttl("lock:one") > 60
    lock.release()
    with pytest.raises(redis_lock.NotAcquired):
        lock.release()
    with redis_lock.Lock(client, "renewed", expire=1, auto_renewal=True):
        assert client.exists("lock:renewed")


def test_a_script_that_finds_its_keys_by_itself(client: Any) -> None:
    """`reset_all` asks KEYS and deletes what it finds, on all shards."""
    held = [redis_lock.Lock(client, f"l{number}", expire=60) for number in range(20)]
    assert all(lock.acquire(blocking=False) for lock in held)
    redis_lock.reset_all(client)
    assert client.keys("lock:*") == []
    for lock in held:
        again = redis_lock.Lock(client, lock._name.removeprefix("lock:"), expire=60)
        assert again.acquire(timeout=30)
        again.release()
