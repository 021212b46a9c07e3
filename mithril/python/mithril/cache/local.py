"""The artifacts of this machine: a folder that several processes use at once.

The file of an artifact is named by its key and holds the key, so the folder is its own index.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mithril.core.config import CoreSettings
from mithril.core.errors import NotFoundError, StoreError
from mithril.core.file_store import FileStore

OBJECTS = "objects"
DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Found:
    """A stored artifact: its place, size and last use."""

    path: str
    size: int
    used: float


class LocalArtifacts:
    """Artifacts under `objects` in a folder; those that do not decode are moved to `damaged`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # What a power cut destroys is compiled again; waiting for the disk at each artifact costs more.
        self._store = FileStore(str(root / OBJECTS), CoreSettings(fsync=False))

    def get(self, path: str) -> bytes | None:
        """The stored form, and marks it as used now."""
        try:
            data = self._store.get(path)
        except NotFoundError:
            return None
        with contextlib.suppress(OSError):
            os.utime(self._store.path_of(path))
        return data

    def put(self, path: str, data: bytes) -> None:
        """Writes the stored form, whole or not at all."""
        self._store.put(path, data)

    def has(self, path: str) -> bool:
        """True where there is such an artifact."""
        return self._store.exists(path)

    def set_aside(self, path: str) -> Path:
        """Moves a damaged artifact out of the way, for a look at it."""
        target = self.root / DAMAGED / path.replace("/", "-")
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self._store.path_of(path).replace(target)
        return target

    def delete(self, path: str) -> None:
        """Removes an artifact; one that does not exist is no error."""
        self._store.delete(path)

    def list(self) -> Iterator[Found]:
        """All artifacts, by a scan of the folder."""
        for info in self._store.list():
            yield Found(info.key, info.size, info.modified)

    def collect(self, size_max: int, age_max: float | None = None) -> tuple[int, int]:
        """Removes artifacts unused for `age_max` seconds, then the least recently used ones beyond `size_max` bytes.

        Gives how many went, and their bytes.
        """
        self._store.sweep()
        found = sorted(self.list(), key=lambda one: one.used, reverse=True)
        kept = removed = removed_bytes = 0
        oldest = time.time() - age_max if age_max is not None else float("-inf")
        for one in found:
            if one.used >= oldest and kept + one.size <= size_max:
                kept += one.size
                continue
            with contextlib.suppress(StoreError):
                self.delete(one.path)
                removed += 1
                removed_bytes += one.size
        return removed, removed_bytes
