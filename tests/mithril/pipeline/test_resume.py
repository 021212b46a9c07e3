"""Exact resume: a state is followed by what would have followed, whatever the workers, stages and ranks."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mithril.pipeline import kills

from mithril.pipeline import MemorySource, Pipeline, PipelineError

STAGES = st.lists(
    st.sampled_from(["map", "filter", "flat", "chunks", "shuffle", "batch", "pack"]), min_size=0, max_size=6
)


def build(source: Any, stages: list[str], workers: int, memory_bytes: int = 1 << 30) -> Pipeline:
    """A pipeline whose elements are whole numbers between all stages."""
    pipeline = Pipeline(source, seed=5, memory_bytes=memory_bytes)
    for stage in stages:
        match stage:
            case "map":
                pipeline = pipeline.map(lambda number: number + 1, workers=workers)
            case "filter":
                pipeline = pipeline.filter(lambda number: number % 3, workers=workers)
            case "flat":
                pipeline = pipeline.flat_map(lambda number: [number, -number][: number % 3], workers=workers)
            case "chunks":
                pipeline = pipeline.map(lambda some: [one for one in some if one % 5], chunks=True, workers=workers)
            case "shuffle":
                pipeline = pipeline.shuffle(17)
            case "batch":
                pipeline = pipeline.batch(3).map(lambda batch: int(batch.sum()), workers=workers)
            case "pack":
                pipeline = pipeline.map(lambda number: np.arange(number % 7), workers=workers).pack(10)
                pipeline = pipeline.map(lambda row: int(row[0]) + int(row.sum()), workers=workers)
    return pipeline


def streamed() -> Iterator[int]:
    yield from range(150)


def resumed(source: Any, stages: list[str], cut: int, workers: tuple[int, int]) -> list[int]:
    """The rest behind a cut from a new pipeline, after the state has been through JSON."""
    first = build(source, stages, workers[0])
    run = iter(first)
    for _ in range(cut):
        next(run)
    state = json.loads(json.dumps(first.state_dict()))
    run.close()
    second = build(source, stages, workers[1])
    second.load_state_dict(state)
    return list(second)


@given(
    stages=STAGES, share=st.floats(0, 1), workers=st.tuples(st.integers(1, 4), st.integers(1, 4)), stream=st.booleans()
)
def test_a_state_loses_and_repeats_nothing(
    stages: list[str], share: float, workers: tuple[int, int], stream: bool
) -> None:
    source = streamed if stream else MemorySource(range(150), chunk=8)
    whole = list(build(source, stages, 2))
    cut = int(share * len(whole))
    assert resumed(source, stages, cut, workers) == whole[cut:]


def test_every_batch_can_be_resumed_with_shuffle_filter_and_packing() -> None:
    stages = ["shuffle", "filter", "pack", "batch"]
    whole = list(build(range(600), stages, 2))
    assert len(whole) > 20
    for cut in range(len(whole) + 1):
        assert resumed(range(600), stages, cut, (1, 3)) == whole[cut:]


def test_a_state_taken_under_a_small_budget_holds_under_a_large_one() -> None:
    """Small budgets split chunks elsewhere."""

    def arrays(memory_bytes: int) -> Pipeline:
        source = MemorySource(range(60), chunk=20)
        pipeline = Pipeline(source, seed=1, memory_bytes=memory_bytes).shuffle(7)
        return pipeline.map(lambda number: np.full(1 << 14, number, np.uint8), workers=2).batch(2, collate=None)

    def first(batch: list[Any]) -> list[int]:
        return [int(array[0]) for array in batch]

    whole = [first(batch) for batch in arrays(1 << 30)]
    small = arrays(100_000)
    run = iter(small)
    for cut in range(1, len(whole)):
        next(run)
        large = arrays(1 << 30)
        large.load_state_dict(small.state_dict())
        assert [first(batch) for batch in large] == whole[cut:]


def test_the_state_between_epochs_is_the_beginning_of_the_next() -> None:
    pipeline = build(range(50), ["shuffle"], 2)
    first, second = list(pipeline), list(pipeline)
    assert first != second
    ended = build(range(50), ["shuffle"], 1)
    assert list(ended) == first
    other = build(range(50), ["shuffle"], 1)
    other.load_state_dict(ended.state_dict())
    assert list(other) == second
    assert other.state_dict()["epoch"] == 2


def test_a_loaded_state_is_given_back_until_something_is_handed_out() -> None:
    pipeline = build(range(50), ["shuffle", "batch"], 2)
    run = iter(pipeline)
    next(run)
    state = pipeline.state_dict()
    other = build(range(50), ["shuffle", "batch"], 2)
    other.load_state_dict(state)
    assert other.state_dict() == state
    iter(other).close()
    assert other.state_dict() == state


def test_the_number_of_ranks_may_change() -> None:
    def ranks(world: int) -> list[Pipeline]:
        shuffled = Pipeline(range(400), seed=2).shuffle(30).batch(4, collate=None)
        return [shuffled.shard(rank, world).map(sum) for rank in range(world)]

    whole = [sum(batch) for batch in Pipeline(range(400), seed=2).shuffle(30).batch(4, collate=None)]
    before = ranks(4)
    runs = [iter(pipeline) for pipeline in before]
    for _ in range(5):
        for run in runs:
            next(run)
    states = [pipeline.state_dict() for pipeline in before]
    assert all(state["up"] == states[0]["up"] for state in states)
    after = ranks(3)
    for pipeline in after:
        pipeline.load_state_dict(states[2])
    shares = [list(pipeline) for pipeline in after]
    rest = whole[20:]
    assert [shares[at % 3][at // 3] for at in range(len(rest) // 3 * 3)] == rest[: len(rest) // 3 * 3]


def test_a_state_is_small_and_names_its_pipeline() -> None:
    pipeline = build(range(5000), ["shuffle", "filter", "pack", "batch"], 2)
    run = iter(pipeline)
    for _ in range(100):
        next(run)
    state = pipeline.state_dict()
    assert len(json.dumps(state)) < 600
    run.close()
    for other, message in (
        (build(range(5000), ["shuffle", "filter", "pack"], 2), "make the pipeline as it was"),
        (Pipeline(range(5000), seed=6), "with seed 5"),
    ):
        with pytest.raises(PipelineError, match=message):
            other.load_state_dict(state)
    for change in ({"version": 9}, {"up": [["x"]]}, {"skip": -1}, {"epoch": None}):
        with pytest.raises(PipelineError):
            build(range(5000), ["shuffle", "filter", "pack", "batch"], 2).load_state_dict({**state, **change})
    with pytest.raises(PipelineError, match="a state is a dictionary"):
        build(range(5000), [], 2).load_state_dict(cast("Any", [state]))
    for damaged in ([1], [[1, 2], 3], [None, 0, 0, 0, 0]):
        pipeline = Pipeline(range(50)).shuffle(4)
        pipeline.load_state_dict({**pipeline.state_dict(), "up": damaged})
        with pytest.raises(PipelineError, match="the state is damaged"):
            iter(pipeline)


def test_a_state_for_other_ranks_is_refused_where_it_cannot_hold() -> None:
    state = Pipeline(range(9)).shard(0, 2).batch(2).state_dict()
    with pytest.raises(PipelineError, match="2 ranks, this pipeline has 3"):
        Pipeline(range(9)).shard(0, 3).batch(2).load_state_dict(state)


def test_without_order_there_is_no_state() -> None:
    with pytest.raises(PipelineError, match="use ordered=True"):
        Pipeline(range(9), ordered=False).state_dict()


def test_a_state_of_functions_in_processes_is_refused_where_they_are_not() -> None:
    made = [Pipeline(range(9)).map(abs, processes=processes).shuffle(3) for processes in (True, False)]
    with pytest.raises(PipelineError, match="map in processes > shuffle 3"):
        made[1].load_state_dict(made[0].state_dict())


def test_a_run_that_is_killed_goes_on_with_the_next_batch(tmp_path: Path) -> None:
    # A failure names its seed.
    assert kills.check(4, random.randrange(1 << 32), tmp_path) >= 0
