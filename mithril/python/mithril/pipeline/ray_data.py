"""A pipeline as a job of Ray Data: its workers read the chunks of the source and call the functions."""

from collections.abc import Sequence
from typing import Any

from mithril.pipeline.assembly import FunctionStage, ShuffleStage, Stage
from mithril.pipeline.chunk import Item
from mithril.pipeline.errors import PipelineError
from mithril.pipeline.extras import extra
from mithril.pipeline.functions import Function, apply
from mithril.pipeline.order import permutation
from mithril.pipeline.stages import IndexedSource

VALUE = "value"


def to_ray(source: Any, stages: Sequence[Stage], key: tuple[int, int], workers: int) -> Any:
    """A data set of Ray with what the functions give for the samples of the source.

    Dictionaries become rows, and other values rows with the column `value`. Ray has stages of its own for batches,
    windows and ranks.
    """
    ray = extra("ray.data", "jobs of Ray", "ray", "ray")
    if not isinstance(source, IndexedSource):
        raise PipelineError("a job of Ray needs a source of numbered chunks, which its workers read by themselves")
    order = list(range(len(source)))
    if stages and isinstance(stages[0], ShuffleStage) and not stages[0].window:
        order, stages = permutation(len(source), *key).tolist(), stages[1:]
    functions = [stage.for_epoch(*key).function for stage in stages if isinstance(stage, FunctionStage)]
    if len(functions) != len(stages):
        raise PipelineError(
            "a job of Ray has functions alone; make batches by its iter_batches, and shuffle by its random_shuffle"
        )
    chunks = ray.from_items(order, override_num_blocks=max(min(len(order), 4 * workers), 1))
    return chunks.flat_map(_Chunks, fn_constructor_args=(source, functions), concurrency=workers)


class _Chunks:
    """A worker: it reads a chunk, and calls the functions."""

    def __init__(self, source: IndexedSource, functions: Sequence[Function]) -> None:
        self._source = source
        self._functions = functions

    def __call__(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        """The rows that a chunk becomes."""
        index = int(chunk["item"])
        place = self._source.place(index)
        samples = [Item(value, place, row) for row, value in enumerate(self._source.read(index))]
        results, _ = apply(self._functions, samples)
        return [result.value if isinstance(result.value, dict) else {VALUE: result.value} for result in results]
