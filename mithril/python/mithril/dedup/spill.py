"""Columns of values in temporary files: what is known of each document does not stay in memory."""

import mmap
import os
import tempfile
import threading
from types import TracebackType
from typing import IO, Self

import numpy as np
import numpy.typing as npt


class Spill:
    """Columns by name, gone when it is closed, and with the process."""

    def __init__(self, folder: str) -> None:
        self._folder = folder or None
        self._files: dict[str, IO[bytes]] = {}
        self._ends: dict[str, int] = {}
        self._lock = threading.Lock()

    def append(self, name: str, values: bytes | memoryview) -> int:
        """Appends the bytes of values to a column, and gives the position of the first. Several threads may append."""
        view = memoryview(values).cast("B") if len(values) else memoryview(b"")
        with self._lock:
            start = self._ends.get(name, 0)
            if view and name not in self._files:
                # Without a name in the folder: nothing is left behind, however the process ends.
                self._files[name] = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
            self._ends[name] = start + len(view)
        at = start
        while view:
            written = os.pwrite(self._files[name].fileno(), view, at)
            at, view = at + written, view[written:]
        return start

    def read(self, name: str, kind: npt.DTypeLike) -> npt.NDArray[np.generic]:
        """All values of a column."""
        if name not in self._files:
            return np.zeros(0, kind)
        self._files[name].seek(0)
        return np.fromfile(self._files[name], kind)

    def map(self, name: str) -> mmap.mmap | None:
        """The bytes of a column, mapped; None for an empty one."""
        if name not in self._files:
            return None
        return mmap.mmap(self._files[name].fileno(), 0, access=mmap.ACCESS_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
