"""A table of the stages that is drawn again and again while a pipeline runs."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

_INTERVAL_S = 0.5


class LiveTable:
    """A table on a terminal. `with LiveTable(lambda: pipeline.statistics().table(), stream): ...`."""

    def __init__(self, table: Callable[[], str], stream: TextIO, interval_s: float = _INTERVAL_S) -> None:
        self._table = table
        self._stream = stream
        self._interval_s = interval_s
        self._lines = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="mithril-table", daemon=True)

    def draw(self) -> None:
        """Draws the table in the place of the one before."""
        lines = self._table().splitlines()
        up = f"\x1b[{self._lines}F" if self._lines else ""
        self._stream.write(up + "".join(f"\x1b[K{line}\n" for line in lines))
        self._stream.flush()
        self._lines = len(lines)

    def _watch(self) -> None:
        while not self._ended.wait(self._interval_s):
            self.draw()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.draw()
