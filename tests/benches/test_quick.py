"""The benchmarks run with tiny inputs in every test run, so that they work when figures are wanted."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = (
    "get-set",
    "many-keys",
    "two-workers",
    "memory",
    "evicting",
    "stall",
    "idle",
    "long-values",
    "beside-long-values",
    "beside-many-values",
    "near-readers",
    "get-into",
    "large-collections",
    "waiting",
    "log",
    "hit-ratio",
)
FIGURES_WITHOUT_PEERS = 35

pytestmark = [
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the benchmarks need two cores"),
    pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo builds the load generator"),
    pytest.mark.skipif(not (ROOT / ".venv/bin/yggdrasil").exists(), reason="no yggdrasil in .venv"),
]


@pytest.mark.timeout(1200)  # without make, it builds the load generator first
def test_every_scenario_runs_and_is_reported(tmp_path: Path) -> None:
    """Figures of a quick run mean nothing; that each is there, and finds its way into the page, does."""
    results, page, plot = tmp_path / "results", tmp_path / "page.md", tmp_path / "plot.svg"
    _run("benches.run", "--quick", "--no-peers", "--results", results)
    shutil.copy(ROOT / "docs/benchmarks.md", page)
    _run("benches.report", "--results", results, "--document", page, "--plot", plot)

    found = [json.loads((results / f"{name}.json").read_text()) for name in SCENARIOS]
    assert all(result["title"] in page.read_text() for result in found)
    assert all(result["details"] or result["notes"] for result in found)
    names = [figure["name"] for result in found for figure in result["figures"]]
    assert len(names) == FIGURES_WITHOUT_PEERS
    assert all(name in page.read_text() for name in names)
    assert all(name in plot.read_text() for name in names)


def _run(module: str, *arguments: str | Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
