"""Arrays of Orbax checkpoints, stored by Mithril."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

orbax = pytest.importorskip("mithril.checkpoint.orbax", reason="jax or Orbax is not installed", exc_type=ImportError)
jax = pytest.importorskip("jax", reason="jax is not installed")
ocp = pytest.importorskip("orbax.checkpoint", reason="Orbax is not installed")


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    orbax.register()
    yield
    orbax.unregister()


def test_a_tree_goes_through_orbax_and_comes_back(tmp_path: Path) -> None:
    key = jax.random.key(0)
    tree: dict[str, Any] = {
        "params": {"a/b": jax.random.normal(key, (128, 64), jax.numpy.bfloat16), "c": np.arange(10)},
        "step": 7,
    }
    folder = tmp_path / "checkpoint"
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(folder, tree)
        found = checkpointer.restore(folder)
    assert found["step"] == 7
    assert np.array_equal(found["params"]["c"], tree["params"]["c"])
    assert found["params"]["a/b"].dtype == jax.numpy.bfloat16
    assert bool((found["params"]["a/b"] == tree["params"]["a/b"]).all())
    assert len(list(folder.rglob("*.mithril.safetensors"))) == 2
