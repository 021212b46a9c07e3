"""An index of documents in a local folder: sorted columns in segments, which are merged as they become many."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

import numpy as np
import numpy.typing as npt

from mithril.core.errors import ConfigError, DamagedError, InputError, NotFoundError
from mithril.dedup.checked_values import CheckedValues, Values, checksum, open_checked, write_checked
from mithril.dedup.chunks import Integers
from mithril.dedup.index import SKETCH_BYTES, Bytes, DocumentIndex, Entries, IndexShape, IndexStatistics

_SHAPE, _SEGMENTS, _LOCK = "index.json", "segments.json", "lock"
_SKETCHES = "sketches"
# Documents in memory beyond which they are written.
_PENDING_MAX = 200_000
_TEXT = "S16"
_SEGMENT_NAME = re.compile(r"\d{12}-\d{1,10}")


@dataclass(frozen=True, slots=True)
class _Column:
    """Keys in order, each once, and the document that holds each."""

    keys: Values
    documents: Values

    def holders(self, keys: Values) -> Integers:
        """The holders of keys; -1 for none."""
        if not len(self.keys):
            return np.full(len(keys), -1, np.int64)
        places = np.searchsorted(self.keys, keys)
        places[places == len(self.keys)] = 0
        return np.where(self.keys[places] == keys, self.documents[places].astype(np.int64), -1)

    def whole(self) -> Self:
        """The column in memory."""
        return self


@dataclass(frozen=True, slots=True)
class _StoredColumn:
    """The same in files."""

    keys: CheckedValues
    documents: CheckedValues

    def holders(self, keys: Values) -> Integers:
        """The holders of keys; -1 for none."""
        places = self.keys.places(keys)
        there = np.flatnonzero(places >= 0)
        places[there] = self.documents.at(places[there]).astype(np.int64)
        return places

    def whole(self) -> _Column:
        """The column in memory."""
        return _Column(self.keys.whole(), self.documents.whole())


@dataclass(slots=True)
class _Segment:
    """Documents from `first` on."""

    first: int
    documents: int
    columns: Sequence[_Column | _StoredColumn]
    sketches: Bytes | CheckedValues
    folder: Path | None = None

    def sketches_at(self, places: Integers) -> Bytes:
        """The sketches of some documents."""
        if isinstance(self.sketches, CheckedValues):
            return self.sketches.at(places).view(np.uint8).reshape(-1, SKETCH_BYTES)
        return self.sketches[places]

    def all_sketches(self) -> Bytes:
        """The sketches of all documents."""
        if isinstance(self.sketches, CheckedValues):
            return self.sketches.whole().view(np.uint8).reshape(-1, SKETCH_BYTES)
        return self.sketches


class FolderIndex(DocumentIndex):
    """An index in a folder. One process at a time adds to it."""

    def __init__(self, folder: str, shape: IndexShape, create: bool) -> None:
        self._folder = Path(folder)
        if not (self._folder / _SHAPE).exists():
            if not create:
                raise NotFoundError("there is no index of documents", str(self._folder))
            self._begin(shape)
        shape_text = _read(self._folder / _SHAPE, "shape")
        super().__init__(str(folder), IndexShape.from_json(shape_text, str(folder)))
        self._lock: IO[bytes] | None = None
        self._closed = False
        self._segments = [self._opened(name) for name in self._names()]
        self._pending: list[_Segment] = []

    def statistics(self) -> IndexStatistics:
        """Facts about the index."""
        size = sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
        return IndexStatistics(self.url, self._next(), size, self.shape)

    def close(self) -> None:
        """Writes what was added."""
        self.flush()
        self._closed = True
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
        _replace(self._folder / _SEGMENTS, "segments", names)
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
            found[inside] = segment.sketches_at(documents[inside] - segment.first)
        return found

    def _next(self) -> int:
        last = (*self._segments, *self._pending)[-1:]
        return last[0].first + last[0].documents if last else 0

    def _begin(self, shape: IndexShape) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if any(self._folder.iterdir()):
            raise ConfigError(f"{self._folder}: this folder has other files; name an empty one for an index")
        _replace(self._folder / _SEGMENTS, "segments", [])
        _replace(self._folder / _SHAPE, "shape", json.loads(shape.to_json()))

    def _become_writer(self) -> None:
        if self._closed:
            raise InputError(f"{self._folder}: this index is closed; open it again to add to it")
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
        names = json.loads(_read(self._folder / _SEGMENTS, "segments"))
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
        files: dict[str, Values] = {}
        for index, column in enumerate(segment.columns):
            whole = column.whole()
            files |= {f"{index}.keys": whole.keys, f"{index}.documents": whole.documents}
        files[_SKETCHES] = segment.all_sketches()
        write_checked(temporary, files, self._ordered())
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._folder / name)
        temporary.replace(self._folder / name)
        return self._opened(name)

    def _opened(self, name: str) -> _Segment:
        folder = self._folder / name
        kinds: dict[str, npt.DTypeLike] = {}
        for index in range(1 + self.shape.bands):
            kinds |= {f"{index}.keys": np.uint64 if index else _TEXT, f"{index}.documents": np.uint64}
        kinds[_SKETCHES] = f"V{SKETCH_BYTES}"
        try:
            first, documents = (int(part) for part in name.split("-"))
            *pairs, sketches = open_checked(folder, kinds, self._ordered())
        except (OSError, ValueError, struct.error) as error:
            raise DamagedError(f"the segment cannot be read: {error}", str(folder)) from None
        columns = [_StoredColumn(keys, held) for keys, held in zip(pairs[::2], pairs[1::2], strict=True)]
        if len(sketches) != documents or any(len(column.keys) != len(column.documents) for column in columns):
            raise DamagedError("the segment does not have the length that its name says", str(folder))
        return _Segment(first, documents, columns, sketches, folder)

    def _ordered(self) -> frozenset[str]:
        """The files whose values are in order."""
        return frozenset(f"{index}.keys" for index in range(1 + self.shape.bands))


def _keys(entries: Entries) -> "list[tuple[Values, npt.NDArray[np.bool_]]]":
    """The keys of each column, and which of them count."""
    texts = np.ascontiguousarray(entries.hashes).view(_TEXT).reshape(-1)
    return [(texts, entries.compared), *((band, entries.signed) for band in entries.bands.T)]


def _merged(segments: list[_Segment]) -> _Segment:
    """One segment of several that follow each other."""
    columns = []
    for index in range(len(segments[0].columns)):
        parts = [segment.columns[index].whole() for segment in segments]
        keys = np.concatenate([part.keys for part in parts])
        documents = np.concatenate([part.documents for part in parts])
        order = np.argsort(keys, kind="stable")
        columns.append(_Column(keys[order], documents[order]))
    sketches = np.concatenate([segment.all_sketches() for segment in segments])
    return _Segment(segments[0].first, sum(segment.documents for segment in segments), columns, sketches)


def _text(name: str, content: object) -> bytes:
    return json.dumps({name: content}, sort_keys=True).encode()


def _read(path: Path, name: str) -> bytes:
    """The JSON of what `_replace` wrote."""
    try:
        found = json.loads(path.read_bytes())
        content, check = found[name], found["check"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f"the {name} of the index cannot be read: {error!r}", str(path)) from None
    if check != checksum(_text(name, content)).hex():
        raise DamagedError(f"the {name} of the index: not what was written; make the index again", str(path))
    return json.dumps(content).encode()


def _replace(path: Path, name: str, content: object) -> None:
    """Writes content under a name, with its checksum."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("wb") as file:
        file.write(json.dumps({name: content, "check": checksum(_text(name, content)).hex()}).encode())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
