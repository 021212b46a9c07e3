"""The jobs of `test_rq.py`, as a worker of rq imports them."""

import os

import redis
from rq import get_current_job

URL = os.environ.get("REDIS_URL", "redis://")


def square(number: int) -> int:
    return number * number


def fail_until(key: str, times: int) -> str:
    """Fails as often as is said before it works."""
    with redis.Redis.from_url(URL) as client:
        if int(client.incr(key)) <= times:
            raise RuntimeError("not yet")
    return "done"


def sum_of_dependencies() -> int:
    job = get_current_job()
    assert job is not None
    return sum(dependency.return_value() for dependency in job.fetch_dependencies())


def wait_for_gate() -> str:
    with redis.Redis.from_url(URL) as client:
        client.incr("begun")
        client.brpoplpush("gate", "gate", 120)
    return "through"
