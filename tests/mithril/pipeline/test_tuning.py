"""The number of workers is found while running, memory pressure lowers the budget, and a table shows both."""

import io
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from tests.wire import eventually

from mithril.pipeline import Pipeline
from mithril.pipeline.budget import Budget
from mithril.pipeline.live import LiveTable
from mithril.pipeline.pressure import PressureHandler, is_short
from mithril.pipeline.tuning import Tuner


def climbed(best: int, start: int, most: int, seconds: float = 200.0) -> list[int]:
    """The workers over time where samples come fastest with `best` workers."""
    tuner, now, seen = Tuner(start, most), 0.0, []
    while now < seconds:
        rate = min(tuner.workers, best) - 0.1 * max(tuner.workers - best, 0)
        now += 0.02 / rate
        seen.append(tuner.note(10, held_up=False, now=now))
    return seen


@settings(deadline=None, max_examples=30)
@given(best=st.integers(1, 8), start=st.integers(1, 8))
def test_the_number_of_workers_settles_where_samples_come_fastest(best: int, start: int) -> None:
    seen = climbed(best, start, 8)
    last = seen[len(seen) // 2 :]
    assert sum(abs(workers - best) <= 1 for workers in last) >= 0.95 * len(last)
    assert sum(workers == best for workers in last) >= 0.6 * len(last)
    assert max(seen) <= 8
    assert min(seen) >= 1


def test_a_rate_that_nobody_waits_for_changes_nothing() -> None:
    tuner = Tuner(3, 8)
    assert {tuner.note(10, held_up=True, now=float(second)) for second in range(1, 100)} == {3}


def test_functions_that_wait_get_more_workers() -> None:
    def wait(number: int) -> int:
        time.sleep(0.02)
        return number

    pipeline = Pipeline([[number] for number in range(4000)]).map(lambda numbers: wait(numbers[0]))
    first = pipeline._options.settings.threads
    with iter(pipeline) as run:
        found = [next(run)]
        until = time.monotonic() + 30
        while pipeline.statistics().stages[0].workers <= first and time.monotonic() < until:
            found.append(next(run))
    assert pipeline.statistics().stages[0].workers > first
    assert found == list(range(len(found)))


def files(folder: Path, current: int, avg10: float, cached: int = 0) -> tuple[Path, Path, Path]:
    group = folder / "groups" / "mine"
    group.mkdir(parents=True, exist_ok=True)
    (folder / "own").write_text("1:name=x:/other\n0::/mine\n")
    (group / "memory.max").write_text("1000\n")
    (group / "memory.current").write_text(f"{current}\n")
    (group / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\n")
    psi = folder / "psi"
    psi.write_text(f"some avg10={avg10} avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0 avg300=0 total=0\n")
    return psi, folder / "groups", folder / "own"


def test_memory_is_short_as_the_kernel_says(tmp_path: Path) -> None:
    assert not is_short(*files(tmp_path, 900, 1.0))
    assert is_short(*files(tmp_path, 900, 12.5))
    assert is_short(*files(tmp_path, 960, 0.0))
    assert not is_short(*files(tmp_path, 960, 0.0, cached=100))
    nothing = tmp_path / "none"
    assert not is_short(nothing, nothing, nothing)
    (tmp_path / "psi").write_text("what is this")
    assert not is_short(tmp_path / "psi", nothing, nothing)


def test_pressure_lowers_the_budget_and_calm_raises_it() -> None:
    budget, told = Budget(1600), threading.Event()
    short = [True] * 3 + [False] * 30
    handler = PressureHandler(budget, told.set, lambda: short.pop(0))
    assert budget.reserve(1000)
    handler.look()
    assert budget.allowed == 700
    assert not budget.reserve(1)
    handler.look()
    handler.look()
    assert 100 <= budget.allowed < 700
    assert not told.is_set()
    for _ in range(30):
        handler.look()
    assert budget.allowed == 1600
    assert told.is_set()
    assert budget.reserve(600)


def _lowered() -> float:
    return REGISTRY.get_sample_value("mithril_pipeline_pressure_total") or 0


def test_a_pipeline_goes_on_under_pressure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mithril.pipeline.pressure._INTERVAL_S", 0.001)
    monkeypatch.setattr("mithril.pipeline.pressure.PressureHandler.__init__.__defaults__", (lambda: True,))
    pipeline = Pipeline(range(400), memory_bytes=1 << 20).map(lambda number: bytes(10_000 + number)).batch(4)
    lowered = _lowered()
    run = iter(pipeline)
    found = [next(run)]
    # The handler has a thread of its own.
    eventually(lambda: _lowered() >= lowered + 20)
    found += run
    assert [len(data) for batch in found for data in batch] == [10_000 + number for number in range(400)]
    # What was in flight at first may take all of the budget; what comes later has a small part of it.
    assert run._driver.budget.allowed == (1 << 20) // 16


def test_the_table_is_drawn_in_its_place() -> None:
    stream, shown = io.StringIO(), iter(["a\nb", "c\nd\ne"])
    table = LiveTable(lambda: next(shown), stream)
    table.draw()
    table.draw()
    assert stream.getvalue() == "\x1b[Ka\n\x1b[Kb\n\x1b[2F\x1b[Kc\n\x1b[Kd\n\x1b[Ke\n"
