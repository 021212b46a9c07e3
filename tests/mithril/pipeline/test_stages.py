"""Stages: their results, their order, and errors that are told with their sample."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from mithril.core.errors import ConfigError, MithrilError
from mithril.pipeline import MemorySource, Pipeline, PipelineError, Sink, Source, SourceError, Transform, TransformError


def double(number: int) -> int:
    return number * 2


def test_a_map_keeps_the_order_with_any_number_of_workers() -> None:
    for workers in (1, 3, 8):
        assert list(Pipeline(range(500)).map(double, workers=workers)) == [2 * number for number in range(500)]


def test_without_order_a_slow_chunk_does_not_hold_up_others() -> None:
    taken = threading.Event()

    def late(number: int) -> int:
        if number == 0:
            assert taken.wait(60)
        return number

    run = iter(Pipeline(MemorySource(range(500), chunk=125), ordered=False).map(late, workers=2))
    first = next(run)
    taken.set()
    assert first != 0
    assert sorted([first, *run]) == list(range(500))


def test_filters_flat_maps_and_chunks() -> None:
    assert list(Pipeline(range(10)).filter(lambda number: number % 3 == 0)) == [0, 3, 6, 9]
    assert list(Pipeline(range(4)).flat_map(lambda number: [number] * number)) == [1, 2, 2, 3, 3, 3]
    assert list(Pipeline(range(6)).map(lambda some: [one + 1 for one in some], chunks=True)) == list(range(1, 7))
    assert list(Pipeline(range(6)).map(lambda some: [one for one in some if one > 3], chunks=True)) == [4, 5]


def test_a_transform_is_a_class() -> None:
    class Negative(Transform):
        def transform(self, samples: Sequence[Any]) -> Sequence[Any]:
            return [-sample for sample in samples]

    assert list(Pipeline(range(4)).map(Negative())) == [0, -1, -2, -3]


def test_batches_are_stacked() -> None:
    batches = list(Pipeline(range(10)).map(lambda number: {"x": np.full(3, number), "y": number}).batch(4))
    assert [batch["x"].shape for batch in batches] == [(4, 3), (4, 3), (2, 3)]
    assert batches[1]["y"].tolist() == [4, 5, 6, 7]
    assert len(list(Pipeline(range(10)).batch(4, drop_last=True))) == 2
    assert list(Pipeline(["a", "b", "c"]).batch(2)) == [["a", "b"], ["c"]]
    assert list(Pipeline(range(3)).batch(2, collate=None)) == [[0, 1], [2]]
    assert list(Pipeline([1, None, 2, "x"]).batch(2)) == [[1, None], [2, "x"]]


def test_arrays_of_any_library_are_stacked() -> None:
    class Foreign:
        def __init__(self, number: int) -> None:
            self._array = np.full(3, number)

        def __dlpack__(self, **arguments: Any) -> Any:
            return self._array.__dlpack__(**arguments)

        def __dlpack_device__(self) -> Any:
            return self._array.__dlpack_device__()

    (batch,) = Pipeline([1, 2]).map(Foreign).batch(2)
    assert batch.tolist() == [[1] * 3, [2] * 3]


@pytest.mark.parametrize("other", [{"x": 1, "y": 2}, {}, {"y": 1}, 3])
def test_a_batch_loses_no_name(other: Any) -> None:
    with pytest.raises(TransformError, match=r"dictionaries of a batch must have the same names: .* follows x"):
        list(Pipeline([{"x": 1}, other]).batch(2))


def test_packed_rows_hold_all_tokens_in_order() -> None:
    texts = [np.arange(length, dtype=np.int32) for length in (5, 0, 1, 30, 2, 7)]
    rows = list(Pipeline(texts).pack(8))
    assert all(row.shape == (8,) for row in rows)
    assert np.concatenate(rows).tolist() == np.concatenate(texts).tolist()[: len(rows) * 8]
    assert len(rows) == 45 // 8
    assert [row.tolist() for row in Pipeline([[1, 2], [3]]).pack(3)] == [[1, 2, 3]]


def test_packing_refuses_what_is_no_sequence_of_tokens() -> None:
    with pytest.raises(TransformError, match="float64 of 1 dimensions"):
        list(Pipeline([np.zeros(3)]).pack(2))


def test_a_shuffle_is_a_permutation_that_seed_and_epoch_decide() -> None:
    first, again, other = (Pipeline(range(1000), seed=seed).shuffle(100) for seed in (1, 1, 2))
    orders = [list(first), list(first), list(again), list(other)]
    assert all(sorted(order) == list(range(1000)) for order in orders)
    assert orders[0] == orders[2]
    assert len({tuple(order) for order in orders}) == 3


def test_the_order_of_chunks_alone_can_be_shuffled() -> None:
    found = list(Pipeline(MemorySource(range(100), chunk=10)).shuffle())
    assert found != list(range(100))
    assert all(found[at : at + 10] == list(range(found[at], found[at] + 10)) for at in range(0, 100, 10))


def test_ranks_share_all_batches_evenly() -> None:
    def batches(rank: int) -> list[list[int]]:
        return list(Pipeline(range(100), seed=4).shuffle(20).batch(8, collate=None).shard(rank, 3))

    shares = [batches(rank) for rank in range(3)]
    assert {len(share) for share in shares} == {4}
    whole = list(Pipeline(range(100), seed=4).shuffle(20).batch(8, collate=None))
    assert [shares[at % 3][at // 3] for at in range(12)] == whole[:12]


def test_maps_before_a_shard_run_for_the_rank_alone() -> None:
    called: list[int] = []

    def noted(number: int) -> int:
        called.append(number)
        return number

    share = Pipeline(range(100)).map(noted).shard(1, 4)
    assert list(share) == list(range(1, 100, 4))
    assert sorted(called) == list(range(1, 100, 4))


def test_an_error_names_the_sample_and_the_stage() -> None:
    def inverse(number: int) -> float:
        return 1 / (number - 70)

    with pytest.raises(
        TransformError, match=r"range from number 64, sample 6: inverse raised ZeroDivisionError"
    ) as told:
        list(Pipeline(MemorySource(range(100), chunk=64)).map(inverse))
    assert (told.value.row, told.value.stage) == (6, "inverse")
    assert isinstance(told.value.__cause__, ZeroDivisionError)


def test_what_came_before_an_error_is_handed_out() -> None:
    source = MemorySource(range(10), chunk=1)
    run = iter(Pipeline(source).map(lambda number: 1 // (7 - number), workers=1))
    assert [next(run) for _ in range(7)] == [0] * 6 + [1]
    with pytest.raises(TransformError):
        next(run)


def test_errors_may_be_skipped_and_are_counted() -> None:
    pipeline = Pipeline(range(100)).map(lambda number: 1 // (number % 10), on_error="skip").batch(10)
    assert sum(len(batch) for batch in pipeline) == 90
    assert pipeline.statistics().skipped == 10
    chunked = Pipeline(range(20)).map(lambda some: [1 // one for one in some], chunks=True, on_error="skip")
    assert len(list(chunked)) == 19
    assert chunked.statistics().skipped == 1


def test_an_error_may_be_replaced() -> None:
    told: list[TransformError] = []

    def replace(error: TransformError) -> int:
        told.append(error)
        return -1

    found = list(Pipeline(range(3)).map(lambda number: 2 // number, on_error=replace).map(double))
    assert found == [-2, 4, 2]
    assert [error.row for error in told] == [0]


def test_a_source_of_ones_own() -> None:
    class Countdown(Source):
        def __init__(self) -> None:
            self.left = 0

        def reset(self, epoch: int) -> None:
            self.left = 5

        def next_batch(self) -> Sequence[int] | None:
            self.left -= 2
            return [self.left + 1, self.left] if self.left >= 0 else None

    pipeline = Pipeline(Countdown()).map(double)
    assert list(pipeline) == [8, 6, 4, 2]
    assert list(pipeline.epochs(2)) == [8, 6, 4, 2] * 2


def test_a_source_that_gives_nothing_is_told_so() -> None:
    class Empty(Source):
        def reset(self, epoch: int) -> None: ...

        def next_batch(self) -> Sequence[int] | None:
            return []

    with pytest.raises(SourceError, match="Empty: next_batch gave no samples"):
        list(Pipeline(Empty()))


def test_functions_that_make_iterators_are_sources() -> None:
    def squares() -> Iterator[int]:
        yield from (number**2 for number in range(200))

    pipeline = Pipeline(squares).map(double)
    assert list(pipeline) == list(pipeline) == [2 * number**2 for number in range(200)]
    assert list(Pipeline({1: 2, 3: 4}.keys())) == [1, 3]


def test_runs_over_one_source_do_not_disturb_each_other() -> None:
    def numbers() -> Iterator[int]:
        yield from range(1000)

    pipeline = Pipeline(numbers)
    pairs = zip(pipeline.map(double), pipeline.filter(lambda number: number % 2 == 0), strict=False)
    assert list(pairs) == [(2 * number, 2 * number) for number in range(500)]


def test_a_data_set_with_a_length_and_values_by_number_is_a_source() -> None:
    class Squares:
        def __len__(self) -> int:
            return 600

        def __getitem__(self, number: int) -> int:
            assert 0 <= number < 600
            return number * number

    pipeline = Pipeline(Squares())
    assert list(pipeline) == [number * number for number in range(600)]
    assert sorted(pipeline.shuffle()) == list(pipeline)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pipeline(pa.table({"x": [1]})), r"Table would be read column by column; ArrowSource\("),
        (lambda: Pipeline(pl.DataFrame({"x": [1]})), "polars's DataFrame would be read column by column"),
        (lambda: list(Pipeline(cast("Any", lambda: 5))), "makes an iterable, not int"),
        (lambda: Pipeline([1]).run(cast("Any", "out.jsonl")), "run takes a Sink, not 'out.jsonl'"),
        (lambda: Pipeline([1], seed=cast("Any", "1")), "seed is a whole number, not '1'"),
        (lambda: Pipeline([1]).shuffle(cast("Any", "2")), "shuffle: window is a whole number of at least 0, not '2'"),
        (lambda: list(Pipeline([{"x": [1]}]).pack(2)), "not dictionaries; map each to its tokens before"),
    ],
)
def test_what_cannot_be_meant_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(MithrilError, match=message):
        make()


def test_an_empty_source_gives_nothing() -> None:
    assert list(Pipeline([]).map(double).shuffle(4).batch(3)) == []
    assert list(Pipeline(lambda: iter(())).batch(3)) == []


def test_a_run_that_is_left_early_stops_its_threads() -> None:
    before = set(threading.enumerate())
    pipeline = Pipeline(range(100_000)).map(double, workers=3).batch(10)
    for _ in pipeline:
        break
    run = iter(pipeline)
    next(run)
    run.close()
    started = set(threading.enumerate()) - before
    for thread in started:
        thread.join(60)
        assert not thread.is_alive()


def test_an_iteration_that_another_one_overtakes_does_not_seem_complete() -> None:
    pipeline = Pipeline(range(1000))
    state = pipeline.state_dict()
    first = iter(pipeline)
    next(first)
    assert len(list(pipeline)) == 1000
    with pytest.raises(PipelineError, match="a pipeline has one iteration at a time"):
        list(first)
    second = iter(pipeline)
    next(second)
    pipeline.load_state_dict(state)
    with pytest.raises(PipelineError, match="ended early"):
        next(second)


def test_a_closed_iteration_gives_nothing_more() -> None:
    with iter(Pipeline(range(1000))) as run:
        assert next(run) == 0
    assert list(run) == []


def test_a_sink_gets_all_and_an_error_aborts_it() -> None:
    class Recorder(Sink):
        def __init__(self) -> None:
            self.calls: list[Any] = []

        def consume(self, value: Any) -> None:
            self.calls.append(value)

        def flush(self) -> None:
            self.calls.append("flush")

        def abort(self) -> None:
            self.calls.append("abort")

    good, bad = Recorder(), Recorder()
    statistics = Pipeline(range(3)).map(double).run(good)
    assert good.calls == [0, 2, 4, "flush"]
    assert statistics.elements == 3
    assert statistics.table().splitlines()[1].startswith("double")
    with pytest.raises(TransformError):
        Pipeline([1, 0]).map(lambda number: 1 // number).run(bad)
    assert bad.calls[-1] == "abort"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Pipeline(iter([1])), "give the function that makes it"),
        (lambda: Pipeline(cast("Any", 5)), "a source is a Source, a sequence"),
        (lambda: Pipeline([1]).batch(0), "batch is a whole number of at least 1, not 0"),
        (lambda: Pipeline([1]).batch(2).shuffle(), "shuffle needs a window"),
        (lambda: Pipeline([1]).shard(2, 2), "rank is from 0 to 1, not 2"),
        (lambda: Pipeline([1]).shard(0, 2).shard(0, 2), "one shard stage"),
        (lambda: Pipeline([1]).map(cast("Any", 5)), "map takes a function or a Transform, not int"),
        (lambda: Pipeline([1]).map(double, on_error="ignore"), "on_error is"),
        (lambda: Pipeline([1]).map(double, workers=0), "workers is a whole number"),
        (lambda: Pipeline([1]).map(double, reserve=-1), "reserve is a whole number of bytes, not -1"),
        (lambda: Pipeline([1]).statistics(), "has not run"),
    ],
)
def test_a_call_that_cannot_work_is_refused(wrong: Any, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        wrong()


def test_a_budget_below_the_least_is_refused() -> None:
    with pytest.raises(ConfigError, match="memory_bytes"):
        Pipeline([1], memory_bytes=10)
