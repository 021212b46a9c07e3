"""Progress of what takes over a second: a bar on a terminal, lines in a log, or a callback."""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TextIO

from mithril.core.telemetry import is_heard, logger

_QUIET_S = 1.0
_BAR_INTERVAL_S = 0.1
_LINE_INTERVAL_S = 10.0
_BAR_WIDTH = 30


@dataclass(frozen=True, slots=True)
class Step:
    """The state of a piece of work."""

    name: str
    done: int
    total: int | None
    seconds: float
    finished: bool = False
    part: float | None = None
    """The share that is done, where it is known by something else than bytes."""
    begun: float = 0.0
    """The share that was done at the beginning."""

    @property
    def share(self) -> float | None:
        """The share that is done; None where that is not known."""
        if self.part is not None:
            return min(self.part, 1.0)
        return self.done / self.total if self.total else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all is done, at the rate up to now; None where that is not known."""
        if self.share is None or self.share <= self.begun or self.finished:
            return None
        return self.seconds * max(1 - self.share, 0) / (self.share - self.begun)

    def text(self) -> str:
        """One line for people."""
        share = "" if self.share is None else f" {self.share:4.0%}"
        rate = self.done / self.seconds / 1e6 if self.seconds else 0.0
        left = "" if self.seconds_left is None else f", {self.seconds_left:.0f} s left"
        return f"{self.name}{share} {self.done / 1e6:.1f} MB, {rate:.1f} MB/s, {self.seconds:.1f} s{left}"


class Progress:
    """Progress of one piece of work, in bytes. `with Progress("save", total) as progress: progress.add(n)`.

    Several threads may add. Nothing is shown in the first second.
    """

    def __init__(
        self,
        name: str,
        total: int | None = None,
        callback: Callable[[Step], None] | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        begun: float = 0.0,
    ) -> None:
        self._name = name
        self._total = total
        self._callback = callback
        self._stream = stream or sys.stderr
        self._bar = self._stream.isatty()
        self._clock = clock
        self._start = clock()
        self._shown = self._start
        self._done = 0
        self._begun = begun
        self._part: float | None = None
        self._any = False
        self._lock = threading.Lock()

    def begin(self, share: float) -> None:
        """Notes the share that was done before."""
        self._begun = share

    def add(self, amount: int, part: float | None = None) -> None:
        """Counts what has been done since. `part` is the share of all that is done, where bytes do not tell it."""
        with self._lock:
            self._done += amount
            # What comes out of order does not set it back.
            self._part = part if part is None else max(part, self._part or 0.0)
            now = self._clock()
            interval = _BAR_INTERVAL_S if self._bar or self._callback else _LINE_INTERVAL_S
            if now - self._start < _QUIET_S or (self._any and now - self._shown < interval):
                return
            self._any, self._shown = True, now
            step = self._step(now)
        self._show(step)

    def _step(self, now: float, finished: bool = False) -> Step:
        return Step(self._name, self._done, self._total, now - self._start, finished, self._part, self._begun)

    def _show(self, step: Step) -> None:
        if self._callback is not None:
            self._callback(step)
        elif self._bar:
            filled = int(_BAR_WIDTH * (step.share or 0))
            bar = "" if step.share is None else f"[{'#' * min(filled, _BAR_WIDTH):<{_BAR_WIDTH}}] "
            self._stream.write(f"\r\x1b[K{bar}{step.text()}" + ("\n" if step.finished else ""))
            self._stream.flush()
        elif is_heard("core"):
            logger("core").info(step.text())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._any or self._callback is not None:
            self._show(self._step(self._clock(), finished=True))
