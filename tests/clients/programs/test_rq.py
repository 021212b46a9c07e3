"""rq: queues, retries, dependencies, schedules, and jobs whose worker has died."""

import importlib
import os
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from rq import Queue, Retry
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from tests.clients.programs.conftest import HERE, Start
from tests.wire import eventually

pytestmark = pytest.mark.all_servers

WAIT_S = 120


@pytest.fixture
def jobs(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setitem(os.environ, "REDIS_URL", url)
    monkeypatch.syspath_prepend(str(HERE))
    sys.modules.pop("rq_tasks", None)
    module = importlib.import_module("rq_tasks")
    yield module
    sys.modules.pop("rq_tasks", None)


def test_queues(jobs: Any, client: Any, url: str, start: Start) -> None:
    high, low = Queue("high", connection=client), Queue("low", connection=client)
    squares = [low.enqueue(jobs.square, number) for number in range(10)]
    both = high.enqueue(jobs.sum_of_dependencies, depends_on=squares[:3])
    retried = high.enqueue(jobs.fail_until, "attempts", 2, retry=Retry(max=3))
    failing = high.enqueue(jobs.fail_until, "never", 100, retry=Retry(max=1))
    later = low.enqueue_in(timedelta(seconds=1), jobs.square, 12)
    many = low.enqueue_many([Queue.prepare_data(jobs.square, (number,)) for number in range(5)])
    assert later.get_status() == "scheduled"

    start("rq", "worker", "--url", url, "--with-scheduler", "--quiet", "high", "low")
    eventually(lambda: later.get_status() == "finished", WAIT_S)
    eventually(lambda: both.get_status() == "finished", WAIT_S)
    eventually(lambda: failing.get_status() == "failed", WAIT_S)
    eventually(lambda: retried.get_status() == "finished", WAIT_S)
    assert [job.return_value() for job in squares] == [number * number for number in range(10)]
    assert [job.return_value() for job in many] == [0, 1, 4, 9, 16]
    assert (both.return_value(), retried.return_value(), later.return_value()) == (0 + 1 + 4, "done", 144)
    assert client.get("never") == b"2"
    assert FailedJobRegistry(queue=high).get_job_ids() == [failing.id]
    assert len(FinishedJobRegistry(queue=low)) == 16


def test_no_job_is_lost_with_a_killed_worker(jobs: Any, client: Any, url: str, start: Start) -> None:
    queue = Queue("default", connection=client)
    kept = [queue.enqueue(jobs.wait_for_gate, retry=Retry(max=2)) for _ in range(3)]
    first = start("rq", "worker", "--url", url, "--quiet")
    eventually(lambda: client.get("begun") == b"1", WAIT_S)
    first.kill()
    client.lpush("gate", "open")
    started = StartedJobRegistry(queue=queue)
    assert len(started) == 1
    # As the next worker does once the dead one has been silent for long enough.
    started.cleanup(time.time() + 1000)
    start("rq", "worker", "--url", url, "--quiet", "--burst")
    eventually(lambda: all(job.get_status(refresh=True) == "finished" for job in kept), WAIT_S)
    assert [job.return_value() for job in kept] == ["through"] * 3
