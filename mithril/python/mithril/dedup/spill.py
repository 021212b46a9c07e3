"""Columns of values in temporary files: what is known of each document does not stay in memory."""

import mmap
import os
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
import numpy.typing as npt

from mithril.core.errors import DamagedError


class Spill:
    """Columns by name, gone when it is closed, and with the process; those in a folder `kept` stay."""

    def __init__(self, folder: str, kept: Path | None = None) -> None:
        self._folder = folder or None
        self._kept = kept
        self._files: dict[str, IO[bytes]] = {}
        self._ends: dict[str, int] = {}
        self._lock = threading.Lock()
        if kept is not None:
            kept.mkdir(exist_ok=True)
            for path in kept.iterdir():
                self._files[path.name] = path.open("r+b", buffering=0)
                self._ends[path.name] = path.stat().st_size

    @property
    def is_kept(self) -> bool:
        """True where the columns stay when the process ends."""
        return self._kept is not None

    def size(self, name: str) -> int:
        """The bytes of a column."""
        return self._ends.get(name, 0)

    def truncate(self, name: str, size: int) -> None:
        """Drops what a column has beyond so many bytes. Raises DamagedError where it has fewer."""
        if self.size(name) < size:
            raise DamagedError(
                f"the column {name} has {self.size(name)} bytes where {size} were written; start again", str(self._kept)
            )
        if name in self._files:
            self._files[name].truncate(size)
            self._ends[name] = size

    def append(self, name: str, values: bytes | memoryview) -> int:
        """Appends the bytes of values to a column, and gives the position of the first. Several threads may append."""
        view = memoryview(values).cast("B") if len(values) else memoryview(b"")
        with self._lock:
            start = self._ends.get(name, 0)
            if view and name not in self._files:
                # Without a name in the folder: nothing is left behind, however the process ends.
                self._files[name] = self._created(name)
            self._ends[name] = start + len(view)
        at = start
        while view:
            written = os.pwrite(self._files[name].fileno(), view, at)
            at, view = at + written, view[written:]
        return start

    def _created(self, name: str) -> IO[bytes]:
        if self._kept is not None:
            return (self._kept / name).open("w+b", buffering=0)
        return tempfile.TemporaryFile(dir=self._folder, buffering=0)

    def part(self, name: str, start: int, size: int) -> bytes:
        """Some bytes of a column."""
        parts = []
        while size > 0:
            part = os.pread(self._files[name].fileno(), size, start)
            if not part:
                raise DamagedError(f"the column {name} ends at {start}; start again", str(self._kept))
            parts.append(part)
            start, size = start + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read(self, name: str, kind: npt.DTypeLike) -> npt.NDArray[np.generic]:
        """All values of a column."""
        if name not in self._files:
            return np.zeros(0, kind)
        return np.frombuffer(self.part(name, 0, self.size(name)), kind)

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
