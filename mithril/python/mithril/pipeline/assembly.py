"""Assembly: stages as they were asked for become segments of functions, and regrouping stages between them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from mithril.pipeline.budget import Budget
from mithril.pipeline.driver import Driver
from mithril.pipeline.events import Events
from mithril.pipeline.feeders import Feeder, IndexedFeeder, SequentialFeeder, StageFeeder
from mithril.pipeline.functions import Function, Kind
from mithril.pipeline.pressure import PressureHandler
from mithril.pipeline.regroup import Batch, Pack, Regroup, Shard, Shuffle, Upstream
from mithril.pipeline.segment import Segment
from mithril.pipeline.settings import PipelineSettings
from mithril.pipeline.stages import IndexedSource, Source
from mithril.pipeline.statistics import StageStatistics
from mithril.pipeline.trace import Trace


@dataclass(frozen=True, slots=True)
class FunctionStage:
    """A function, and how many threads run it, or processes."""

    function: Function
    workers: int | Literal["auto"]
    processes: bool = False
    built_in: bool = False

    @property
    def shape(self) -> str:
        """The part of it that positions depend on."""
        return f"{self.function.kind.value}{' in processes' if self.processes else ''}"

    def for_epoch(self, seed: int, epoch: int) -> "FunctionStage":
        """The same with a function that knows the epoch, where it asks for that."""
        bind = getattr(self.function.call, "for_epoch", None)
        return self if bind is None else replace(self, function=replace(self.function, call=bind(seed, epoch)))

    @property
    def one_to_one(self) -> bool:
        """Each element stays one element."""
        return self.function.kind is Kind.MAP and self.function.on_error == "raise"

    def length(self, elements: int) -> int | None:
        """The number of elements that come of so many, where it is known."""
        if self.one_to_one:
            return elements
        transform = self.function.transform
        if transform is None or self.function.on_error != "raise":
            return None
        return transform.size_hint(elements)


@dataclass(frozen=True, slots=True)
class BatchStage:
    """Batches of elements."""

    size: int
    drop_last: bool

    @property
    def shape(self) -> str:
        """The part of it that positions depend on."""
        return f"batch {self.size}"

    def length(self, elements: int) -> int:
        """The number of batches."""
        return elements // self.size if self.drop_last else -(-elements // self.size)


@dataclass(frozen=True, slots=True)
class ShuffleStage:
    """A random order within windows."""

    window: int

    @property
    def shape(self) -> str:
        """The part of it that positions depend on."""
        return f"shuffle {self.window}"

    def length(self, elements: int) -> int:
        """The number of elements."""
        return elements


@dataclass(frozen=True, slots=True)
class PackStage:
    """Rows of so many tokens."""

    row: int

    @property
    def shape(self) -> str:
        """The part of it that positions depend on."""
        return f"pack {self.row}"

    def length(self, _: int) -> None:
        """The number of rows, which depends on the tokens."""
        return


@dataclass(frozen=True, slots=True)
class ShardStage:
    """The share of a rank."""

    rank: int
    world: int

    @property
    def shape(self) -> str:
        """The part of it that positions depend on; the number of ranks is checked apart."""
        return "shard"

    def length(self, elements: int) -> int:
        """The number of elements of one rank."""
        return elements // self.world


Stage = FunctionStage | BatchStage | ShuffleStage | PackStage | ShardStage


@dataclass(slots=True)
class Assembled:
    """The parts of a run."""

    settings: PipelineSettings
    budget: Budget
    events: Events
    trace: Trace | None = None
    segments: list[Segment] = field(default_factory=list)
    last: Upstream = field(init=False)

    def driver(self) -> Driver:
        """The thread that drives it."""
        pressure = PressureHandler(self.budget, self.events.tell) if self.settings.pressure else None
        return Driver(self.last, self.segments, self.budget, self.events, self.settings.prefetch, pressure)

    def statistics(self) -> list[StageStatistics]:
        """Figures of the segments."""
        return [segment.statistics for segment in self.segments]


class _Assembler:
    """A builder of segments and stages, from the source on."""

    def __init__(self, result: Assembled, ordered: bool) -> None:
        self._result = result
        self._ordered = ordered
        self._feeder: Feeder | None = None
        self._stage: Upstream | None = None
        self._functions: list[FunctionStage] = []

    def source(self, source: IndexedSource | Source, key: tuple[int, int], shuffled: bool) -> None:
        if isinstance(source, IndexedSource):
            self._feeder = IndexedFeeder(source, key if shuffled else None, self._result.budget)
        else:
            self._feeder = SequentialFeeder(source, key[1])
            self._segment(workers=1)

    def function(self, stage: FunctionStage) -> None:
        if self._functions and self._functions[-1].processes != stage.processes:
            self.finish()
        if self._feeder is None:
            assert self._stage is not None
            self._feeder = StageFeeder(self._stage, self._result.budget)
        self._functions.append(stage)

    def regroup(self, make: Callable[[Upstream, Budget], Regroup]) -> None:
        self._stage = make(self.finish(), self._result.budget)

    def finish(self) -> Upstream:
        """The last stage."""
        if self._feeder is not None:
            asked = [stage.workers for stage in self._functions if stage.workers != "auto"]
            self._segment(max(asked) if asked else self._result.settings.threads, tuned=self._tunes(asked))
        assert self._stage is not None
        return self._stage

    def _tunes(self, asked: list[int]) -> bool:
        """The number of workers is to be found: nobody has said it, and the functions are not only our own."""
        found = self._functions
        return (
            not asked
            and not self._result.settings.workers
            and any(not stage.built_in for stage in found)
            and not any(stage.processes for stage in found)
        )

    def _segment(self, workers: int, *, tuned: bool = False) -> None:
        assert self._feeder is not None
        result = self._result
        segment = Segment(
            self._feeder,
            [stage.function for stage in self._functions],
            result.budget,
            result.events,
            workers=workers,
            tuned=tuned,
            refuse=result.settings.oversize == "refuse",
            ordered=self._ordered,
            processes=any(stage.processes for stage in self._functions),
            trace=result.trace,
        )
        result.segments.append(segment)
        self._stage, self._feeder, self._functions = segment, None, []


def assemble(
    source: IndexedSource | Source,
    stages: Sequence[Stage],
    settings: PipelineSettings,
    key: tuple[int, int],
    ordered: bool,
    trace: Trace | None = None,
) -> Assembled:
    """The segments and stages of one run, from the source to the last one."""
    result = Assembled(settings, Budget(settings.memory_bytes), Events(), trace)
    assembler = _Assembler(result, ordered)
    assembler.source(source, key, bool(stages) and isinstance(stages[0], ShuffleStage))
    for number, stage in enumerate(stages):
        match stage:
            case FunctionStage():
                assembler.function(stage.for_epoch(*key))
            case BatchStage(size, drop_last):
                assembler.regroup(partial(Batch, size=size, drop_last=drop_last))
            case ShuffleStage(window):
                if window:
                    assembler.regroup(partial(Shuffle, window=window, key=(key[0] + number, key[1])))
            case PackStage(row):
                assembler.regroup(partial(Pack, length=row))
            case ShardStage(rank, world):
                assembler.regroup(partial(Shard, rank=rank, world=world))
    result.last = assembler.finish()
    return result
