"""Pins by the clients."""

from typing import Any

import pytest
from redis.exceptions import ResponseError
from tests.targets import Target, configured

from yggdrasil.client import AsyncClient, Client


def test_pins(node_client: Client) -> None:
    node_client.mset({f"k{i}": i for i in range(30)})
    assert node_client.pin("k1", "k2", "absent", ex=100) == 2
    assert 95 <= node_client.pin_ttl("k1") <= 100
    assert node_client.pin("k1", px=50_000) == 1
    assert 45 <= node_client.pin_ttl("k1") <= 50
    assert node_client.pin_ttl("k3") == -1
    assert node_client.pin_ttl("absent") == -2
    info = node_client.stream_info("k1")
    assert info is not None
    assert info.pin is not None
    assert 45_000 <= info.pin <= 50_000
    assert node_client.unpin("k1", "k3") == 1
    assert node_client.pin_ttl("k1") == -1


def test_all_pinned_keys(node_client: Client) -> None:
    names = [f"k{i}".encode() for i in range(30)]
    node_client.mset(dict.fromkeys(names, "v"))
    node_client.pin(*names)
    cursor, some = node_client.pinned(count=5)
    assert cursor != 0
    assert set(some) < set(names)
    assert sorted(node_client.pinned_iter(count=5)) == sorted(names)
    assert sorted(node_client.pinned_iter(match="k1?")) == [f"k1{i}".encode() for i in range(10)]


async def test_pins_async(node_aclient: AsyncClient) -> None:
    names = [f"k{i}".encode() for i in range(30)]
    await node_aclient.mset(dict.fromkeys(names, "v"))
    assert await node_aclient.pin(*names, ex=100) == 30
    assert 95 <= await node_aclient.pin_ttl("k1") <= 100
    assert sorted([name async for name in node_aclient.pinned_iter(count=5)]) == sorted(names)
    assert await node_aclient.unpin(*names[1:]) == 29
    assert [name async for name in node_aclient.pinned_iter()] == names[:1]


def test_decoded(node_target: Target, resp: int) -> None:
    with Client(port=node_target.port, protocol=resp, decode_responses=True) as client:
        client.set("k", "v")
        client.pin("k")
        assert list(client.pinned_iter()) == ["k"]


def test_beyond_the_limit(node_client: Client, node_target: Target) -> None:
    node_client.mset({"small": "v", "large": "v" * 100_000})
    with configured(node_target.connect(), maxpinned=10_000):
        with pytest.raises(ResponseError, match="PINLIMIT"):
            node_client.pin("small", "large")
        assert list(node_client.pinned_iter()) == []


def test_wrong_calls(node_client: Client) -> None:
    with pytest.raises(ValueError, match="at least one key"):
        node_client.pin()
    with pytest.raises(ValueError, match="at least one key"):
        node_client.unpin()
    with pytest.raises(ValueError, match="not both"):
        node_client.pin("k", ex=1, px=1)
    with pytest.raises(ResponseError, match="invalid expire time"):
        node_client.pin("k", ex=-1)


@pytest.mark.parametrize("transaction", [True, False])
def test_in_a_pipeline(node_client: Client, transaction: bool) -> None:
    node_client.mset({"a": "v", "b": "v"})
    with node_client.pipeline(transaction=transaction) as pipe:
        pipe.set("c", "v")
        pipe.pin("a", "c", "absent", ex=100).pin_ttl("c").pin("b", px=50_000).unpin("a", "absent")
        pipe.pin_ttl("a").pin_ttl("absent").pinned(match="[bc]", count=1000).stream_info("c").stream_info("absent")
        _, pinned_ac, c_left, pinned_b, unpinned, a_left, absent_left, step, info, nothing = pipe.execute()
    assert (pinned_ac, pinned_b, unpinned, a_left, absent_left, nothing) == (2, 1, 1, -1, -2, None)
    assert 95 <= c_left <= 100
    assert info.length == 1
    assert 95_000 <= info.pin <= 100_000
    cursor, keys = step
    assert set(keys) <= {b"b", b"c"}
    while cursor:
        cursor, more = node_client.pinned(cursor)
        keys += more
    assert {b"b", b"c"} <= set(keys)


def test_after_watch_a_pipeline_answers_at_once(node_client: Client) -> None:
    node_client.set("k", "v")

    def unpin(pipe: Any) -> None:
        assert pipe.pin("k") == 1
        assert 0 < pipe.pin_ttl("k") <= 3600
        assert pipe.stream_info("k").pin > 0
        pipe.multi()
        pipe.unpin("k").pin_ttl("k")

    assert node_client.transaction(unpin, "k") == [1, -1]


def test_errors_in_a_pipeline(node_client: Client, node_target: Target) -> None:
    node_client.set("large", "v" * 100_000)
    with node_client.pipeline(transaction=False) as pipe:
        with pytest.raises(ValueError, match="at least one key"):
            pipe.pin()
        with pytest.raises(ValueError, match="not both"):
            pipe.pin("k", ex=1, px=1)
        with configured(node_target.connect(), maxpinned=10_000):
            refused, left = pipe.pin("large").pin_ttl("large").execute(raise_on_error=False)
    assert isinstance(refused, ResponseError)
    assert str(refused).startswith("PINLIMIT ")
    assert left == -1


@pytest.mark.parametrize("transaction", [True, False])
async def test_in_a_pipeline_async(node_aclient: AsyncClient, transaction: bool) -> None:
    async with node_aclient.pipeline(transaction=transaction) as pipe:
        pipe.set("k", "v")
        pipe.pin("k", "absent", ex=100).pin_ttl("k").stream_info("k").pinned(count=1000)
        _, pinned, left, info, (_, keys), unpinned, none_left = await pipe.unpin("k").pin_ttl("k").execute()
    assert (pinned, unpinned, none_left) == (1, 1, -1)
    assert 95 <= left <= 100
    assert 95_000 <= info.pin <= 100_000
    assert set(keys) <= {b"k"}


async def test_after_watch_an_async_pipeline_answers_at_once(node_aclient: AsyncClient) -> None:
    await node_aclient.set("k", "v")
    async with node_aclient.pipeline() as pipe:
        await pipe.watch("k")
        assert await pipe.pin("k") == 1
        assert await pipe.pin_ttl("k") > 0
        assert (await pipe.stream_info("k")).pin > 0
        pipe.multi()  # type: ignore[no-untyped-call]
        assert await pipe.unpin("k").pin_ttl("k").execute() == [1, -1]
