"""Sources of lines that are read from the beginning: files that may be compressed."""

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import zstandard

from mithril.pipeline.errors import SourceError
from mithril.pipeline.sources.files import File, find
from mithril.pipeline.sources.text import GZIP, LINE_BYTES_MAX, ZSTD
from mithril.pipeline.stages import Source

_LINES = 256
_COMPRESSIONS = ("", ".gz", ".zst")


class StreamedTextSource(Source):
    """A source of the lines of UTF-8 files, plain or compressed (gzip, zstd, by their first bytes)."""

    suffixes: tuple[str, ...] = (".txt", ".text")

    def __init__(self, urls: str | Path | Iterable[str | Path]) -> None:
        self._files = find(urls, tuple(suffix + end for suffix in self.suffixes for end in _COMPRESSIONS))
        self._place = self._files[0].url
        self._values: Iterator[Any] = iter(())

    def reset(self, epoch: int) -> None:
        """Opens the first file."""
        self._values = self._read()

    def next_batch(self) -> Sequence[Any] | None:
        """The next lines."""
        return list(islice(self._values, _LINES)) or None

    def place(self) -> str:
        """The file."""
        return self._place

    def _read(self) -> Iterator[Any]:
        for file in self._files:
            self._place = file.url
            with _opened(file) as stream:
                number = 0
                try:
                    while line := stream.readline(LINE_BYTES_MAX + 1):
                        number += 1
                        if len(line) > LINE_BYTES_MAX:
                            raise SourceError(f"{file.url}, line {number}: is longer than {LINE_BYTES_MAX} bytes")
                        yield from self._parsed(line)
                except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
                    raise SourceError(f"{file.url}: cannot be decompressed behind line {number}: {error}") from None
                except ValueError as error:
                    raise SourceError(f"{file.url}, line {number}: {error}") from None

    def _parsed(self, line: bytes) -> Sequence[Any]:
        return (line.rstrip(b"\r\n").decode(),)


class StreamedJsonlSource(StreamedTextSource):
    """A source of JSON values, one in each line, of files that may be compressed; empty lines are left out."""

    suffixes = (".jsonl", ".ndjson", ".json")

    def _parsed(self, line: bytes) -> Sequence[Any]:
        return (json.loads(line),) if line.strip() else ()


def _opened(file: File) -> IO[bytes]:
    beginning = file.range(0, len(ZSTD))
    raw = io.BufferedReader(file.open(), 1 << 20)
    if beginning.startswith(GZIP):
        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]
    if beginning == ZSTD:
        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True), 1 << 20)
    return raw
