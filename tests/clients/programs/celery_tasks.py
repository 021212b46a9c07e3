"""The tasks of `test_celery.py`, as a worker of celery imports them."""

import os
from typing import Any

import redis
from celery import Celery

URL = os.environ.get("REDIS_URL", "redis://")

app = Celery("celery_tasks", broker=URL, backend=URL)
app.conf.update(
    broker_connection_retry_on_startup=True,
    # What a dead worker has not acknowledged is given to others after this time.
    broker_transport_options={"visibility_timeout": 1, "polling_interval": 0.05},
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_send_task_events=True,
)


@app.task(bind=True, shared=False, max_retries=3)
def square(self: Any, number: int) -> int:
    """Fails up to twice before it gives the square."""
    if self.request.retries < number % 3:
        raise self.retry(countdown=0)
    return number * number


@app.task(shared=False)
def add(*numbers: int) -> int:
    return sum(numbers)


@app.task(shared=False)
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(shared=False)
def wait_for_gate(number: int) -> None:
    """Says that it has begun, and ends once the gate is open."""
    client = redis.Redis.from_url(URL)
    client.sadd("begun", number)
    client.brpoplpush("gate", "gate", 120)
    client.sadd("ended", number)
