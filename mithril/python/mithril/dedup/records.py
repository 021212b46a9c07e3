"""Records of files of lines, which stay as they are, byte for byte."""

import abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from mithril.core.errors import InputError
from mithril.core.store import ObjectInfo, Store
from mithril.dedup.arrow_file import open_version
from mithril.dedup.chunks import Booleans, Chunk, ChunkWriter, FileSource, Integers, Marks, Verdicts
from mithril.dedup.sink import SinkFile

RECORD_BYTES_MAX = 1 << 30
NEWLINE = 10
_EXPANSION = 5


@dataclass(frozen=True, slots=True)
class Records:
    """A block of records, each ended by a line feed; those without content are left out."""

    block: bytes
    starts: Integers
    ends: Integers

    def __len__(self) -> int:
        return len(self.starts)

    def record(self, index: int) -> bytes:
        """A record without its line feed."""
        return self.block[self.starts[index] : self.ends[index]]

    def kept(self, kept: Booleans) -> bytes:
        """The records that are kept, each with its line feed."""
        block = self.block if self.block.endswith(b"\n") else self.block + b"\n"
        steps = np.zeros(len(block) + 1, np.int8)
        steps[self.starts[kept]] += 1
        steps[self.ends[kept] + 1] -= 1
        return np.frombuffer(block, np.uint8)[np.cumsum(steps[:-1], dtype=np.int8).astype(np.bool_)].tobytes()


def cut(block: bytes, newlines: Integers) -> Records:
    """The records of a block, by the places of the line feeds that end one."""
    ends = newlines
    if block and block[-1] != NEWLINE:
        ends = np.append(ends, len(block))
    starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    sizes = ends - starts
    blank = sizes == 0
    short = np.flatnonzero(sizes == 1)
    # The carriage return of an empty line.
    blank[short] = np.frombuffer(block, np.uint8)[starts[short]] == ord("\r")
    return Records(block, starts[~blank], ends[~blank])


class RecordsSource(FileSource):
    """A file of records of a store. `compression` is gzip, zstd or None."""

    def __init__(self, store: Store, info: ObjectInfo, compression: str | None, block_bytes: int) -> None:
        self.name = store.url_of(info.key)
        self._store = store
        self._info = info
        self._compression = compression
        self._block_bytes = block_bytes

    def size_in_memory(self) -> int:
        """Estimated bytes in memory."""
        return self._info.size * (_EXPANSION if self._compression else 1)

    def chunk_bytes(self) -> int:
        """Estimated bytes of the largest chunk in memory."""
        return min(2 * self._block_bytes, self.size_in_memory())

    def chunks(self, column: str, whole: bool, score: str = "") -> Iterator[Callable[[], Chunk]]:
        """The readers of the chunks."""
        line, first = 1, True
        for block in self._blocks():
            records = self._without_header(block, column, score) if first else block
            first, line = False, line + block.count(b"\n")
            yield partial(self._read, records, line - records.count(b"\n"), column, score, whole)

    @abc.abstractmethod
    def _complete(self, data: bytes) -> int:
        """The number of bytes of whole records at the beginning of the data."""

    def _without_header(self, block: bytes, column: str, score: str) -> bytes:
        """The first block of a file, without what stands before its records."""
        return block

    @abc.abstractmethod
    def _read(self, block: bytes, first: int, column: str, score: str, whole: bool) -> Chunk: ...

    def _blocks(self) -> Iterator[bytes]:
        with open_version(self._store, self._info) as file:
            stream = file if self._compression is None else pa.CompressedInputStream(file, self._compression)
            rest, more = b"", self._block_bytes
            while part := self._part(stream, more):
                rest += part
                end = self._complete(rest)
                if end:
                    yield rest[:end]
                    rest, more = rest[end:], self._block_bytes
                else:
                    # As much again as there is: a long record is not searched through too often.
                    more = max(self._block_bytes, len(rest))
                if len(rest) > RECORD_BYTES_MAX:
                    raise InputError(f"{self.name}: a record has more than {RECORD_BYTES_MAX} bytes; {self._doubt}")
            if rest:
                yield rest

    _doubt = "is this a file of lines?"

    def _part(self, stream: Any, size: int) -> bytes:
        try:
            return bytes(stream.read(size))
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{self.name}: the file cannot be decompressed: {error}") from error


class RecordsWriter(ChunkWriter):
    """A writer of records. `column` holds the text."""

    def __init__(self, target: SinkFile, compression: str | None, name: str, column: str) -> None:
        self._name = name
        self._column = column
        file = pa.PythonFile(target, mode="w")
        self._file = file if compression is None else pa.CompressedOutputStream(file, compression)

    def write(self, chunk: Chunk, verdicts: Verdicts) -> None:
        """Writes the records that are kept; with marks, all."""
        records: Records = chunk.content
        if verdicts.marks is not None:
            marks = verdicts.marks
            self._file.write(b"".join(self._marked(records.record(index), marks, index) for index in range(chunk.rows)))
        elif verdicts.texts is not None and verdicts.changed.any():
            self._file.write(self._rewritten(records, verdicts))
        else:
            self._file.write(records.kept(verdicts.kept))

    def close(self) -> None:
        """Writes what ends the file."""
        self._file.close()

    def _rewritten(self, records: Records, verdicts: Verdicts) -> bytes:
        parts = []
        for place, index in enumerate(np.flatnonzero(verdicts.kept)):
            record = records.record(int(index))
            if verdicts.changed[place]:
                text = verdicts.texts[place].as_buffer().to_pybytes().decode("utf-8", "replace")
                record = self._replaced(record, text)
            parts.append(record + b"\n")
        return b"".join(parts)

    @abc.abstractmethod
    def _marked(self, record: bytes, marks: Marks, index: int) -> bytes: ...

    @abc.abstractmethod
    def _replaced(self, record: bytes, text: str) -> bytes: ...
