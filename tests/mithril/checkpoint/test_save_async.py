"""Saving in the background: the state may change at once, and failures are told."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.mithril.checkpoint.states import assert_same, training_state

import mithril.checkpoint as mc
from mithril.core.errors import FullError, MithrilError
from mithril.core.memory_store import MemoryStore


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "run")


def clone(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: clone(item) for key, item in value.items()}
    return value.clone() if isinstance(value, torch.Tensor) else value


def test_the_state_may_change_as_soon_as_the_call_returns(url: str) -> None:
    state = training_state()
    expected = clone(state)
    handle = mc.save_async(state, url, step=1)
    for tensor in state["model"].values():
        tensor.zero_()
    report = handle.result()
    assert handle.done()
    assert report.step == 1
    assert_same(mc.load(url), expected)


def test_a_state_larger_than_the_bound_is_saved_in_parts(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MITHRIL_CHECKPOINT_CHUNK_BYTES", "65536")
    monkeypatch.setenv("MITHRIL_CHECKPOINT_BLOCK_BYTES", "65536")
    state = {"a": torch.randn(1 << 20), "b": torch.randn(1000)}
    expected = clone(state)
    handle = mc.save_async(state, url, step=1, host_memory_bytes=1 << 20)
    state["a"].zero_()
    handle.result()
    assert_same(mc.load(url), expected)


def test_a_step_is_not_visible_before_it_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "memory://async-visible"
    reached, go_on = threading.Event(), threading.Event()
    original = MemoryStore._put

    def held(self: Any, key: str, *arguments: Any) -> Any:
        if key.startswith("steps/"):
            reached.set()
            assert go_on.wait(60)
        return original(self, key, *arguments)

    monkeypatch.setattr(MemoryStore, "_put", held)
    handle = mc.save_async(training_state(), url, step=1)
    assert reached.wait(60)
    assert mc.latest(url) is None
    assert not handle.done()
    with pytest.raises(TimeoutError, match="step 1"):
        handle.result(timeout=0)
    go_on.set()
    handle.result()
    assert mc.latest(url) == 1


def test_a_failure_is_told_once_by_the_handle_or_by_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "memory://async-full"

    def full(self: Any, key: str, *arguments: Any) -> Any:
        raise FullError("no room", self.url_of(key))

    with monkeypatch.context() as patch:
        patch.setattr(MemoryStore, "_put", full)
        handle = mc.save_async(training_state(), url, step=1)
        with pytest.raises(FullError):
            handle.result()
        assert isinstance(handle.exception(), FullError)
        mc.save_async(training_state(), url, step=2)
        with pytest.raises(FullError):
            mc.save_async(training_state(), url, step=2)
    assert mc.latest(url) is None
    mc.save_async(training_state(), url, step=3)
    report = mc.wait()
    assert report is not None
    assert report.step == 3
    assert mc.wait() is None


def test_a_failure_while_parts_wait_for_room_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MITHRIL_CHECKPOINT_CHUNK_BYTES", "65536")
    monkeypatch.setenv("MITHRIL_CHECKPOINT_BLOCK_BYTES", "65536")

    def full(self: Any, key: str, *arguments: Any) -> Any:
        raise FullError("no room", self.url_of(key))

    monkeypatch.setattr(MemoryStore, "_put", full)
    with pytest.raises(MithrilError):
        mc.save_async({"a": torch.randn(1 << 20)}, "memory://async-hang", step=1, host_memory_bytes=1 << 20).result()


def test_what_cannot_be_saved_is_refused_at_once(url: str) -> None:
    with pytest.raises(MithrilError, match="x: a value of type object"):
        mc.save_async({"x": object()}, url, step=1)


def test_progress_is_reported(url: str) -> None:
    steps: list[Any] = []
    mc.save_async(training_state(), url, step=1, progress=steps.append).result()
    assert steps[-1].finished
    assert steps[-1].done == steps[-1].total
