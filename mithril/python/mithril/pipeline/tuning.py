"""The number of workers of a segment, found while it runs."""

import os
import time
from dataclasses import dataclass

# A rate is known after so many seconds and so many chunks.
_SECONDS = 0.4
_CHUNKS = 6
# A change counts if it gives so much more.
_GAIN = 1.05
_LEAST_GAIN = 0.97
# After a change for the worse, rates that pass before the next attempt; twice as many after each.
_PATIENCE = 4
_PATIENCE_MAX = 256
# Threads that wait for disks and networks need no core.
_THREADS_A_CORE = 4
_THREADS_MAX = 64


def most(start: int) -> int:
    """The most workers of a segment that begins with so many."""
    return max(start, min(_THREADS_A_CORE * (os.cpu_count() or 1), _THREADS_MAX))


@dataclass(slots=True)
class Tuner:
    """A climber: it tries a worker more or fewer, and stays where samples come fastest.

    Functions that wait want many threads, those that hold Python's global lock want one; neither can be told before.
    """

    workers: int
    most: int
    _since: float = 0.0
    _chunks: int = 0
    _samples: int = 0
    _before: int = 0
    """The workers before the change that is being tried; 0 where none is."""
    _rate: float = 0.0
    """The rate before it."""
    _step: int = 1
    _patience: int = _PATIENCE
    _waits: int = 0

    def note(self, samples: int, held_up: bool, now: float | None = None) -> int:
        """Takes note of a chunk that is done, and gives the number of workers.

        `held_up` says that nobody waits for this segment, or that memory is short: then its rate tells nothing.
        """
        now = time.perf_counter() if now is None else now
        if held_up or not self._since:
            self._begin(now)
            return self.workers
        self._chunks += 1
        self._samples += samples
        passed = now - self._since
        if passed >= _SECONDS and self._chunks >= _CHUNKS * self.workers:
            self._judge(self._samples / passed)
            self._begin(now)
        return self.workers

    def _begin(self, now: float) -> None:
        self._since, self._chunks, self._samples = now, 0, 0

    def _judge(self, rate: float) -> None:
        if self._before:
            # Fewer workers that do as much are better.
            enough = _GAIN if self.workers > self._before else _LEAST_GAIN
            if rate >= self._rate * enough:
                self._patience = _PATIENCE
                self._try(rate)
                return
            self.workers, self._before = self._before, 0
            self._step = -self._step
            self._waits = self._patience
            self._patience = min(2 * self._patience, _PATIENCE_MAX)
            return
        if self._waits:
            self._waits -= 1
            return
        self._try(rate)

    def _try(self, rate: float) -> None:
        wanted = min(max(self.workers + self._step, 1), self.most)
        if wanted == self.workers:
            self._step, self._before, self._waits = -self._step, 0, self._patience
            return
        self._before, self._rate, self.workers = self.workers, rate, wanted
