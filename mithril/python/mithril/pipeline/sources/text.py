"""Sources of lines: text, JSON and CSV."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from mithril.pipeline.errors import SourceError
from mithril.pipeline.sources.files import File, find
from mithril.pipeline.stages import IndexedSource, Source

_CHUNK_BYTES = 1 << 20
_TAIL_BYTES = 64 << 10
LINE_BYTES_MAX = 64 << 20
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
"""The first bytes of compressed files."""
_ROWS = 256


class TextSource(IndexedSource):
    """A source of the lines of UTF-8 files, without line ends. A chunk has the lines that begin in a range of bytes."""

    suffixes: tuple[str, ...] = (".txt", ".text")

    def __init__(self, urls: str | Path | Iterable[str | Path], *, chunk_bytes: int = _CHUNK_BYTES) -> None:
        if chunk_bytes < 1:
            raise SourceError(f"chunk_bytes is at least 1, not {chunk_bytes}")
        self._files = find(urls, self.suffixes)
        self._chunk_bytes = chunk_bytes
        self._chunks = [(file, start) for file in self._files for start in range(0, file.size, chunk_bytes)]
        for file in self._files:
            beginning = file.range(0, len(ZSTD))
            if beginning.startswith(GZIP) or beginning == ZSTD:
                raise SourceError(f"{file.url}: is compressed; use StreamedTextSource or StreamedJsonlSource")

    def __len__(self) -> int:
        """The number of chunks."""
        return len(self._chunks)

    def read(self, index: int) -> list[Any]:
        """The lines that begin in a range."""
        file, start = self._chunks[index]
        offset, data = _lines(file, start, self._chunk_bytes)
        samples: list[Any] = []
        for line in io.BytesIO(data):
            try:
                samples.extend(self._parsed(line))
            except ValueError as error:
                raise SourceError(f"{file.url}: the line at byte {offset}: {error}") from None
            offset += len(line)
        return samples

    def _parsed(self, line: bytes) -> Sequence[Any]:
        return (line.rstrip(b"\r\n").decode(),)

    def place(self, index: int) -> str:
        """Names the file and the byte."""
        file, start = self._chunks[index]
        return f"{file.url} from byte {start}"

    def bytes_hint(self, index: int) -> int:
        """The bytes of the range, as text in memory."""
        file, start = self._chunks[index]
        return 2 * min(self._chunk_bytes, file.size - start)


class JsonlSource(TextSource):
    """A source of JSON values, one in each line; empty lines are left out."""

    suffixes = (".jsonl", ".ndjson", ".json")

    def _parsed(self, line: bytes) -> Sequence[Any]:
        return (json.loads(line),) if line.strip() else ()


def _lines(file: File, start: int, length: int) -> tuple[int, bytes]:
    """The lines that begin in a range, and where the first of them does."""
    first = max(start - 1, 0)
    data = file.range(first, start - first + length)
    if start:
        end = data.find(b"\n") + 1
        if not end:
            return start, b""
        data, first = data[end:], first + end
    if not data:
        return first, b""
    parts, at, total = [data], first + len(data), len(data)
    while not parts[-1].endswith(b"\n"):
        more = file.range(at, min(_TAIL_BYTES, file.size - at))
        if not more:
            break
        cut = more.find(b"\n") + 1
        parts.append(more[:cut] if cut else more)
        at, total = at + len(more), total + len(parts[-1])
        if total > length + LINE_BYTES_MAX:
            raise SourceError(f"{file.url}: a line after byte {first} is longer than {LINE_BYTES_MAX} bytes")
        if cut:
            break
    return first, b"".join(parts)


class CsvSource(Source):
    """A source of the rows of CSV files with a header, as dictionaries of strings. Fields may hold line breaks.

    Without a `delimiter`, it is a tab in files that end in .tsv, and a comma in all others.
    """

    def __init__(self, urls: str | Path | Iterable[str | Path], *, delimiter: str | None = None) -> None:
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
            raise SourceError(f"a delimiter is one character, not {delimiter!r}")
        self._files = find(urls, (".csv", ".tsv"))
        self._delimiter = delimiter
        self._rows: Iterator[dict[str, str]] = iter(())
        self._place = self._files[0].url

    def reset(self, epoch: int) -> None:
        """Opens the first file."""
        self._rows = self._read()

    def next_batch(self) -> Sequence[dict[str, str]] | None:
        """The next rows."""
        return list(islice(self._rows, _ROWS)) or None

    def place(self) -> str:
        """The file."""
        return self._place

    def _read(self) -> Iterator[dict[str, str]]:
        # One limit for the whole process, which is far below what texts are like.
        csv.field_size_limit(max(csv.field_size_limit(), LINE_BYTES_MAX))
        for file in self._files:
            self._place = file.url
            delimiter = self._delimiter or ("\t" if file.key.lower().endswith(".tsv") else ",")
            with io.TextIOWrapper(io.BufferedReader(file.open()), encoding="utf-8-sig", newline="") as text:
                rows = csv.reader(text, delimiter=delimiter, strict=True)
                try:
                    yield from self._dictionaries(file, rows)
                except (csv.Error, UnicodeDecodeError) as error:
                    raise SourceError(f"{file.url}, line {rows.line_num}: {error}") from None

    def _dictionaries(self, file: File, rows: Any) -> Iterator[dict[str, str]]:
        header = next(rows, None)
        if header is None:
            return
        if len(set(header)) < len(header):
            raise SourceError(f"{file.url}: the header has a name more than once: {', '.join(header)}")
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise SourceError(
                    f"{file.url}, line {rows.line_num}: {len(row)} fields, where the header has {len(header)}"
                )
            yield dict(zip(header, row, strict=True))
