"""Documents in files of JSON lines, plain or compressed. Lines that are kept stay as they are, byte for byte."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json

from mithril.core.errors import ChangedError, InputError
from mithril.core.store import ObjectInfo, Store
from mithril.dedup.chunks import MARKS, Booleans, Chunk, ChunkWriter, FileSource, Integers, Marks
from mithril.dedup.sink import SinkFile

LINE_BYTES_MAX = 1 << 30
_NEWLINE = 10
_EXPANSION = 5
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class _Lines:
    """A block of lines; those without content are left out."""

    block: bytes
    starts: Integers
    ends: Integers

    def line(self, index: int) -> bytes:
        return self.block[self.starts[index] : self.ends[index]]


class JsonLinesSource(FileSource):
    """A file of JSON lines of a store. `compression` is gzip, zstd or None."""

    def __init__(self, store: Store, info: ObjectInfo, compression: str | None, block_bytes: int) -> None:
        self.name = store.url_of(info.key)
        self._store = store
        self._info = info
        self._compression = compression
        self._block_bytes = block_bytes

    def size_in_memory(self) -> int:
        """Estimated bytes in memory."""
        return self._info.size * (_EXPANSION if self._compression else 1)

    def chunks(self, column: str, whole: bool) -> Iterator[Callable[[], Chunk]]:
        """The readers of the chunks."""
        line = 1
        for block in self._blocks():
            yield partial(self._read, block, line, column, whole)
            line += block.count(b"\n")

    def open_writer(self, target: SinkFile, marked: bool) -> ChunkWriter:
        """A writer of the same form."""
        return _LinesWriter(target, self._compression, self.name)

    def _blocks(self) -> Iterator[bytes]:
        reader = self._store.open_reader(self._info.key)
        if reader.info.version != self._info.version:
            raise ChangedError("the file has changed since it was first read; start again", self.name)
        with pa.PythonFile(io.BufferedReader(reader, 1 << 20), mode="r") as file:
            stream = file if self._compression is None else pa.CompressedInputStream(file, self._compression)
            rest = b""
            while part := self._part(stream):
                cut = part.rfind(b"\n") + 1
                if cut:
                    yield rest + part[:cut]
                    rest = part[cut:]
                else:
                    rest += part
                if len(rest) > LINE_BYTES_MAX:
                    raise InputError(f"{self.name}: a line has more than {LINE_BYTES_MAX} bytes; is this JSON lines?")
            if rest:
                yield rest

    def _part(self, stream: Any) -> bytes:
        try:
            return bytes(stream.read(self._block_bytes))
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{self.name}: the file cannot be decompressed: {error}") from error

    def _read(self, block: bytes, first: int, column: str, whole: bool) -> Chunk:
        lines = _split(block)
        texts = _parsed(block, column) if len(lines.starts) else pa.array([], pa.string())
        if texts is None or len(texts) != len(lines.starts):
            texts, lines = self._parsed_slowly(block, first, column)
        return Chunk(texts, lines if whole else None, len(block) + texts.nbytes)

    def _parsed_slowly(self, block: bytes, first: int, column: str) -> tuple[Any, _Lines]:
        """The texts line by line, which tells what is wrong with which line."""
        texts, starts, ends, at = [], [], [], 0
        for number, line in enumerate(_cut(block), first):
            if line.strip():
                texts.append(self._text(line, number, column))
                starts.append(at)
                ends.append(at + len(line.rstrip(b"\n")))
            at += len(line)
        return pa.array(texts, pa.large_binary()), _Lines(block, np.array(starts, np.int64), np.array(ends, np.int64))

    def _text(self, line: bytes, number: int, column: str) -> bytes | None:
        shown = line[:_SHOWN].decode("utf-8", "replace").rstrip()
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{self.name}: line {number} is not JSON ({error}): {shown}") from None
        if not isinstance(value, dict):
            raise InputError(f"{self.name}: line {number} is no JSON object: {shown}")
        text = value.get(column)
        if text is not None and not isinstance(text, str):
            raise InputError(f"{self.name}: line {number}: the field {column!r} is no string: {shown}")
        return None if text is None else text.encode("utf-8", "replace")


class _LinesWriter(ChunkWriter):
    def __init__(self, target: SinkFile, compression: str | None, name: str) -> None:
        self._name = name
        file = pa.PythonFile(target, mode="w")
        self._file = file if compression is None else pa.CompressedOutputStream(file, compression)

    def write(self, chunk: Chunk, kept: Booleans, marks: Marks | None) -> None:
        lines: _Lines = chunk.content
        if marks is None:
            self._file.write(_kept(lines, kept))
            return
        parts = []
        for index in range(len(lines.starts)):
            duplicate = int(marks.duplicate_of[index])
            values = (int(marks.cluster[index]), bool(marks.kept[index]), None if duplicate < 0 else duplicate)
            parts.append(self._marked(lines.line(index), dict(zip(MARKS, values, strict=True))))
        self._file.write(b"".join(parts))

    def _marked(self, line: bytes, marks: dict[str, object]) -> bytes:
        taken = [name for name in MARKS if name in json.loads(line)] if b"dedup_" in line else []
        if taken:
            raise InputError(f"{self._name}: there is a field {taken[0]} already; remove it, or do without marks")
        head = line.rstrip()[:-1].rstrip()
        comma = b"" if head.endswith(b"{") and len(head.lstrip()) == 1 else b", "
        return head + comma + json.dumps(marks)[1:].encode() + b"\n"

    def close(self) -> None:
        self._file.close()


def _split(block: bytes) -> _Lines:
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == _NEWLINE)
    if block and block[-1] != _NEWLINE:
        ends = np.append(ends, len(block))
    starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    # An empty line, or the carriage return of one.
    blank = ends - starts <= 1
    return _Lines(block, starts[~blank], ends[~blank])


def _cut(block: bytes) -> list[bytes]:
    lines = block.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _parsed(block: bytes, column: str) -> Any:
    """The texts of a block of lines; None where the quick way does not understand it."""
    try:
        table = pyarrow.json.read_json(
            pa.BufferReader(block),
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=pyarrow.json.ParseOptions(
                explicit_schema=pa.schema([(column, pa.string())]), unexpected_field_behavior="ignore"
            ),
        )
    except pa.ArrowException:
        return None
    found = table.column(column)
    return found.chunk(0) if found.num_chunks == 1 else pa.concat_arrays(found.chunks)


def _kept(lines: _Lines, kept: Booleans) -> bytes:
    """The lines that are kept, each with its newline."""
    block = lines.block if lines.block.endswith(b"\n") else lines.block + b"\n"
    steps = np.zeros(len(block) + 1, np.int8)
    steps[lines.starts[kept]] += 1
    steps[lines.ends[kept] + 1] -= 1
    return np.frombuffer(block, np.uint8)[np.cumsum(steps[:-1], dtype=np.int8).astype(np.bool_)].tobytes()
