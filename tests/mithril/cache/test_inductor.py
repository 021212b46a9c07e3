"""Real programs under `mithril cache run`, each in a process of its own: what one compiles, no other does."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.mithril.cache.programs import AUTOTUNE, SHAPES, TRAIN, run, run_plain
from tests.node import Node

from mithril.cache.runs import read

# A compiler that tells its version as the real one does, notes every other call, and fails.
_NO_COMPILER = """#!/bin/bash
case "$*" in
    -v) cat "$0.version" >&2; exit 0;;
    *-dump*|*--version*) exec -a g++ {compiler} "$@";;
esac
echo "$*" >> "$0.calls"
exit 1
"""
# Frameworks take their time on a machine with other things to do.
pytestmark = pytest.mark.timeout(1800)


def outcomes(root: Path) -> dict[str, list[str]]:
    """The outcomes of the newest run's requests, by kind."""
    found: dict[str, list[str]] = {}
    for event in read(root)[-1].of("get"):
        found.setdefault(event["kind"], []).append(event["outcome"])
    return found


@pytest.fixture(scope="session")
def compiled(
    nodes: Callable[[int], Node], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, dict[str, Any]]:
    """A store with what one machine has compiled, the folder of that machine, and what the program computed."""
    root = tmp_path_factory.mktemp("first")
    url = f"ygg://127.0.0.1:{nodes(1).port}/cache"
    return url, root, run(TRAIN, "--root", str(root), "--url", url)


def test_a_fresh_machine_compiles_nothing(
    compiled: tuple[str, Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, first, expected = compiled
    assert outcomes(first) == {
        "isa-probes": ["miss"],
        "autograd-experimental": ["miss"],
        "fx-graph-v1": ["miss", "miss"],
    }
    # The same compiler as before, which now refuses to compile.
    folder = tmp_path / "bin"
    folder.mkdir()
    version = subprocess.run(["g++", "-v"], capture_output=True, check=True)
    (folder / "g++.version").write_bytes(version.stderr)
    (folder / "g++").write_text(_NO_COMPILER.format(compiler=shutil.which("g++")))
    (folder / "g++").chmod(0o755)
    root = tmp_path / "second"
    path = f"{folder}:{Path(sys.executable).parent}:/usr/bin:/bin"
    found = run(TRAIN, "--root", str(root), "--url", url, cwd=tmp_path, PATH=path)
    assert (found["out"], found["grad"]) == (expected["out"], expected["grad"])
    assert found["counters"]["inductor"]["fxgraph_cache_hit"] == 2
    kinds = outcomes(root)
    assert kinds.keys() == {"isa-probes", "autograd-experimental", "fx-graph-v1"}
    assert {outcome for found in kinds.values() for outcome in found} <= {"prefetched", "shared", "local"}
    assert not (folder / "g++.calls").exists()


def test_another_instruction_set_is_a_miss_with_the_right_result(
    compiled: tuple[str, Path, dict[str, Any]], tmp_path: Path
) -> None:
    url, _, expected = compiled
    # The same folder, too: torch's own keys do not tell the two apart.
    root = tmp_path / "root"
    shutil.copytree(compiled[1], root)
    found = run(TRAIN, "--root", str(root), "--url", url, ATEN_CPU_CAPABILITY="avx2")
    assert found["counters"]["inductor"].get("fxgraph_cache_hit", 0) == 0
    assert set(outcomes(root)["fx-graph-v1"]) == {"miss"}
    for name in ("out", "grad"):
        values = [float.fromhex(value) for value in found[name]]
        assert values == pytest.approx([float.fromhex(value) for value in expected[name]], rel=1e-4, abs=1e-6)


def test_a_store_that_is_gone_fails_nothing(compiled: tuple[str, Path, dict[str, Any]], tmp_path: Path) -> None:
    _, first, expected = compiled
    root = tmp_path / "root"
    shutil.copytree(first / "objects", root / "objects")
    found = run(TRAIN, "--root", str(root), "--url", "ygg://127.0.0.1:1/cache")
    assert found["out"] == expected["out"]
    assert outcomes(root)["fx-graph-v1"] == ["local", "local"]


def test_shapes_that_one_run_has_seen_are_dynamic_in_the_next(tmp_path: Path) -> None:
    url = str(tmp_path / "shared")
    first = run(SHAPES, "--root", str(tmp_path / "one"), "--url", url, TORCH_COMPILE_JOB_ID="job")
    second = run(SHAPES, "--root", str(tmp_path / "other"), "--url", url, TORCH_COMPILE_JOB_ID="job")
    assert (first["compiled"], second["compiled"]) == (2, 1)
    assert first["sums"] == second["sums"]
    assert set(outcomes(tmp_path / "other")["dynamo-pgo"]) <= {"prefetched", "shared"}


def test_the_choice_of_an_autotuner_is_shared(tmp_path: Path) -> None:
    url = str(tmp_path / "shared")
    assert run(AUTOTUNE, "--root", str(tmp_path / "one"), "--url", url) is None
    assert run(AUTOTUNE, "--root", str(tmp_path / "other"), "--url", url) == {"BLOCK": 128}
    assert set(outcomes(tmp_path / "other")["autotune"]) <= {"prefetched", "shared"}


def test_importing_torch_with_the_hook_imports_nothing_of_the_cache() -> None:
    code = "import sys, json, torch; print(json.dumps([m for m in sys.modules if m.startswith('mithril')]))"
    assert set(run(code)) == {"mithril", "mithril.cache", "mithril.cache.torch_hook"}


def test_a_program_that_is_not_enabled_is_left_alone() -> None:
    code = "import sys, torch; print([m for m in sys.meta_path if type(m).__module__.startswith('mithril')])"
    assert run_plain([sys.executable, "-c", code]).stdout.strip() == "[]"
