"""A node in front of a durable store: written to the node, drained, and read from whichever has it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.mithril.checkpoint.states import assert_same, trained, training_state
from tests.node import Node, free_port

import mithril.checkpoint as mc
from mithril.core.config import CoreSettings
from mithril.core.errors import NotFoundError, UnavailableError
from mithril.core.redis_store import RedisStore
from mithril.core.store import Store

QUICK = CoreSettings(connect_timeout_s=1, retries=0)


@pytest.fixture(params=["1 shard", "3 shards", "near"])
def fast(nodes: Callable[[int], Node], request: pytest.FixtureRequest) -> str:
    node = nodes(3 if request.param == "3 shards" else 1)
    near = f"?near={node.dir}/near.sock" if request.param == "near" else ""
    return f"ygg://127.0.0.1:{node.port}/{request.node.originalname}-{request.param[0]}{near}"


@pytest.fixture
def durable(tmp_path: Path) -> str:
    return str(tmp_path / "bucket")


def test_checkpoints_are_on_the_node_and_in_the_durable_store(fast: str, durable: str) -> None:
    state = training_state()
    with mc.Tier(fast, durable, ttl_s=600) as tier:
        mc.save(state, tier, step=1)
        assert_same(mc.load(tier), state)
        mc.save_async(trained(state), tier, step=2).result()
        tier.wait()
        assert [info.step for info in mc.list_steps(tier)] == [1, 2]
    for url in (fast, durable):
        assert_same(mc.load(url, step=1), state)
        assert_same(mc.load(url, step=2), trained(state))


def test_objects_on_the_node_are_pinned_and_expire(fast: str, durable: str) -> None:
    with mc.Tier(fast, durable, ttl_s=600) as tier, Store.open(fast) as store:
        mc.save(training_state(), tier, step=1)
        client = store._client  # type: ignore[attr-defined]
        names = [store._name(info.key) for info in store.list("")]  # type: ignore[attr-defined]
        assert len(names) > 1
        assert all(0 < client.ttl(name) <= 600 for name in names)


def test_objects_are_read_from_the_memory_of_the_node(
    nodes: Callable[[int], Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = nodes(1)
    url = f"ygg://127.0.0.1:{node.port}/near"
    state = training_state()
    mc.save(state, url, step=1)
    asked: list[str] = []
    with RedisStore(f"{url}?near={node.dir}/near.sock", CoreSettings()) as store:
        pipeline, get = store.client.pipeline, store.client.get

        def listed(transaction: bool) -> Any:
            asked.append("ranges" if transaction else "list")
            return pipeline(transaction=transaction)

        def got(name: str) -> Any:
            asked.append("get")
            return get(name)

        monkeypatch.setattr(store.client, "pipeline", listed)
        monkeypatch.setattr(store.client, "get", got)
        assert_same(mc.load(store), state)
        assert asked == ["list"]
        with pytest.raises(NotFoundError):
            store.get("no/such")
        assert asked == ["list", "get"]


def test_a_near_socket_that_is_not_there_costs_only_its_speed(nodes: Callable[[int], Node]) -> None:
    url = f"ygg://127.0.0.1:{nodes(1).port}/not-near"
    mc.save(training_state(), url, step=1)
    assert_same(mc.load(f"{url}?near=/no/such/near.sock"), training_state())


def test_a_node_that_is_gone_is_no_error_for_what_was_drained(fast: str, durable: str) -> None:
    state = training_state()
    with mc.Tier(fast, durable) as tier:
        mc.save(state, tier, step=1)
    with mc.Tier(f"ygg://127.0.0.1:{free_port()}/run", durable, settings=QUICK) as gone:
        assert_same(mc.load(gone), state)
        mc.save(trained(state), gone, step=2)
        assert mc.latest(gone) == 2
    assert_same(mc.load(durable), trained(state))


def test_what_a_killed_program_left_on_the_node_is_drained_later(fast: str, durable: str) -> None:
    state = training_state()
    with mc.Tier(fast, durable, drain=False) as tier:
        mc.save(state, tier, step=1)
    assert mc.latest(durable) is None
    drained = mc.drain(fast, durable)
    assert drained.steps == [1]
    assert mc.drain(fast, durable).steps == []
    assert_same(mc.load(durable), state)


def test_a_drain_that_fails_is_told_and_commits_nothing(fast: str, durable: str) -> None:
    with mc.Tier(fast, durable, drain=False) as tier:
        mc.save(training_state(), tier, step=1)
    with Store.open(fast) as store:
        store.delete(*[info.key for info in store.list("objects")])
    with pytest.raises(NotFoundError, match="went from the fast store"):
        mc.drain(fast, durable)
    assert mc.latest(durable) is None


def test_both_stores_gone_is_an_error(durable: str) -> None:
    port = free_port()
    with (
        mc.Tier(f"ygg://127.0.0.1:{port}/a", f"ygg://127.0.0.1:{port}/b", settings=QUICK) as tier,
        pytest.raises(UnavailableError),
    ):
        mc.save(training_state(), tier, step=1)
