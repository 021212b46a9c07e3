"""celery: broker and result backend in one, with workers that die."""

import importlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from celery import chain, chord, group
from tests.clients.programs.conftest import HERE, Start
from tests.wire import eventually

pytestmark = pytest.mark.all_servers

WAIT_S = 120


@pytest.fixture
def tasks(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of tasks, imported anew for each server as celery's workers import it."""
    monkeypatch.setitem(os.environ, "REDIS_URL", url)
    monkeypatch.syspath_prepend(str(HERE))
    sys.modules.pop("celery_tasks", None)
    module = importlib.import_module("celery_tasks")
    yield module
    module.app.close()
    sys.modules.pop("celery_tasks", None)


def worker(start: Start, name: str = "first") -> Any:
    arguments = ("-A", "celery_tasks", "worker", "-c", 3, "-n", name, "-l", "WARNING")
    return start("celery", *arguments)


def test_tasks_with_retries_and_their_results(tasks: Any, start: Start) -> None:
    worker(start)
    results = [tasks.square.delay(number) for number in range(100)]
    assert [result.get(timeout=WAIT_S) for result in results] == [number * number for number in range(100)]
    assert all(result.successful() for result in results)

    assert group(tasks.add.s(n, n) for n in range(20))().get(timeout=WAIT_S) == [2 * n for n in range(20)]
    assert chord((tasks.square.s(n) for n in range(20)), tasks.total.s())().get(timeout=WAIT_S) == 2470
    assert chain(tasks.add.s(1, 2), tasks.add.s(10), tasks.square.s())().get(timeout=WAIT_S) == 169
    assert list(tasks.add.starmap([(1, 2), (3, 4)]).apply_async().get(timeout=WAIT_S)) == [3, 7]
    with pytest.raises(TypeError):
        tasks.add.delay(1, "x").get(timeout=WAIT_S)

    # Remote control: broadcasts to workers by channels, replies by a list.
    control = tasks.app.control
    assert control.broadcast("ping", reply=True, timeout=WAIT_S, limit=1) == [{"celery@first": {"ok": "pong"}}]
    assert "celery_tasks.add" in control.inspect(timeout=WAIT_S, limit=1).registered()["celery@first"]


def test_no_task_is_lost_with_a_killed_worker(tasks: Any, start: Start, client: Any) -> None:
    first = worker(start)
    for number in range(20):
        tasks.wait_for_gate.delay(number)
    eventually(lambda: client.scard("begun") == 3, WAIT_S)
    first.kill()
    assert client.scard("ended") == 0
    client.lpush("gate", "open")
    worker(start, "second")
    eventually(lambda: client.scard("ended") == 20, WAIT_S)
    eventually(lambda: client.hlen("unacked") == 0, WAIT_S)
