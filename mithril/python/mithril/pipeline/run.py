"""A run: one epoch of a pipeline, driven by a thread, taken by the caller."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from mithril.pipeline import metrics
from mithril.pipeline.chunk import WAIT, Chunk, Pulled, Token
from mithril.pipeline.driver import Driver
from mithril.pipeline.errors import PipelineError
from mithril.pipeline.holds import Hold, size_of
from mithril.pipeline.stages import Sink
from mithril.pipeline.state import State
from mithril.pipeline.statistics import StageStatistics, Statistics

_TELL_SHARE = 64
# A sink writes early what takes a larger part of the budget.
_SINK_SHARE = 8


class Run(Iterator[Any]):
    """The elements of one epoch, in order. `close` ends it early."""

    def __init__(self, driver: Driver, start: State, on_end: Callable[[], None], on_close: Callable[[], None]) -> None:
        self._closed = False
        self._overtaken = False
        self._driver = driver
        self._start = start
        self._on_end = on_end
        self._on_close = on_close
        self._chunk: Chunk | None = None
        self._at = 0
        self._drop = start.skip
        self._hold: Hold | None = None
        self._sink: Sink | None = None
        self._position = start.position
        self._skipped = 0
        self._waited_s = 0.0
        self._began = time.perf_counter()
        self._seconds: float | None = None
        driver.start()

    @property
    def state(self) -> State:
        """The position behind the last element that was handed out."""
        chunk, start = self._chunk, self._start
        if chunk is None:
            return start
        if self._at == len(chunk.items) and chunk.after is not None:
            return State(start.epoch, self._position, 0, chunk.after)
        return State(start.epoch, self._position, self._at, chunk.token)

    @property
    def position(self) -> int:
        """The number of elements that have been handed out in this epoch."""
        return self._position

    @property
    def token(self) -> Token | None:
        """The position of the last stage before the chunk of the last element."""
        return self._start.up if self._chunk is None else self._chunk.token

    def statistics(self, epoch: int, stages: Sequence[StageStatistics]) -> Statistics:
        """Figures of the run up to now."""
        budget = self._driver.budget
        return Statistics(
            epoch,
            self._position,
            self._skipped,
            time.perf_counter() - self._began if self._seconds is None else self._seconds,
            self._waited_s,
            budget.used,
            budget.kept,
            budget.peak,
            budget.limit,
            budget.overruns,
            stages,
        )

    def __next__(self) -> Any:
        """The next element; memory of the one before counts until then."""
        self._release()
        while not self._closed:
            chunk = self._chunk
            if chunk is not None and self._at < len(chunk.items):
                item = chunk.items[self._at]
                self._at += 1
                if self._drop:
                    self._drop -= 1
                    self._driver.budget.release([item.hold])
                    continue
                self._position += 1
                self._hold, item.hold = item.hold, 0
                value, item.value = item.value, None
                return value
            following = self._take()
            if following is None:
                break
            self._chunk, self._at = following, 0
            self._skipped += following.skipped
            metrics.SKIPPED.inc(following.skipped)
            metrics.MEMORY_BYTES.set(self._driver.budget.used)
        self._finish()
        raise StopIteration

    def deliver(self, sink: Sink, note: Callable[[int], None]) -> None:
        """Gives all elements to a sink; what it holds of them counts. `note` is told the size of each."""
        self._sink = sink
        limit = self._driver.budget.limit // _SINK_SHARE
        for element in self:
            sink.consume(element)
            del element
            if sink.memory_usage() > limit:
                sink.shrink()
            note(0 if self._hold is None else size_of(self._hold))
            self._exchange()

    def _exchange(self) -> None:
        """Accounts for what the sink holds in the place of the last element."""
        assert self._sink is not None
        budget, size = self._driver.budget, self._sink.memory_usage()
        freed = 0 if self._hold is None else size_of(self._hold)
        budget.keep("sink", size, freed=[] if self._hold is None else [self._hold])
        self._hold = None
        self._driver.may_shrink = size > 0
        self._tell_of(freed)

    def _shrink(self) -> None:
        """Makes the sink hold less."""
        assert self._sink is not None
        self._sink.shrink()
        self._driver.budget.keep("sink", self._sink.memory_usage())

    def _finish(self) -> None:
        """Ends a run of which nothing more comes, and raises the error that ended it."""
        closed = self._closed
        self.close()
        if self._overtaken:
            raise PipelineError(
                "this iteration ended early, as the pipeline began another one or loaded a state; a pipeline has one "
                "iteration at a time, so make a second pipeline for a second one"
            )
        if self._driver.error is not None:
            raise self._driver.error
        if not closed:
            self._on_end()

    def _take(self) -> Chunk | None:
        start = time.perf_counter()
        try:
            while (found := self._next_chunk()) is WAIT:
                self._shrink()
                self._driver.events.tell()
            return found if isinstance(found, Chunk) else None
        finally:
            waited = time.perf_counter() - start
            self._waited_s += waited
            metrics.WAITED_SECONDS.inc(waited)

    def _next_chunk(self) -> Pulled:
        """The next chunk, the end, or WAIT where the driver wants the sink to hold less before."""
        driver, events = self._driver, self._driver.events
        with events.condition:
            while not driver.ready and not driver.wanted:
                if driver.ended or self._closed:
                    return None
                driver.asking = True
                events.condition.notify_all()
                events.condition.wait()
            driver.asking = driver.wanted = False
            events.count += 1
            events.condition.notify_all()
            return driver.ready.popleft() if driver.ready else WAIT

    def _release(self) -> None:
        if self._hold is None:
            return
        freed = self._driver.budget.release([self._hold])
        self._hold = None
        self._tell_of(freed)

    def _tell_of(self, freed: int) -> None:
        """Wakes those who wait for memory, where much has been freed."""
        if freed >= self._driver.budget.limit // _TELL_SHARE:
            self._driver.events.tell()

    def close(self) -> None:
        """Stops the threads."""
        if not self._closed:
            self._stop()
            self._on_close()

    def overtake(self) -> None:
        """Stops the threads for another run; asking this one for more is an error then, if it has not ended."""
        self._overtaken = not self._closed
        self.close()

    def _stop(self) -> None:
        self._closed = True
        self._seconds = time.perf_counter() - self._began
        self._driver.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._closed:
            self._stop()
