"""Pins by the clients."""

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
