"""Columns of values in temporary files: what is known of each document does not stay in memory."""

import mmap
import tempfile
from types import TracebackType
from typing import IO, Self

import numpy as np
import numpy.typing as npt


class Spill:
    """Columns by name, gone when it is closed, and with the process."""

    def __init__(self, folder: str) -> None:
        self._folder = folder or None
        self._files: dict[str, IO[bytes]] = {}

    def append(self, name: str, values: bytes | memoryview) -> None:
        """Appends the bytes of values to a column."""
        if not len(values):
            return
        if name not in self._files:
            # Without a name in the folder: nothing is left behind, however the process ends.
            self._files[name] = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115
        file = self._files[name]
        view = memoryview(values).cast("B")
        while view:
            view = view[file.write(view) :]

    def read(self, name: str, kind: npt.DTypeLike) -> npt.NDArray[np.generic]:
        """All values of a column."""
        if name not in self._files:
            return np.zeros(0, kind)
        self._files[name].seek(0)
        return np.fromfile(self._files[name], kind)

    def map(self, name: str) -> mmap.mmap | None:
        """The bytes of a column, mapped; None for an empty one."""
        if name not in self._files or not self._files[name].tell():
            return None
        return mmap.mmap(self._files[name].fileno(), 0, access=mmap.ACCESS_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
