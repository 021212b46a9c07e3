"""An index of documents in a local folder: sorted columns in segments, which are merged as they become many."""

import contextlib
import fcntl
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from mithril.core.errors import ConfigError, DamagedError, NotFoundError
from mithril.dedup.chunks import Integers
from mithril.dedup.index import SKETCH_BYTES, Bytes, DocumentIndex, Entries, IndexShape, IndexStatistics

_SHAPE, _SEGMENTS, _LOCK = "index.json", "segments.json", "lock"
_SKETCHES = "sketches"
# Documents in memory beyond which they are written.
_PENDING_MAX = 200_000
_TEXT = "V16"
_SEGMENT_NAME = re.compile(r"\d{12}-\d{1,10}")


@dataclass(frozen=True, slots=True)
class _Column:
    """Keys in order, each once, and the document that holds each."""

    keys: npt.NDArray[np.generic]
    documents: npt.NDArray[np.uint64]

    def holders(self, keys: npt.NDArray[np.generic]) -> Integers:
        """The holders of keys; -1 for none."""
        if not len(self.keys):
            return np.full(len(keys), -1, np.int64)
        places = np.searchsorted(self.keys, keys)
        places[places == len(self.keys)] = 0
        return np.where(self.keys[places] == keys, self.documents[places].astype(np.int64), -1)


@dataclass(slots=True)
class _Segment:
    """Documents from `first` on."""

    first: int
    documents: int
    columns: list[_Column]
    sketches: Bytes
    folder: Path | None = None


class FolderIndex(DocumentIndex):
    """An index in a folder. One process at a time adds to it."""

    def __init__(self, folder: str, shape: IndexShape, create: bool) -> None:
        self._folder = Path(folder)
        if not (self._folder / _SHAPE).exists():
            if not create:
                raise NotFoundError("there is no index of documents", str(self._folder))
            self._begin(shape)
        super().__init__(str(folder), IndexShape.from_json((self._folder / _SHAPE).read_bytes(), str(folder)))
        self._lock: IO[bytes] | None = None
        self._segments = [self._opened(name) for name in self._names()]
        self._pending: list[_Segment] = []

    def statistics(self) -> IndexStatistics:
        """Facts about the index."""
        size = sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
        return IndexStatistics(self.url, self._next(), size, self.shape)

    def close(self) -> None:
        """Writes what was added."""
        self.flush()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def flush(self) -> None:
        """Writes what was added since the last time."""
        if not self._pending:
            return
        segments, merged = list(self._segments), _merged(self._pending)
        # A segment is at least twice as large as the next: each document is written again only some times.
        while segments and segments[-1].documents < 2 * merged.documents:
            merged = _merged([segments.pop(), merged])
        segments.append(self._written(merged))
        names = [segment.folder.name for segment in segments if segment.folder is not None]
        _replace(self._folder / _SEGMENTS, json.dumps(names).encode())
        self._segments, self._pending = segments, []
        self._tidy(set(names))

    def _claim(self, entries: Entries) -> tuple[int, Integers]:
        self._become_writer()
        first = self._next()
        holders = self._holders(entries)
        columns = []
        for column, (keys, valid) in enumerate(_keys(entries)):
            rows = np.flatnonzero(valid & (holders[:, column] < 0))
            distinct, places = np.unique(keys[rows], return_index=True)
            held = _Column(distinct, (rows[places] + first).astype(np.uint64))
            columns.append(held)
            holders[rows, column] = held.holders(keys[rows])
        self._pending.append(_Segment(first, len(holders), columns, entries.sketches))
        while len(self._pending) > 1 and self._pending[-2].documents < 2 * self._pending[-1].documents:
            self._pending.append(_merged([self._pending.pop(-2), self._pending.pop()]))
        if sum(segment.documents for segment in self._pending) >= _PENDING_MAX:
            self.flush()
        return first, holders

    def _holders(self, entries: Entries) -> Integers:
        holders = np.full((len(entries.hashes), 1 + self.shape.bands), -1, np.int64)
        for column, (keys, valid) in enumerate(_keys(entries)):
            for segment in (*self._segments, *self._pending):
                rows = np.flatnonzero(valid & (holders[:, column] < 0))
                holders[rows, column] = segment.columns[column].holders(keys[rows])
        return holders

    def _sketches_of(self, documents: Integers) -> Bytes:
        found = np.zeros((len(documents), SKETCH_BYTES), np.uint8)
        for segment in (*self._segments, *self._pending):
            inside = np.flatnonzero((documents >= segment.first) & (documents < segment.first + segment.documents))
            found[inside] = segment.sketches[documents[inside] - segment.first]
        return found

    def _next(self) -> int:
        last = (*self._segments, *self._pending)[-1:]
        return last[0].first + last[0].documents if last else 0

    def _begin(self, shape: IndexShape) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if any(self._folder.iterdir()):
            raise ConfigError(f"{self._folder}: this folder has other files; name an empty one for an index")
        _replace(self._folder / _SEGMENTS, b"[]")
        _replace(self._folder / _SHAPE, shape.to_json())

    def _become_writer(self) -> None:
        if self._lock is not None:
            return
        lock = (self._folder / _LOCK).open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise ConfigError(
                f"{self._folder}: another process adds to this index; wait for it, or keep the index on Yggdrasil"
            ) from None
        self._lock = lock
        # What others have added since this one was opened.
        self._segments = [self._opened(name) for name in self._names()]
        self._tidy(set(self._names()))

    def _names(self) -> list[str]:
        try:
            names = json.loads((self._folder / _SEGMENTS).read_bytes())
        except (OSError, ValueError) as error:
            raise DamagedError(f"{self._folder}: the list of segments cannot be read: {error}") from None
        if not isinstance(names, list) or any(not _SEGMENT_NAME.fullmatch(str(name)) for name in names):
            raise DamagedError(f"{self._folder}: the list of segments names what is no segment")
        return [str(name) for name in names]

    def _tidy(self, names: set[str]) -> None:
        """Removes the segments that belong to no index any more."""
        for path in self._folder.iterdir():
            if path.is_dir() and path.name not in names:
                shutil.rmtree(path)

    def _written(self, segment: _Segment) -> _Segment:
        name = f"{segment.first:012}-{segment.documents}"
        temporary = self._folder / f"{name}.new"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        for index, column in enumerate(segment.columns):
            _write(temporary / f"{index}.keys", column.keys)
            _write(temporary / f"{index}.documents", column.documents)
        _write(temporary / _SKETCHES, segment.sketches)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._folder / name)
        temporary.replace(self._folder / name)
        return self._opened(name)

    def _opened(self, name: str) -> _Segment:
        folder = self._folder / name
        try:
            first, documents = (int(part) for part in name.split("-"))
            columns = [
                _Column(
                    _mapped(folder / f"{index}.keys", np.dtype(np.uint64) if index else np.dtype(_TEXT)),
                    _mapped(folder / f"{index}.documents", np.dtype(np.uint64)).view(np.uint64),
                )
                for index in range(1 + self.shape.bands)
            ]
            sketches = _mapped(folder / _SKETCHES, np.dtype(np.uint8)).view(np.uint8).reshape(-1, SKETCH_BYTES)
        except (OSError, ValueError) as error:
            raise DamagedError(f"{folder}: the segment cannot be read: {error}") from None
        if len(sketches) != documents or any(len(column.keys) != len(column.documents) for column in columns):
            raise DamagedError(f"{folder}: the segment does not have the length that its name says")
        return _Segment(first, documents, columns, sketches, folder)


def _keys(entries: Entries) -> "list[tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]]":
    """The keys of each column, and which of them count."""
    texts = np.ascontiguousarray(entries.hashes).view(_TEXT).reshape(-1)
    return [(texts, entries.compared), *((band, entries.signed) for band in entries.bands.T)]


def _merged(segments: list[_Segment]) -> _Segment:
    """One segment of several that follow each other."""
    columns = []
    for index in range(len(segments[0].columns)):
        keys = np.concatenate([segment.columns[index].keys for segment in segments])
        documents = np.concatenate([segment.columns[index].documents for segment in segments])
        order = np.argsort(keys, kind="stable")
        columns.append(_Column(keys[order], documents[order]))
    sketches = np.concatenate([segment.sketches for segment in segments])
    return _Segment(segments[0].first, sum(segment.documents for segment in segments), columns, sketches)


def _mapped(path: Path, kind: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
    if not path.stat().st_size:
        return np.zeros(0, kind)
    return np.memmap(path, kind, "r")


def _write(path: Path, values: npt.NDArray[np.generic]) -> None:
    with path.open("wb") as file:
        file.write(np.ascontiguousarray(values).view(np.uint8).data)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
