"""Feeders: they make tasks of what a source or a stage gives, in an order that seed and epoch decide."""

import abc
import copy
from typing import TYPE_CHECKING, Any

from mithril.pipeline.budget import Budget
from mithril.pipeline.chunk import WAIT, Chunk, Item, Token, Wait
from mithril.pipeline.errors import SourceError
from mithril.pipeline.holds import measure
from mithril.pipeline.order import permutation
from mithril.pipeline.reading import PartReader, has_parts
from mithril.pipeline.regroup import Upstream
from mithril.pipeline.stages import IndexedSource, Source
from mithril.pipeline.tasks import Task

if TYPE_CHECKING:
    from collections.abc import Sequence


# A chunk that is read by parts takes so much of the budget at a time.
_PART_SHARE = 32
_PART_BYTES = 8 << 20


class Feeder(abc.ABC):
    """A giver of tasks to a segment."""

    @abc.abstractmethod
    def next_task(self) -> Task | Wait | None:
        """The next task, WAIT, or the end."""

    @abc.abstractmethod
    def reset(self, token: Token | None) -> None:
        """Goes to a position: that of the stage before, and samples to leave out."""

    def memory_usage(self) -> int:
        """The bytes of samples that are held between two tasks, and not by an item."""
        return 0


class IndexedFeeder(Feeder):
    """A feeder of the chunks of an indexed source. Chunks are read by the workers."""

    def __init__(self, source: IndexedSource, key: tuple[int, int] | None, budget: Budget) -> None:
        self._source = source
        self._parts = has_parts(source)
        self._part_bytes = min(budget.limit // _PART_SHARE, _PART_BYTES)
        self._order: Sequence[int] = range(len(source))
        if key is not None:
            self._order = permutation(len(source), *key).tolist()
        self._at = 0
        self._drop = 0

    def reset(self, token: Token | None) -> None:
        """Goes to a chunk and a row of it."""
        self._at, self._drop = token or (0, 0)

    def next_task(self) -> Task | None:
        """A task that reads the next chunk."""
        if self._at >= len(self._order):
            return None
        at, drop = self._at, self._drop
        self._at, self._drop = at + 1, 0
        index = self._order[at]
        reader = PartReader(self._source, index, self._part_bytes)
        hint = self._source.bytes_hint(index)
        if hint is not None and self._parts:
            hint = min(hint, self._part_bytes)
        return Task([at, drop], reader, hint, self._parts)

    def memory_usage(self) -> int:
        """The bytes that the source holds."""
        return self._source.memory_usage()


class SequentialFeeder(Feeder):
    """A feeder of the batches of a source that is read from its beginning. One task reads at a time."""

    def __init__(self, source: Source, epoch: int) -> None:
        self._source = copy.copy(source)
        self._epoch = epoch
        self._at = 0
        self._drop = 0
        self._task: Task | None = None
        self._kept: list[Item] | None = None
        self._ended = False

    def reset(self, token: Token | None) -> None:
        """Goes to the beginning, from where samples are read and left out."""
        self._at = self._drop = sum(token) if token else 0
        self._task = self._kept = None
        self._ended = False
        self._source.reset(self._epoch)

    def next_task(self) -> Task | Wait | None:
        """A task that reads the next batch, once the one before has been read."""
        if self._task is not None and self._task.inputs is None and not self._task.finished:
            return WAIT
        if self._ended:
            return None
        self._task = Task([self._at, 0], self._load, reloadable=False)
        return self._task

    def memory_usage(self) -> int:
        """The bytes that the source holds."""
        return self._source.memory_usage()

    def _load(self, _: int) -> list[Item]:
        """The next batch; the same again if it was not taken."""
        if self._kept is None:
            self._kept = self._read()
        return self._kept

    def taken(self) -> None:
        """Forgets the batch, which is the segment's now."""
        self._at += len(self._kept or ())
        self._kept = None

    def _read(self) -> list[Item]:
        while True:
            values = self._source.next_batch()
            if values is None:
                self._ended = True
                return []
            if not values:
                raise SourceError(f"{self._source.place()}: next_batch gave no samples; it gives None at the end")
            drop = min(self._drop, len(values))
            self._drop -= drop
            if drop < len(values):
                place, first = self._source.place(), self._at
                kept: list[Any] = list(values[drop:])
                return [Item(value, place, first + row, measure(value)) for row, value in enumerate(kept)]


class StageFeeder(Feeder):
    """A feeder of the chunks of a stage before."""

    def __init__(self, upstream: Upstream, budget: Budget) -> None:
        self._upstream = upstream
        self._budget = budget
        self._drop = 0

    def reset(self, token: Token | None) -> None:
        """Goes to a position of the stage before."""
        self._upstream.reset(token[0] if token else None)
        self._drop = token[1] if token else 0

    def next_task(self) -> Task | Wait | None:
        """A task with the next chunk."""
        while True:
            chunk = self._upstream.pull()
            if not isinstance(chunk, Chunk):
                return chunk
            start = min(self._drop, len(chunk.items))
            self._drop -= start
            self._budget.release(item.hold for item in chunk.items[:start])
            if start < len(chunk.items) or chunk.skipped:
                after = None if chunk.after is None else [chunk.after, 0]
                return Task([chunk.token, start], None, inputs=chunk.items[start:], skipped=chunk.skipped, after=after)
