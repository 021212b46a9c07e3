"""A segment: functions that worker threads run on chunks, with the results in order."""

import threading
import time
from collections import deque
from collections.abc import Sequence

from mithril.pipeline import metrics
from mithril.pipeline.budget import Budget
from mithril.pipeline.chunk import WAIT, Chunk, Pulled, Token, Wait
from mithril.pipeline.events import Events
from mithril.pipeline.feeders import Feeder, SequentialFeeder
from mithril.pipeline.functions import Function
from mithril.pipeline.processes import Processes
from mithril.pipeline.statistics import StageStatistics
from mithril.pipeline.tasks import Phase, Task
from mithril.pipeline.trace import Trace
from mithril.pipeline.tuning import Tuner, most
from mithril.pipeline.worker import Worker

_LEAVE_SHARE = 4
_DEPTH = 8


class Segment:
    """Chunks in flight, oldest first. All but the workers' part runs in the driver's thread."""

    def __init__(
        self,
        feeder: Feeder,
        functions: Sequence[Function],
        budget: Budget,
        events: Events,
        *,
        workers: int,
        refuse: bool,
        ordered: bool,
        tuned: bool = False,
        processes: bool = False,
        trace: Trace | None = None,
    ) -> None:
        self._trace = trace
        self._processes = Processes(functions) if processes else None
        self._feeder = feeder
        self._budget = budget
        self._events = events
        self._worker = Worker(functions, budget, refuse, self._processes, feeder.memory_usage)
        self._ordered = ordered
        self._tuner = Tuner(workers, most(workers)) if tuned else None
        self._unasked = 0
        self._window: deque[Task] = deque()
        self._queue: deque[Task] = deque()
        self._stash: Task | None = None
        self._ended = False
        self._blocked_at: float | None = None
        name = self._worker.name
        self.statistics = StageStatistics(name, workers)
        self.threads = [
            threading.Thread(target=self._work, args=(number,), name=f"mithril-{name[:20]}-{number}", daemon=True)
            for number in range(workers if self._tuner is None else self._tuner.most)
        ]

    def reset(self, token: Token | None) -> None:
        """Goes to a position; before the threads start."""
        self._feeder.reset(token)

    def pull(self) -> Pulled:
        """The oldest chunk if it is done, WAIT, or the end."""
        while True:
            self._top_up()
            if not self._window:
                return None if self._ended and self._stash is None else WAIT
            task = self._window[0] if self._ordered else self._any_done()
            if task.error is not None:
                raise task.error
            if task.phase is not Phase.DONE:
                return WAIT
            self._window.remove(task)
            chunk = self._finished(task)
            if chunk.items or chunk.skipped:
                self._count(chunk)
                return chunk

    def _any_done(self) -> Task:
        return next((task for task in self._window if task.phase is Phase.DONE), self._window[0])

    def _count(self, chunk: Chunk) -> None:
        found = self.statistics
        found.chunks += 1
        found.samples += len(chunk.items)
        found.in_flight = len(self._window)
        metrics.SAMPLES.labels(found.name).inc(len(chunk.items))

    def _finished(self, task: Task) -> Chunk:
        chunk = Chunk(task.results, task.token, task.skipped)
        if task.whole:
            chunk.after = task.after
        else:
            self._window.appendleft(task.rest())
        return chunk

    def _top_up(self) -> None:
        """Starts what may start, in the order of output."""
        for task in self._window:
            if task.phase is Phase.WAITING and not self._admit(task, first=task is self._window[0]):
                return
        while len(self._window) < _DEPTH * self.statistics.workers:
            following = self._stash or self._next()
            if following is None:
                return
            self._stash = None
            if not self._admit(following, first=not self._window):
                self._stash = following
                return
            self._window.append(following)

    def _next(self) -> Task | None:
        found = None if self._ended else self._feeder.next_task()
        if found is None:
            self._ended = True
        return None if isinstance(found, Wait) else found

    def _admit(self, task: Task, first: bool) -> bool:
        need = min(self._worker.need(task), self._budget.limit)
        task.leave = 0 if first else self._budget.limit // _LEAVE_SHARE
        # What has been found to need more than there can be is started alone, or would be done again without end.
        too_large = task.need > self._budget.limit
        if too_large or not self._budget.reserve(need, task.leave):
            if too_large or not first or not task.need or task.need >= need or not self._budget.reserve(task.need):
                self._blocked_at = self._blocked_at or time.perf_counter()
                return False
            need = task.need
        if self._blocked_at is not None:
            self.statistics.full_s += time.perf_counter() - self._blocked_at
            self._blocked_at = None
        self._start(task, need)
        return True

    def _start(self, task: Task, room: int) -> None:
        task.room = room
        task.phase = Phase.RUNNING
        with self._events.condition:
            self._events.running += 1
            self._queue.append(task)
            self._events.condition.notify_all()

    # When memory is short and nothing runs.

    @property
    def starved(self) -> bool:
        """The oldest task waits for memory."""
        if self._window:
            return self._window[0].phase is Phase.WAITING
        return self._stash is not None

    def start_alone(self) -> None:
        """Starts the oldest task whatever memory is left."""
        task = self._window[0] if self._window else self._stash
        assert task is not None
        if not self._window:
            self._window.append(task)
            self._stash = None
        task.alone = True
        task.leave = 0
        self._start(task, 0)

    def start_oldest(self) -> bool:
        """Starts the oldest task if there is room for it."""
        task = self._window[0] if self._window else self._stash
        assert task is not None
        if not self._admit(task, first=True):
            return False
        if not self._window:
            self._window.append(task)
            self._stash = None
        return True

    def revoke(self, keep_oldest: bool) -> bool:
        """Forgets the youngest result that can be made again, to free its memory."""
        for at in range(len(self._window) - 1, 0 if keep_oldest else -1, -1):
            task = self._window[at]
            idle = task.phase is not Phase.RUNNING and task.error is None
            if idle and task.reloadable and task.load is not None and (task.results or task.inputs):
                holds = [item.hold for item in [*task.results, *(task.inputs or ())]]
                self._budget.release(holds)
                task.forget()
                return True
        return False

    # The workers.

    def _work(self, number: int) -> None:
        try:
            self._serve(number)
        finally:
            if self._processes is not None:
                self._processes.close_thread()

    def _serve(self, number: int) -> None:
        events = self._events
        while True:
            with events.condition:
                while not (self._queue and number < self.statistics.workers) and not events.stopped:
                    events.condition.wait()
                if events.stopped:
                    return
                task = self._queue.popleft()
            start = time.perf_counter()
            try:
                self._worker.run(task)
            except BaseException as error:  # noqa: BLE001 (the driver raises it where the caller waits)
                task.error = error
            busy = time.perf_counter() - start
            if self._trace is not None:
                self._trace.span(self.statistics.name, start, busy, samples=len(task.results), room=task.room)
                self._trace.memory(self._budget.used)
            with events.condition:
                self._settle(task)
                self._tune(len(task.results))
                self.statistics.busy_s += busy
                metrics.BUSY_SECONDS.labels(self.statistics.name).inc(busy)
                events.running -= 1
                events.count += 1
                events.condition.notify_all()
            del task

    def _tune(self, samples: int) -> None:
        if self._tuner is None:
            return
        unasked, self._unasked = self._unasked, self._events.unasked
        held_up = unasked != self._unasked or self._blocked_at is not None
        self.statistics.workers = self._tuner.note(samples, held_up)

    def _settle(self, task: Task) -> None:
        if task.inputs is not None and isinstance(self._feeder, SequentialFeeder) and task.load is not None:
            self._feeder.taken()
        task.finished = bool(task.error is not None or task.results or task.skipped or task.whole)
        task.phase = Phase.DONE if task.finished else Phase.WAITING
