"""The length of a pipeline, and its progress with the time that is left."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mithril.core.progress import Progress, Step
from mithril.pipeline import (
    ArrowSource,
    Embed,
    JsonlSource,
    MemorySource,
    ParquetSource,
    Pipeline,
    Sink,
    Source,
    Transform,
)
from mithril.pipeline.length import Length, length_of


class Pairs(Transform):
    """A transform that gives each sample twice."""

    def transform(self, samples: Sequence[Any]) -> Sequence[Any]:
        return [sample for sample in samples for _ in "ab"]

    def size_hint(self, samples: int) -> int:
        return 2 * samples


class Nothing(Sink):
    """A sink that drops everything."""

    def consume(self, value: Any) -> None: ...

    def flush(self) -> None: ...


def source() -> Pipeline:
    return Pipeline(range(103))


KNOWN: dict[str, Callable[[], Pipeline]] = {
    "source": source,
    "map": lambda: source().map(abs),
    "batch": lambda: source().batch(10),
    "whole batches": lambda: source().batch(10, drop_last=True),
    "shuffle": lambda: source().shuffle(7),
    "ranks": lambda: source().batch(10).shard(1, 3),
    "transform": lambda: source().map(Pairs()).batch(4),
    "embedding": lambda: source().map(Embed(np.array)),
    "set": lambda: Pipeline({1, 2, 3}),
    "tables": lambda: Pipeline(ArrowSource(pa.table({"x": range(10)}), rows=4)),
    "rows": lambda: Pipeline(ArrowSource(pa.table({"x": range(10)}), rows=4, form="rows")),
}
UNKNOWN: dict[str, Callable[[], Pipeline]] = {
    "filter": lambda: source().filter(bool),
    "flat map": lambda: source().flat_map(lambda number: [number]),
    "skipped": lambda: source().map(abs, on_error="skip"),
    "chunks": lambda: source().map(list, chunks=True),
    "skipped transform": lambda: source().map(Pairs(), on_error="skip"),
    "pack": lambda: source().map(np.arange).pack(10),
    "function": lambda: Pipeline(lambda: iter([1])),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_length_is_the_number_of_elements(name: str) -> None:
    pipeline = KNOWN[name]()
    assert len(pipeline) == pipeline.size_hint() == len(list(pipeline))


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_length_that_is_not_known_is_no_number(name: str) -> None:
    pipeline = UNKNOWN[name]()
    assert pipeline.size_hint() is None
    with pytest.raises(TypeError, match="not known before they are there"):
        len(pipeline)
    assert pipeline
    assert list(pipeline)
    assert Pipeline([])


def steps_of(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """Each step of a run; an element takes a second."""
    seconds = iter(range(10_000))

    def timed(name: str, **options: Any) -> Progress:
        return Progress(name, clock=lambda: float(next(seconds)), **options)

    monkeypatch.setattr("mithril.pipeline.pipeline.Progress", timed)
    steps: list[Step] = []
    pipeline.run(Nothing(), steps.append)
    return steps


def test_progress_tells_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = steps_of(Pipeline(range(100)).map(abs), monkeypatch)
    left = [step.seconds_left for step in steps if not step.finished]
    assert left[9] == pytest.approx(90)
    assert left[-1] == pytest.approx(0, abs=1)
    assert steps[-1].finished
    assert steps[-1].share == 1


def test_the_time_of_a_run_that_goes_on_is_that_of_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Pipeline(range(100)).map(abs)
    run = iter(first)
    for _ in range(50):
        next(run)
    again = Pipeline(range(100)).map(abs)
    again.load_state_dict(first.state_dict())
    steps = steps_of(again, monkeypatch)
    assert steps[9].share == pytest.approx(0.6)
    assert steps[9].seconds_left == pytest.approx(40)


class Counted(Source):
    """A source that knows how many samples it has."""

    def __init__(self) -> None:
        self._at = 0

    def reset(self, epoch: int) -> None:
        self._at = 0

    def next_batch(self) -> Sequence[int] | None:
        self._at += 10
        return range(self._at - 10, self._at) if self._at <= 1000 else None

    def size_hint(self) -> int:
        return 1000


@pytest.mark.parametrize("kind", ["memory", "sequential", "parquet", "lines"])
def test_behind_a_filter_progress_is_the_share_of_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    pq.write_table(pa.table({"x": range(20_000)}), tmp_path / "a.parquet", row_group_size=1000)
    (tmp_path / "a.jsonl").write_text("".join(f"{number:03}\n" for number in range(100, 1000)))
    sources: dict[str, Any] = {
        "memory": MemorySource(range(1000), chunk=50),
        "sequential": Counted(),
        "parquet": ParquetSource(tmp_path / "a.parquet", column="x"),
        "lines": JsonlSource(tmp_path / "a.jsonl", chunk_bytes=200),
    }
    pipeline = Pipeline(sources[kind], memory_bytes=1 << 16).filter(lambda number: number % 10 == 0).shuffle(5).batch(2)
    steps = steps_of(pipeline, monkeypatch)
    shares = [step.share for step in steps if step.share is not None]
    assert len(shares) == len(steps)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    # The positions behind the first and third quarter of the batches are about there in the source.
    for quarter in (1, 3):
        assert shares[len(shares) * quarter // 4] == pytest.approx(quarter / 4, abs=0.15)


def test_a_position_within_a_chunk_counts() -> None:
    length = Length(MemorySource(range(100), chunk=10), None)
    assert length.share(7, [[[2, 5], 1], 3]) == 0.25
    assert length.share(7, [9, 10]) == 1
    assert Length(Counted(), None).share(7, [[500, 20], 1]) == 0.52
    assert Length(JsonlSource.__new__(JsonlSource), 10).share(7, None) == 0.7


def test_the_share_of_a_position_without_a_source_of_known_size_is_not_known() -> None:
    length = length_of(Pipeline(lambda: iter([1]))._source, ())
    assert length.share(5, [[3, 0], 1]) is None
    assert length.share(5, None) is None
