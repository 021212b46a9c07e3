"""Documents in Arrow files, by record batches."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from mithril.core.errors import InputError
from mithril.core.store import ObjectInfo, Store
from mithril.dedup.arrow_file import open_version
from mithril.dedup.chunks import Chunk, ChunkWriter, FileSource, Verdicts
from mithril.dedup.sink import SinkFile
from mithril.dedup.table import check_columns, check_free, chunk_of, judged, marked_schema

_MAGIC = b"ARROW1"
_EXPANSION = 3


class ArrowFileSource(FileSource):
    """A file in Arrow's file form or stream form, whichever it is, as `datasets` and Feather write them."""

    def __init__(self, store: Store, info: ObjectInfo, compression: str | None) -> None:
        self.name = store.url_of(info.key)
        self._store = store
        self._info = info
        self._compression = compression
        try:
            with open_version(self._store, self._info) as file:
                self._is_file = file.read(len(_MAGIC)) == _MAGIC
                file.seek(0)
                reader = pa.ipc.open_file(file) if self._is_file else pa.ipc.open_stream(file)
                self._schema = reader.schema
                self._batches = reader.num_record_batches if self._is_file else 0
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{self.name}: this is no Arrow file that can be read: {error}") from error

    def size_in_memory(self) -> int:
        """Estimated bytes in memory."""
        return self._info.size * _EXPANSION

    def chunk_bytes(self) -> int:
        """Estimated bytes of the largest chunk in memory."""
        return self.size_in_memory() // max(self._batches, 1)

    def chunks(self, column: str, whole: bool, score: str = "") -> Iterator[Callable[[], Chunk]]:
        """The readers of the chunks."""
        check_columns(self._schema.names, self.name, column, score)
        if self._is_file:
            for index in range(self._batches):
                yield partial(self._read, index, column, score, whole)
            return
        with open_version(self._store, self._info) as file, pa.ipc.open_stream(file) as reader:
            index = 0
            while (batch := self._next(reader, index)) is not None:
                yield partial(self._chunk, batch, column, score, whole)
                index += 1

    def check_marks(self) -> None:
        """Raises InputError where a column has the name of a mark."""
        check_free(self._schema.names, self.name)

    def open_writer(self, target: SinkFile, column: str, marked: bool, repeats: bool) -> ChunkWriter:
        """A writer of the same form."""
        schema = marked_schema(self._schema, repeats) if marked else self._schema
        options = pa.ipc.IpcWriteOptions(compression=self._compression)
        file = pa.PythonFile(target, mode="w")
        opened = pa.ipc.new_file if self._is_file else pa.ipc.new_stream
        return _ArrowWriter(opened(file, schema, options=options), column)

    def _read(self, index: int, column: str, score: str, whole: bool) -> Chunk:
        try:
            with open_version(self._store, self._info) as file:
                batch = pa.ipc.open_file(file).get_batch(index)
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(index, error) from error
        return self._chunk(batch, column, score, whole)

    def _next(self, reader: Any, index: int) -> Any:
        try:
            return reader.read_next_batch()
        except StopIteration:
            return None
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(index, error) from error

    def _chunk(self, batch: Any, column: str, score: str, whole: bool) -> Chunk:
        table = pa.Table.from_batches([batch])
        chunk = chunk_of(table, column, score, self.name, table.nbytes, whole=whole)
        return replace(chunk, part=self.chunk_bytes() if self._is_file else table.nbytes)

    def _damaged(self, index: int, error: Exception) -> InputError:
        return InputError(f"{self.name}: record batch {index} cannot be read: {error}")


class _ArrowWriter(ChunkWriter):
    def __init__(self, writer: Any, column: str) -> None:
        self._writer = writer
        self._column = column

    def write(self, chunk: Chunk, verdicts: Verdicts) -> None:
        table = judged(chunk.content, self._column, verdicts)
        if table.num_rows:
            self._writer.write_table(table)

    def close(self) -> None:
        self._writer.close()
