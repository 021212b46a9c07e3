"""What sources, transforms and sinks keep between chunks counts in the budget."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file
from tests.mithril.pipeline.meeting import Meeting

from mithril.pipeline import (
    MemoryBudgetError,
    NumpySink,
    ParquetSink,
    Pipeline,
    SafetensorsSink,
    Sink,
    Source,
    SqlSink,
    Transform,
)
from mithril.pipeline.budget import Budget
from mithril.pipeline.holds import Pending

LIMIT = 1 << 20


class Cache(Transform):
    """A transform that keeps something of each sample."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept = 0

    def transform(self, samples: Sequence[Any]) -> Sequence[Any]:
        self._kept += self._size * len(samples)
        return samples

    def memory_usage(self) -> int:
        return self._kept


@pytest.mark.parametrize("processes", [False, True])
def test_what_a_transform_keeps_counts(processes: bool) -> None:
    pipeline = Pipeline(range(100), memory_bytes=LIMIT).map(Cache(1000), workers=1, processes=processes)
    assert list(pipeline) == list(range(100))
    assert pipeline.statistics().memory_bytes == pipeline.statistics().memory_kept_bytes == 100_000
    assert "memory 0.1 MB (0.1 kept by stages)" in pipeline.statistics().table()


def test_a_transform_that_keeps_most_of_the_budget_leaves_little_for_others() -> None:
    meeting = Meeting()

    def run(size: int) -> list[bool]:
        keeping = Pipeline([0], memory_bytes=LIMIT).flat_map(lambda _: range(8)).map(Cache(size), workers=1).batch(1)
        return list(keeping.map(lambda _: meeting.met(), workers=2, reserve=LIMIT // 4))

    assert not any(run(LIMIT * 3 // 4 // 8))


def test_a_transform_that_keeps_more_than_the_budget_can_be_refused() -> None:
    pipeline = Pipeline(range(100), memory_bytes=LIMIT, oversize="refuse").map(Cache(LIMIT // 8))
    with pytest.raises(MemoryBudgetError, match=r"Cache: what is kept between chunks takes \d+ bytes"):
        list(pipeline)
    pipeline = Pipeline(range(100), memory_bytes=LIMIT).map(Cache(LIMIT // 8))
    assert list(pipeline) == list(range(100))
    assert pipeline.statistics().overruns > 0


def test_what_a_source_keeps_counts() -> None:
    class ReadAhead(Source):
        def reset(self, epoch: int) -> None:
            self._left = 3

        def next_batch(self) -> Sequence[int] | None:
            self._left -= 1
            return [self._left] if self._left >= 0 else None

        def memory_usage(self) -> int:
            return max(self._left, 0) * 1000 + 500

    pipeline = Pipeline(ReadAhead(), memory_bytes=LIMIT)
    assert list(pipeline) == [2, 1, 0]
    assert pipeline.statistics().memory_bytes == 500
    assert pipeline.statistics().memory_peak_bytes >= 2500


class Hoard(Sink):
    """A sink that holds elements until it is told to hold less."""

    def __init__(self) -> None:
        self.held: list[Any] = []
        self.written = 0
        self.peak = 0

    def consume(self, value: Any) -> None:
        self.held.append(value)
        self.peak = max(self.peak, self.memory_usage())

    def memory_usage(self) -> int:
        return sum(array.nbytes for array in self.held)

    def shrink(self) -> None:
        self.written += len(self.held)
        self.held.clear()

    def flush(self) -> None:
        self.shrink()


def test_a_sink_is_told_to_hold_less_before_it_takes_much_of_the_budget() -> None:
    sink = Hoard()
    pipeline = Pipeline([LIMIT // 50] * 200, memory_bytes=LIMIT).map(lambda size: np.zeros(size, np.uint8))
    statistics = pipeline.run(sink)
    assert sink.written == 200
    assert LIMIT // 10 < sink.peak < LIMIT // 6
    assert statistics.memory_peak_bytes <= LIMIT
    assert not statistics.overruns


def test_a_sink_is_told_to_hold_less_where_the_next_element_needs_the_memory() -> None:
    sink = Hoard()
    sizes = [LIMIT // 10, LIMIT * 95 // 100, LIMIT // 10, LIMIT * 95 // 100]
    pipeline = Pipeline([[size] for size in sizes], memory_bytes=LIMIT).map(lambda one: np.zeros(one[0], np.uint8))
    statistics = pipeline.run(sink)
    assert sink.written == 4
    assert not statistics.overruns
    assert statistics.memory_peak_bytes <= LIMIT


def rows(count: int, size: int) -> Pipeline:
    """Dictionaries of an array, under a small budget."""
    pipeline = Pipeline(range(count), memory_bytes=LIMIT, oversize="refuse")
    return pipeline.map(lambda number: {"x": np.full(size, number % 251, np.uint8)})


def test_groups_of_rows_are_as_small_as_the_budget_asks(tmp_path: Path) -> None:
    rows(300, 10_000).run(ParquetSink(tmp_path / "out.parquet"))
    metadata = pq.read_metadata(tmp_path / "out.parquet")
    assert metadata.num_rows == 300
    assert all(metadata.row_group(group).num_rows <= 14 for group in range(metadata.num_row_groups))


def test_views_of_one_buffer_do_not_make_small_groups(tmp_path: Path) -> None:
    base = np.zeros((400, 1000), np.uint8)
    Pipeline(range(400)).map(lambda number: {"x": base[number]}).run(
        ParquetSink(tmp_path / "out.parquet", group_bytes=1_000_000)
    )
    assert pq.read_metadata(tmp_path / "out.parquet").num_row_groups == 1


def test_arrays_that_are_collected_count_until_they_are_on_the_disk(tmp_path: Path) -> None:
    statistics = rows(300, 10_000).run(SafetensorsSink(tmp_path / "out.safetensors"))
    assert statistics.memory_peak_bytes <= LIMIT
    found = load_file(tmp_path / "out.safetensors")["x"]
    assert found.shape == (300, 10_000)
    assert (found == (np.arange(300) % 251)[:, None]).all()
    sink = NumpySink(tmp_path / "out.npy")
    for number in range(9):
        sink.consume(np.full(1 << 20, number, np.uint8))
        assert sink.memory_usage() == (0 if number == 8 else (number + 1) << 20)
    sink.flush()
    assert np.load(tmp_path / "out.npy")[:, 7].tolist() == list(range(9))
    sink = NumpySink(tmp_path / "small.npy")
    sink.consume(np.arange(3))
    assert sink.memory_usage() == 24
    sink.shrink()
    assert sink.memory_usage() == 0
    sink.consume(np.arange(3))
    sink.flush()
    assert np.load(tmp_path / "small.npy").tolist() == [[0, 1, 2]] * 2


def test_parameters_of_statements_that_wait_count(tmp_path: Path) -> None:
    import sqlite3  # noqa: PLC0415 (one test needs it)

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(tmp_path / "data.db", check_same_thread=False)

    with connect() as connection:
        connection.execute("CREATE TABLE texts (x TEXT)")
    connection.close()
    sink = SqlSink(connect, "INSERT INTO texts VALUES (:x)")
    sink.consume({"x": "y" * 5000})
    assert 5000 < sink.memory_usage() < 6000
    sink.shrink()
    assert sink.memory_usage() == 0
    sink.flush()
    with connect() as connection:
        assert connection.execute("SELECT length(x) FROM texts").fetchall() == [(5000,)]
    connection.close()


def test_pending_values_count_each_buffer_once() -> None:
    base = np.zeros(100_000, np.uint8)
    pending = Pending()
    for at in range(10):
        pending.add({"x": base[at:]})
    assert 100_000 < pending.size < 110_000
    pending.clear()
    assert pending.size == 0
    pending.add(base)
    assert pending.size >= 100_000


def test_what_is_kept_takes_reserved_bytes_first() -> None:
    budget = Budget(1000)
    budget.reserve(300)
    assert budget.keep("one", 200, reserved=300) == 100
    assert (budget.used, budget.kept) == (300, 200)
    assert budget.keep("one", 50, reserved=100) == 100
    assert (budget.used, budget.kept) == (150, 50)
    hold = 400
    budget.hold([hold], 0)
    assert budget.keep("two", 500, freed=[hold]) == 0
    assert (budget.used, budget.kept, budget.overruns) == (650, 550, 0)
    budget.keep("two", 950)
    assert (budget.used, budget.overruns) == (1100, 1)
