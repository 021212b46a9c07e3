"""dramatiq: its broker is one script with keys that it makes up, so they lie on any shard."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.redis import RedisBroker
from dramatiq.rate_limits import Barrier, BucketRateLimiter, ConcurrentRateLimiter, WindowRateLimiter
from dramatiq.rate_limits.backends import RedisBackend as RateLimits
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from tests.wire import eventually

pytestmark = pytest.mark.all_servers

WAIT_MS = 60_000


@pytest.fixture
def broker(url: str) -> Iterator[Any]:
    # The middlewares watch threads and signals of a whole process.
    made: Any = RedisBroker(url=url, heartbeat_timeout=1000, maintenance_chance=1_000_000, middleware=[])
    made.add_middleware(dramatiq.middleware.Retries())
    made.add_middleware(dramatiq.middleware.Callbacks())
    made.add_middleware(dramatiq.middleware.Pipelines())
    made.add_middleware(Results(backend=RedisBackend(url=url)))
    # Results and pipelines ask for the broker of the process.
    dramatiq.set_broker(made)
    yield made
    made.close()


def test_messages_with_retries_and_results(broker: Any) -> None:
    failures: dict[int, int] = {}
    guard = threading.Lock()

    def squared(number: int) -> int:
        with guard:
            failures[number] = failures.get(number, -1) + 1
            if failures[number] < number % 3:
                raise RuntimeError("not yet")
        return number * number

    square = dramatiq.actor(squared, broker=broker, store_results=True, max_retries=5, min_backoff=5, max_backoff=20)
    messages = [square.send(number) for number in range(60)]
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=4)
    worker.start()
    try:
        results = [message.get_result(block=True, timeout=WAIT_MS) for message in messages]
        assert results == [number * number for number in range(60)]
        parts = dramatiq.group([square.message(number) for number in range(10)]).run()
        assert list(parts.get_results(block=True, timeout=WAIT_MS)) == [number * number for number in range(10)]
        piped = (square.message(2) | square.message()).run()
        assert piped.get_result(block=True, timeout=WAIT_MS) == 16
        broker.join("default", timeout=WAIT_MS)
    finally:
        worker.stop()


def test_messages_of_a_dead_worker_are_taken_over(broker: Any, url: str) -> None:
    done: list[int] = []
    act = dramatiq.actor(done.append, broker=broker, actor_name="act")
    for number in range(20):
        act.send(number)
    dead = RedisBroker(url=url, heartbeat_timeout=1000, middleware=[])
    dead.declare_queue("default")
    assert next(dead.consume("default", prefetch=5, timeout=1000)) is not None
    time.sleep(1.1)  # The heartbeat of the dead one has to be older than its time limit.
    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=2)
    worker.start()
    try:
        eventually(lambda: sorted(done) == list(range(20)), 60)
    finally:
        worker.stop()
    dead.close()


def test_rate_limits(url: str) -> None:
    backend = RateLimits(url=url)
    alone = ConcurrentRateLimiter(backend, "alone", limit=1)
    with alone.acquire(), alone.acquire(raise_on_failure=False) as acquired:
        assert acquired is False
    bucket = BucketRateLimiter(backend, "bucket", limit=3, bucket=100_000)
    window = WindowRateLimiter(backend, "window", limit=3, window=100)
    for limiter in (bucket, window):
        allowed = []
        for _ in range(4):
            with limiter.acquire(raise_on_failure=False) as acquired:
                allowed.append(acquired)
        # A bucket may end between two of them, once.
        assert allowed in ([True, True, True, False], [True] * 4)
    barrier = Barrier(backend, "barrier", ttl=10_000)
    assert barrier.create(parties=2)
    assert not barrier.wait(block=False)
    assert barrier.wait(block=False)
    backend.client.close()
