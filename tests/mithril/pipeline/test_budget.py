"""The memory budget: never passed, each buffer counted once, nothing waits for ever."""

import sys
import threading
import weakref
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mithril.pipeline.meeting import Meeting

from mithril.pipeline import IndexedSource, MemoryBudgetError, MemorySource, Pipeline
from mithril.pipeline.budget import Budget
from mithril.pipeline.functions import Function, Kind
from mithril.pipeline.holds import measure, size_of
from mithril.pipeline.reading import PartReader
from mithril.pipeline.tasks import Task
from mithril.pipeline.worker import Worker

LIMIT = 1 << 20


def zeros(size: int) -> np.ndarray[Any, Any]:
    return np.zeros(size, np.uint8)


@given(
    sizes=st.lists(st.integers(0, LIMIT // 4), max_size=60),
    workers=st.integers(1, 4),
    batch=st.integers(1, 3),
    chunk=st.integers(1, 20),
)
def test_accounted_bytes_never_pass_the_budget(sizes: list[int], workers: int, batch: int, chunk: int) -> None:
    source = MemorySource(sizes, chunk=chunk)
    pipeline = Pipeline(source, memory_bytes=LIMIT).map(zeros, workers=workers).batch(batch, collate=None)
    found = [array.nbytes for batch in pipeline for array in batch]
    statistics = pipeline.statistics()
    assert found == sizes
    assert statistics.memory_peak_bytes <= LIMIT
    assert statistics.memory_bytes == 0
    assert not statistics.overruns


@given(
    sizes=st.lists(st.integers(0, LIMIT // 10), max_size=80),
    stages=st.lists(st.sampled_from(["map", "batch"]), max_size=2),
    workers=st.integers(1, 4),
    chunk=st.integers(1, 30),
)
def test_samples_that_fit_are_neither_refused_nor_waited_for_without_end(
    sizes: list[int], stages: list[str], workers: int, chunk: int
) -> None:
    pipeline = Pipeline(MemorySource(sizes, chunk=chunk), memory_bytes=LIMIT).map(zeros, workers=workers)
    for stage in stages:
        if stage == "map":
            pipeline = pipeline.map(np.copy, workers=workers)
        else:
            pipeline = pipeline.batch(2, collate=np.concatenate)
    assert sum(array.nbytes for array in pipeline) == sum(sizes)
    assert pipeline.statistics().memory_peak_bytes <= LIMIT


@given(st.lists(st.sampled_from(["shuffle", "batch", "pack"]), max_size=3), st.integers(0, 2**32))
def test_all_memory_is_given_back(stages: list[str], seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(0, 300, 120).tolist()
    pipeline = Pipeline(lengths, memory_bytes=LIMIT).map(lambda length: np.zeros(length, np.int32))
    for stage in stages:
        match stage:
            case "shuffle":
                pipeline = pipeline.shuffle(11)
            case "batch":
                pipeline = pipeline.batch(3, collate=np.concatenate)
            case "pack":
                pipeline = pipeline.pack(64)
    for _ in pipeline:
        pass
    assert pipeline.statistics().memory_bytes == 0
    assert pipeline.statistics().memory_peak_bytes <= LIMIT


def test_younger_results_are_made_again_where_the_oldest_sample_needs_their_memory() -> None:
    sizes = [LIMIT * 95 // 100] + [LIMIT // 50] * 12
    done, calls = threading.Event(), []

    def make(number: int) -> np.ndarray[Any, Any]:
        calls.append(number)
        if number == 6:
            done.set()
        if number == 0:
            assert done.wait(60)
        return zeros(sizes[number])

    pipeline = Pipeline(MemorySource(range(len(sizes)), chunk=1), memory_bytes=LIMIT).map(make, workers=2)
    assert [array.nbytes for array in pipeline] == sizes
    assert len(calls) > len(sizes)
    assert pipeline.statistics().memory_peak_bytes <= LIMIT
    assert not pipeline.statistics().overruns


def test_a_sample_above_the_budget_runs_alone() -> None:
    sizes = [1000] * 10 + [2 * LIMIT] + [1000] * 10
    pipeline = Pipeline(sizes, memory_bytes=LIMIT).map(zeros, workers=3)
    assert [array.nbytes for array in pipeline] == sizes
    assert pipeline.statistics().overruns == 1
    assert pipeline.statistics().memory_peak_bytes < 2 * LIMIT + 10_000


class Large(IndexedSource):
    """A source of small chunks and one that is larger than the budget, without a hint."""

    def __init__(self) -> None:
        self.reads = 0

    def __len__(self) -> int:
        return 5

    def read(self, index: int) -> list[bytes]:
        self.reads += 1
        return [bytes(LIMIT // 10 + number) for number in range(30 if index == 2 else 1)]


@pytest.mark.parametrize("mapped", [False, True])
def test_a_chunk_above_the_budget_runs_alone_or_is_refused(mapped: bool) -> None:
    def run(source: Large, oversize: Literal["run", "refuse"]) -> list[int]:
        pipeline = Pipeline(source, memory_bytes=LIMIT, oversize=oversize)
        return [len(data) for data in (pipeline.map(bytes, workers=2) if mapped else pipeline)]

    source = Large()
    expected = [LIMIT // 10 + number for index in range(5) for number in range(30 if index == 2 else 1)]
    assert run(source, "run") == expected
    assert source.reads < 20
    with pytest.raises(MemoryBudgetError, match=r"Large chunk 2, sample 0: \d+ bytes do not fit"):
        run(Large(), "refuse")


def test_a_sample_above_the_budget_can_be_refused() -> None:
    sizes = [1000] * 10 + [2 * LIMIT]
    pipeline = Pipeline(MemorySource(sizes, chunk=1), memory_bytes=LIMIT, oversize="refuse").map(zeros, workers=3)
    with pytest.raises(MemoryBudgetError, match=r"list from number 10, sample 0: .* do not fit into the memory budget"):
        list(pipeline)


@pytest.mark.parametrize("stage", ["batch", "shuffle"])
def test_a_batch_or_window_above_the_budget_is_refused(stage: str) -> None:
    pipeline = Pipeline([LIMIT // 4] * 20, memory_bytes=LIMIT).map(zeros)
    pipeline = pipeline.batch(10, collate=None) if stage == "batch" else pipeline.shuffle(10)
    with pytest.raises(MemoryBudgetError, match="make the batch, the window or the chunk smaller"):
        list(pipeline)


def test_functions_that_reserve_most_of_the_budget_do_not_run_together() -> None:
    meeting = Meeting()
    pipeline = Pipeline(range(6), memory_bytes=LIMIT).map(lambda _: meeting.met(), workers=3, reserve=LIMIT - 8192)
    assert not any(pipeline)


def test_views_count_as_their_buffer_once() -> None:
    big = np.zeros(1_000_000, np.uint8)
    views = [big[at : at + 10] for at in range(0, 100, 10)]
    budget = Budget(2_000_000)
    holds = [measure(view) for view in views]
    assert budget.hold(holds, 0)[0] == 0
    assert 1_000_000 <= budget.used < 1_010_000
    budget.release(holds[1:])
    assert budget.used >= 1_000_000
    budget.release(holds[:1])
    assert budget.used == 0


def test_a_dropped_array_counts_until_the_next_element_is_asked_for() -> None:
    budget = Budget(LIMIT)
    first = zeros(1000)
    held = measure(first)
    budget.hold([held], 0)
    del first
    # Without an owner, one of these would get the address of the array that was dropped.
    others = [zeros(1000) for _ in range(10)]
    holds = [measure(other) for other in others]
    budget.hold(holds, 0)
    assert budget.used >= 11_000
    budget.release([held])
    assert 10_000 <= budget.used < 11_000
    budget.release(holds)
    assert budget.used == 0


@pytest.mark.parametrize("batched", [False, True])
def test_an_element_that_the_caller_drops_lives_as_long_as_it_counts(batched: bool) -> None:
    pipeline = Pipeline(MemorySource(range(3), chunk=3), memory_bytes=LIMIT).map(lambda _: zeros(1000))
    elements = iter(pipeline.batch(1, collate=None) if batched else pipeline)
    element = next(elements)
    kept = weakref.ref(element[0] if batched else element)
    del element
    assert kept() is not None
    next(elements)
    assert kept() is None
    elements.close()


def test_tables_that_share_a_buffer_and_differ_in_size_are_given_back_whole() -> None:
    table = pa.table({"x": pa.array(range(1000), pa.int64()), "y": pa.array(range(1000), pa.int64())})
    budget = Budget(LIMIT)
    holds = [measure(table.select(["x"])), measure(table)]
    budget.hold(holds, 0)
    budget.release(holds[:1])
    assert budget.used >= 16_000
    budget.release(holds[1:])
    assert budget.used == 0


@pytest.mark.parametrize("chunks", [False, True])
def test_samples_that_a_function_changes_in_place_count_as_what_they_became(chunks: bool) -> None:
    def grow(sample: dict[str, Any]) -> dict[str, Any]:
        sample["pixels"] = zeros(LIMIT // 8)
        return sample

    function: Any = (lambda samples: [grow(sample) for sample in samples]) if chunks else grow
    pipeline = Pipeline([{"number": number} for number in range(40)], memory_bytes=LIMIT)
    with pytest.raises(MemoryBudgetError, match="windows"):
        list(pipeline.map(function, chunks=chunks, workers=2).shuffle(30))


@pytest.mark.parametrize("kind", [Kind.MAP, Kind.CHUNKS])
def test_samples_are_as_they_were_when_a_function_is_called_for_them_again(kind: Kind) -> None:
    calls = []

    def decode(sample: dict[str, Any]) -> dict[str, Any]:
        calls.append(sample["number"])
        sample["pixels"] = zeros(sample.pop("size"))
        return sample

    call: Any = decode if kind is Kind.MAP else lambda samples: [decode(sample) for sample in samples]
    sample = {"number": 7, "size": LIMIT * 3 // 4}
    budget = Budget(LIMIT)
    worker = Worker([Function(kind, call, "decode")], budget, refuse=False)
    task = Task([0, 0], PartReader(MemorySource([sample]), 0, LIMIT))
    budget.reserve(LIMIT // 2)
    worker.run(task)
    assert not task.results
    budget.give_back(LIMIT // 2)
    worker.run(task)
    assert [item.value.keys() for item in task.results] == [{"number", "pixels"}]
    assert calls == [7, 7]
    assert sample == {"number": 7, "size": LIMIT * 3 // 4}


def test_the_memory_of_arrow_torch_and_nested_values() -> None:
    torch = pytest.importorskip("torch", reason="torch is an extra")
    table = pa.table({"x": pa.array(range(100_000), pa.int64())})
    assert size_of(measure(table.slice(5, 10))) >= 800_000
    budget = Budget(10**9)
    budget.hold([measure(table.slice(at, 10)) for at in range(5)], 0)
    assert budget.used < 810_000
    tensor = torch.zeros(250_000)
    assert 1_000_000 <= size_of(measure(tensor[:5])) < 1_001_000
    assert size_of(measure({"a": [b"x" * 5000, (np.zeros(1000),)]})) > 13_000
    assert size_of(measure(memoryview(b"y" * 9000))) > 9000
    assert size_of(measure(np.frombuffer(b"z" * 7000, np.uint8)[:3])) > 7000


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()


@given(PLAIN | st.lists(PLAIN) | st.dictionaries(PLAIN, PLAIN) | st.tuples(PLAIN, PLAIN))
def test_plain_values_take_what_python_says(value: Any) -> None:
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list | tuple) else []
    assert measure(value) == sys.getsizeof(value) + sum(map(sys.getsizeof, parts))


def test_reservations_become_holds() -> None:
    budget = Budget(1000)
    assert budget.reserve(600)
    assert not budget.reserve(600)
    assert not budget.reserve(300, leave=200)
    assert budget.hold([500], 600) == (100, 500)
    assert budget.hold([600], 100) == (None, 600)
    assert budget.used == 600
    assert budget.hold([600], 100, over=True) == (0, 600)
    assert (budget.used, budget.overruns) == (1100, 1)
