"""channels_redis: the layers of Django Channels over lists and scripts, and over channels."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.exceptions import ChannelFull
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

pytestmark = pytest.mark.all_servers


@pytest.fixture(params=[RedisChannelLayer, RedisPubSubChannelLayer])
async def layer(request: pytest.FixtureRequest, url: str) -> AsyncIterator[Any]:
    made = request.param(hosts=[url])
    yield made
    await made.flush()
    await (made.close_pools() if request.param is RedisChannelLayer else asyncio.sleep(0))


async def test_messages_and_groups(layer: Any) -> None:
    names = [await layer.new_channel() for _ in range(10)]
    for name in names:
        await layer.group_add("room", name)
    await layer.group_send("room", {"type": "hello", "text": "all"})
    for name in names:
        assert await asyncio.wait_for(layer.receive(name), 30) == {"type": "hello", "text": "all"}
    await layer.group_discard("room", names[0])
    await layer.group_send("room", {"type": "hello", "text": "rest"})
    assert (await asyncio.wait_for(layer.receive(names[1]), 30))["text"] == "rest"
    await layer.send(names[0], {"type": "one"})
    assert await asyncio.wait_for(layer.receive(names[0]), 30) == {"type": "one"}


async def test_a_full_channel(url: str) -> None:
    layer = RedisChannelLayer(hosts=[url], capacity=3)
    for number in range(3):
        await layer.send("fixed", {"type": "m", "number": number})
    with pytest.raises(ChannelFull):
        await layer.send("fixed", {"type": "m"})
    assert [(await layer.receive("fixed"))["number"] for _ in range(3)] == [0, 1, 2]
    await layer.flush()
    await layer.close_pools()
