"""taskiq: brokers over a list, channels and a stream, its results and its schedules."""

import asyncio
from typing import Any

import pytest
from taskiq import InMemoryBroker
from taskiq.api import run_receiver_task
from taskiq_redis import (
    ListQueueBroker,
    ListRedisScheduleSource,
    PubSubBroker,
    RedisAsyncResultBackend,
    RedisStreamBroker,
)

pytestmark = pytest.mark.all_servers


@pytest.mark.parametrize("make", [ListQueueBroker, RedisStreamBroker, PubSubBroker])
async def test_brokers(make: Any, url: str, client: Any) -> None:
    broker = make(url).with_result_backend(RedisAsyncResultBackend(url, result_ex_time=100))

    @broker.task(task_name="square")
    async def square(number: int) -> int:
        return number * number

    await broker.startup()
    receiver = asyncio.create_task(run_receiver_task(broker))
    if make is PubSubBroker:
        while not await asyncio.to_thread(client.pubsub_channels):  # noqa: ASYNC110 - the server tells it
            await asyncio.sleep(0.01)
    tasks = [await square.kiq(number) for number in range(30)]
    results = [await task.wait_result(timeout=60) for task in tasks]
    assert [result.return_value for result in results] == [number * number for number in range(30)]
    assert 0 < client.ttl(tasks[0].task_id) <= 100
    receiver.cancel()
    await asyncio.gather(receiver, return_exceptions=True)
    await broker.shutdown()


async def test_schedules(url: str) -> None:
    source = ListRedisScheduleSource(url)
    broker = InMemoryBroker()

    @broker.task(task_name="remind")
    async def remind() -> None: ...

    await source.startup()
    kept = await remind.schedule_by_cron(source, "* * * * *")
    assert [schedule.schedule_id for schedule in await source.get_schedules()] == [kept.schedule_id]
    await kept.unschedule()
    assert await source.get_schedules() == []
    await source.shutdown()
