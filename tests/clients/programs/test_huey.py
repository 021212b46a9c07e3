"""huey in all its forms over Redis: plain, by priority, with results that expire."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from huey import (
    Huey,
    PriorityRedisExpireHuey,
    PriorityRedisHuey,
    RedisExpireHuey,
    RedisHuey,
)
from huey.exceptions import TaskLockedException
from tests.wire import eventually

pytestmark = pytest.mark.all_servers


@pytest.fixture(params=[RedisHuey, RedisExpireHuey, PriorityRedisHuey, PriorityRedisExpireHuey])
def huey(request: pytest.FixtureRequest, url: str) -> Iterator[Any]:
    queue: Huey = request.param("programs", url=url)
    yield queue
    queue.storage.conn.connection_pool.disconnect()


@pytest.fixture
def consumer(huey: Any) -> Iterator[Any]:
    """A consumer of four threads."""
    running = huey.create_consumer(workers=4, worker_type="thread", initial_delay=0.01, max_delay=0.05, periodic=False)
    running._set_signal_handlers = lambda: None
    running.start()
    yield running
    running.stop(graceful=True)


def test_tasks_retries_and_schedules(huey: Any, request: pytest.FixtureRequest) -> None:
    failures: dict[int, int] = {}
    done: set[int] = set()
    guard = threading.Lock()

    @huey.task()
    def square(number: int) -> int:
        return number * number

    @huey.task(retries=3, retry_delay=0)
    def stumble(number: int) -> None:
        with guard:
            failures[number] = failures.get(number, -1) + 1
            if failures[number] < number % 3:
                raise RuntimeError("not yet")
            done.add(number)

    results = [square(number) for number in range(40)]
    for number in range(30):
        stumble(number)
    later = square.schedule((3,), delay=1)
    assert huey.pending_count() == 71
    revoked = stumble.schedule((100,), delay=1)
    revoked.revoke()
    assert revoked.is_revoked()
    request.getfixturevalue("consumer")
    assert [result(blocking=True, timeout=60) for result in results] == [number * number for number in range(40)]
    assert later(blocking=True, timeout=60) == 9
    chained = square.s(2).then(square)
    assert [result(blocking=True, timeout=60) for result in huey.enqueue(chained)] == [4, 16]
    eventually(lambda: huey.pending_count() == 0 and huey.scheduled_count() == 0)
    eventually(lambda: done == set(range(30)))
    assert 100 not in failures


def test_locks_and_stored_values(huey: Any) -> None:
    with huey.lock_task("one"), pytest.raises(TaskLockedException), huey.lock_task("one"):
        pass
    assert huey.put_if_empty("k", "v")
    assert not huey.put_if_empty("k", "w")
    assert huey.get("k", peek=True) == "v"
    assert huey.get("k") == "v"
    # Where results expire, those that were read stay until then.
    assert huey.get("k") == ("v" if "Expire" in type(huey).__name__ else None)


def test_priorities(url: str) -> None:
    huey: Any = PriorityRedisHuey("programs", url=url)
    order: list[int] = []
    task = huey.task()(order.append)
    for number in (3, 1, 2, 5, 4):
        task(number, priority=number)
    for _ in range(5):
        huey.execute(huey.dequeue())
    assert order == [5, 4, 3, 2, 1]
    huey.storage.conn.connection_pool.disconnect()
