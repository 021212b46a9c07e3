"""JAX's executables are compiled once, whatever folder a program runs in."""

from pathlib import Path
from typing import Any

import pytest
from tests.mithril.cache.programs import run

from mithril.cache.runs import read

# Frameworks take their time on a machine with other things to do.
pytestmark = pytest.mark.timeout(1800)

COMPUTE = """
import json, jax, jax.numpy as jnp
print(json.dumps(float(jax.jit(lambda x: jnp.sin(x).sum() * 2)(jnp.arange(64.0)))))
"""


_VARIABLES: Any = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PLATFORMS": "cpu"}


def outcomes(root: Path) -> list[str]:
    """The outcomes of the newest run's requests."""
    return [event["outcome"] for event in read(root)[-1].of("get") if event["framework"] == "jax"]


def test_another_machine_compiles_nothing(tmp_path: Path) -> None:
    shared = str(tmp_path / "shared")
    first = run(COMPUTE, "--root", str(tmp_path / "one"), "--url", shared, **_VARIABLES)
    assert set(outcomes(tmp_path / "one")) == {"miss"}
    (tmp_path / "elsewhere").mkdir()
    again = run(COMPUTE, "--root", str(tmp_path / "other"), "--url", shared, cwd=tmp_path / "elsewhere", **_VARIABLES)
    assert again == first
    assert set(outcomes(tmp_path / "other")) <= {"shared", "prefetched"}
    assert outcomes(tmp_path / "other")
