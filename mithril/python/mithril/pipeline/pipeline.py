"""Pipelines: a source and the stages behind it, to iterate over."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from mithril.core.config import load
from mithril.core.progress import Progress, Step
from mithril.pipeline import ray_data
from mithril.pipeline.assembly import BatchStage, FunctionStage, PackStage, ShardStage, ShuffleStage, Stage, assemble
from mithril.pipeline.collation import as_tokens, collate, concatenate, to_torch
from mithril.pipeline.errors import PipelineError
from mithril.pipeline.functions import Function, Kind, OnError
from mithril.pipeline.length import length_of
from mithril.pipeline.live import LiveTable
from mithril.pipeline.run import Run
from mithril.pipeline.settings import PipelineSettings
from mithril.pipeline.sources.memory import Numbered, as_source
from mithril.pipeline.stages import IndexedSource, Sink, Source, Transform
from mithril.pipeline.state import State
from mithril.pipeline.statistics import Statistics
from mithril.pipeline.trace import Trace

Workers = int | Literal["auto"]


@dataclass(frozen=True, slots=True)
class _Options:
    settings: PipelineSettings
    seed: int
    ordered: bool
    trace: Trace | None


class Pipeline(Iterable[Any]):
    """A pipeline. Every method that adds a stage gives a new one, and leaves this one as it was.

    Iterating gives the elements of one epoch, and the next epoch the next time. The order depends on `seed` and epoch
    alone. With `ordered=False` chunks come as they are done, and `state_dict` is not available. `trace` names a file
    for Perfetto, which is written when a run ends, with an error too.
    """

    def __init__(
        self,
        source: IndexedSource | Source | Iterable[Any] | Numbered | Callable[[], Iterable[Any]],
        *,
        seed: int = 0,
        ordered: bool = True,
        memory_bytes: int | None = None,
        prefetch: int | None = None,
        oversize: Literal["run", "refuse"] | None = None,
        trace: str | Path | None = None,
    ) -> None:
        if not isinstance(seed, int):
            raise PipelineError(f"seed is a whole number, not {seed!r}")
        arguments = {"memory_bytes": memory_bytes, "prefetch": prefetch, "oversize": oversize}
        self._source = as_source(source)
        self._options = _Options(
            load(PipelineSettings, arguments).settings, seed, ordered, None if trace is None else Trace(trace)
        )
        self._stages: tuple[Stage, ...] = ()
        self._epoch = 0
        self._start: State | None = None
        self._run: Run | None = None
        self._run_epoch = 0
        self._run_stages: Callable[[], Any] | None = None

    # Stages.

    def map(
        self,
        function: Callable[[Any], Any] | Transform,
        *,
        chunks: bool = False,
        workers: Workers = "auto",
        on_error: OnError = "raise",
        reserve: int = 0,
        processes: bool = False,
    ) -> "Pipeline":
        """Calls a function for each element, on several threads. With `chunks` it takes and gives lists of elements.

        With `processes` it runs in worker processes: for functions that hold Python's global lock. Samples go there and
        back in shared memory.

        `reserve` is the memory that one call needs beyond its result. A result that does not fit into the memory budget
        is dropped and made again: the function must give the same for the same element. `on_error` is `raise`, `skip`,
        or a function of the error, whose result takes the element's place.
        """
        if isinstance(function, Transform):
            name, call = type(function).__name__, function.transform
            return self._function(Kind.CHUNKS, call, name, workers, on_error, reserve, processes)
        kind = Kind.CHUNKS if chunks else Kind.MAP
        return self._function(kind, function, "", workers, on_error, reserve, processes)

    def filter(
        self,
        function: Callable[[Any], Any],
        *,
        workers: Workers = "auto",
        on_error: OnError = "raise",
        processes: bool = False,
    ) -> "Pipeline":
        """Leaves out the elements for which the function is false."""
        return self._function(Kind.FILTER, function, "", workers, on_error, 0, processes)

    def flat_map(
        self,
        function: Callable[[Any], Iterable[Any]],
        *,
        workers: Workers = "auto",
        on_error: OnError = "raise",
        processes: bool = False,
    ) -> "Pipeline":
        """Puts what the function gives for an element in its place, one by one."""
        return self._function(Kind.FLAT_MAP, function, "", workers, on_error, 0, processes)

    def shuffle(self, window: int = 0) -> "Pipeline":
        """Puts each window of so many elements in a random order.

        As the first stage behind a source of numbered chunks, it also reads these in a random order; without a window,
        only that.
        """
        _at_least(0, "shuffle: window", window)
        if not window and (self._stages or not isinstance(self._source, IndexedSource)):
            raise PipelineError(
                f"shuffle needs a window of at least 1 element here, not {window}; without a window it is the first "
                f"stage behind a source of numbered chunks"
            )
        return self._with(ShuffleStage(window))

    def batch(
        self, size: int, *, drop_last: bool = False, collate: Callable[[list[Any]], Any] | None = collate
    ) -> "Pipeline":
        """Makes batches of so many elements, and joins each by `collate`; None leaves lists."""
        _at_least(1, "batch", size)
        joined = () if collate is None else (_built_in(collate, "collate"),)
        return self._copy((*self._stages, BatchStage(size, drop_last), *joined))

    def pack(self, length: int) -> "Pipeline":
        """Puts sequences of tokens one after the other, and cuts them into rows of so many tokens."""
        _at_least(1, "pack", length)
        stages = (_built_in(as_tokens, "tokens"), PackStage(length), _built_in(concatenate, "concatenate"))
        return self._copy((*self._stages, *stages))

    def shard(self, rank: int, world: int) -> "Pipeline":
        """Gives one rank its share: of each `world` elements the one with its number.

        All ranks get equally many. Maps before it are not run for the elements of other ranks.
        """
        _at_least(1, "shard: world", world)
        if not 0 <= rank < world:
            raise PipelineError(f"shard: rank is from 0 to {world - 1}, not {rank}")
        if any(isinstance(stage, ShardStage) for stage in self._stages):
            raise PipelineError("a pipeline has one shard stage")
        at = len(self._stages)
        while at and isinstance(stage := self._stages[at - 1], FunctionStage) and stage.one_to_one:
            at -= 1
        stages = (*self._stages[:at], ShardStage(rank, world), *self._stages[at:])
        return self._copy(stages)

    def to_torch(self) -> "Pipeline":
        """Makes torch tensors of numpy arrays; they share their memory."""
        return self._with(_built_in(to_torch, "to_torch"))

    def to_ray(self, workers: int = 2) -> Any:
        """The next epoch as a data set of Ray, for sources of numbered chunks and stages of functions.

        Dictionaries are rows, and other values rows with the column `value`. The memory budget is Ray's.
        """
        _at_least(1, "workers", workers)
        return ray_data.to_ray(self._source, self._stages, self._key, workers)

    # Iteration.

    def __iter__(self) -> Run:
        """The elements of an epoch, from its beginning or from where `load_state_dict` said."""
        if self._run is not None:
            self._run.overtake()
        start, self._start = self._start, None
        if start is None:
            start = State(self._epoch, 0, 0, None)
        self._epoch = start.epoch
        options = self._options
        assembled = assemble(self._source, self._stages, options.settings, self._key, options.ordered, options.trace)
        try:
            assembled.last.reset(start.up)
        except (TypeError, ValueError, IndexError) as error:
            if start.up is None:
                raise
            raise PipelineError(f"the state is damaged: its positions are not of these stages: {error}") from error
        self._run_stages = assembled.statistics
        self._run_epoch = start.epoch
        self._run = Run(assembled.driver(), start, self._ended, self._written)
        return self._run

    @property
    def _key(self) -> tuple[int, int]:
        return self._options.seed, self._epoch

    def _ended(self) -> None:
        self._epoch = self._run_epoch + 1

    def _written(self) -> None:
        if self._options.trace is not None:
            self._options.trace.write()

    def epochs(self, count: int | None = None) -> Iterator[Any]:
        """The elements of so many epochs, one after the other; without a number, of all."""
        for _ in itertools.count() if count is None else range(count):
            yield from self

    def run(
        self, sink: Sink, callback: Callable[[Step], None] | None = None, *, live: TextIO | None = None
    ) -> Statistics:
        """Gives the elements of an epoch to a sink, and shows progress, or on the terminal `live` a table."""
        if not isinstance(sink, Sink):
            raise PipelineError(f"run takes a Sink, not {sink!r}; for files use JsonlSink, ParquetSink or ArrowSink")
        try:
            with ExitStack() as stack:
                elements = stack.enter_context(iter(self))
                if live is not None:
                    callback = callback or (lambda _: None)
                    stack.enter_context(LiveTable(lambda: self.statistics().table(), live))
                length = length_of(self._source, self._stages)
                begun = length.share(elements.position, elements.token) or 0.0
                progress = stack.enter_context(Progress("pipeline", callback=callback, begun=begun))
                elements.deliver(sink, lambda size: progress.add(size, length.share(elements.position, elements.token)))
                progress.add(0, 1.0)
            sink.flush()
        except BaseException:
            sink.abort()
            raise
        return self.statistics()

    def size_hint(self) -> int | None:
        """The number of elements of an epoch, where the source and all stages say it."""
        return length_of(self._source, self._stages).elements

    def __len__(self) -> int:
        """The number of elements of an epoch; an error of type where it is not known, as for iterable data sets."""
        length = self.size_hint()
        if length is None:
            raise TypeError("the number of elements is not known before they are there; size_hint() is None")
        return length

    def __bool__(self) -> bool:
        """True, whatever the length."""
        return True

    def statistics(self) -> Statistics:
        """Figures of the current or the last run."""
        run = self._run
        if run is None or self._run_stages is None:
            raise PipelineError("a pipeline that has not run has no statistics; iterate over it first")
        return run.statistics(self._run_epoch, self._run_stages())

    # Exact resume.

    def state_dict(self) -> dict[str, Any]:
        """The position behind the last element that was handed out, as numbers, lists and strings."""
        if not self._options.ordered:
            raise PipelineError("the position of a pipeline with ordered=False is not defined; use ordered=True")
        run = self._run
        if self._start is not None:
            state = self._start
        elif run is None or self._epoch != self._run_epoch:
            state = State(self._epoch, 0, 0, None)
        else:
            state = run.state
        return state.to_dict(self._options.seed, self._shape(), self._world())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Makes the next iteration go on behind that position.

        The stages must be the same. The number of workers may differ; that of ranks too, if only maps follow shard.
        """
        self._start = State.from_dict(state, self._options.seed, self._shape(), self._world(), self._elastic())
        self._epoch = self._start.epoch
        if self._run is not None:
            self._run.overtake()
            self._run = None

    def _shape(self) -> str:
        return " > ".join(
            [f"{len(self._source)} chunks" if isinstance(self._source, IndexedSource) else "stream"]
            + [stage.shape for stage in self._stages]
        )

    def _world(self) -> int:
        return next((stage.world for stage in self._stages if isinstance(stage, ShardStage)), 1)

    def _elastic(self) -> bool:
        stages = list(itertools.dropwhile(lambda stage: not isinstance(stage, ShardStage), self._stages))[1:]
        return all(isinstance(stage, FunctionStage) and stage.one_to_one for stage in stages)

    def _function(
        self,
        kind: Kind,
        call: Callable[[Any], Any],
        name: str,
        workers: Workers,
        on_error: OnError,
        reserve: int = 0,
        processes: bool = False,
    ) -> "Pipeline":
        if workers != "auto":
            _at_least(1, "workers", workers)
        if reserve < 0:
            raise PipelineError(f"reserve is a whole number of bytes, not {reserve!r}")
        if not callable(on_error) and on_error not in ("raise", "skip"):
            raise PipelineError(f'on_error is "raise", "skip" or a function, not {on_error!r}')
        if not callable(call):
            raise PipelineError(f"{kind.value} takes a function or a Transform, not {type(call).__name__}")
        name = name or getattr(call, "__name__", type(call).__name__)
        return self._with(FunctionStage(Function(kind, call, name, on_error, reserve), workers, processes))

    def _with(self, stage: Stage) -> "Pipeline":
        return self._copy((*self._stages, stage))

    def _copy(self, stages: tuple[Stage, ...]) -> "Pipeline":
        copied = Pipeline.__new__(Pipeline)
        copied.__dict__.update(self.__dict__, _stages=stages, _run=None, _run_stages=None)
        return copied


def _built_in(call: Callable[[Any], Any], name: str) -> FunctionStage:
    return FunctionStage(Function(Kind.MAP, call, name), "auto", built_in=True)


def _at_least(least: int, what: str, number: object) -> None:
    if not isinstance(number, int) or isinstance(number, bool) or number < least:
        raise PipelineError(f"{what} is a whole number of at least {least}, not {number!r}")
