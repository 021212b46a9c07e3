"""Valkey GLIDE, a client whose core is Rust and not hiredis or redis-py: standalone and as a cluster client."""

from typing import Any

import glide_sync
import pytest
from tests.targets import Target

pytestmark = pytest.mark.all_servers


def addresses(target: Target) -> list[glide_sync.NodeAddress]:
    return [glide_sync.NodeAddress(target.host, target.port)]


@pytest.fixture(params=["alone", "cluster"])
def glide(request: pytest.FixtureRequest, target: Target) -> Any:
    made: Any
    if request.param == "alone":
        made = glide_sync.GlideClient.create(glide_sync.GlideClientConfiguration(addresses(target)))
    else:
        made = glide_sync.GlideClusterClient.create(glide_sync.GlideClusterClientConfiguration(addresses(target)))
    yield made
    made.close()


def test_values_of_all_types(glide: Any) -> None:
    assert glide.set("k", "v") == "OK"
    assert glide.get("k") == b"v"
    assert glide.mset({f"k{number}": str(number) for number in range(50)}) == "OK"
    assert glide.mget([f"k{number}" for number in range(50)]) == [str(number).encode() for number in range(50)]
    assert glide.hset("h", {"a": "1", "b": "2"}) == 2
    assert glide.hgetall("h") == {b"a": b"1", b"b": b"2"}
    assert glide.rpush("l", ["a", "b"]) == 2
    assert glide.lrange("l", 0, -1) == [b"a", b"b"]
    assert glide.sadd("s", ["a", "b"]) == 2
    assert glide.smembers("s") == {b"a", b"b"}
    assert glide.zadd("z", {"a": 1.5}) == 1
    assert glide.zscore("z", "a") == 1.5
    assert glide.xadd("x", [("f", "v")]) is not None
    assert glide.xlen("x") == 1
    assert glide.delete([f"k{number}" for number in range(50)]) == 50
    assert glide.dbsize() == 6


def test_scripts_and_transactions(glide: Any) -> None:
    script = glide_sync.Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert glide.invoke_script(script, keys=["n"], args=["5"]) == 5
    assert glide.invoke_script(script, keys=["n"], args=["2"]) == 7
    is_cluster = isinstance(glide, glide_sync.GlideClusterClient)
    batch: Any = (glide_sync.ClusterBatch if is_cluster else glide_sync.Batch)(is_atomic=True)
    batch.incr("n").get("n")
    assert glide.exec(batch, raise_on_error=True) == [8, b"8"]


def test_scanning(glide: Any) -> None:
    glide.mset({f"k{number}": "v" for number in range(200)})
    found: set[bytes] = set()
    if isinstance(glide, glide_sync.GlideClusterClient):
        cursor = glide_sync.ClusterScanCursor()
        while not cursor.is_finished():
            cursor, keys = glide.scan(cursor, count=50)
            found.update(keys)
    else:
        position: Any = b"0"
        while True:
            position, keys = glide.scan(position, count=50)
            found.update(keys)
            if position == b"0":
                break
    assert len(found) == 200


def test_publish_and_subscribe(target: Target) -> None:
    heard = glide_sync.GlideClientConfiguration.PubSubSubscriptions(
        channels_and_patterns={glide_sync.GlideClientConfiguration.PubSubChannelModes.Exact: {"news"}},
        callback=None,
        context=None,
    )
    configuration = glide_sync.GlideClientConfiguration(addresses(target), pubsub_subscriptions=heard)
    listener = glide_sync.GlideClient.create(configuration)
    sender = glide_sync.GlideClient.create(glide_sync.GlideClientConfiguration(addresses(target)))
    try:
        assert sender.publish("hello", "news") == 1
        message = listener.get_pubsub_message()
        assert (message.channel, message.message) == (b"news", b"hello")
    finally:
        listener.close()
        sender.close()
