"""Documents in Parquet files, by row groups."""

import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mithril.core.errors import ChangedError, InputError
from mithril.core.file_store import FileStore
from mithril.core.store import ObjectInfo, Store
from mithril.dedup.chunks import Booleans, Chunk, ChunkWriter, FileSource, Marks
from mithril.dedup.sink import SinkFile
from mithril.dedup.table import check_free, filtered, marked, texts_of

_BUFFER_BYTES = 1 << 20


class ParquetSource(FileSource):
    """A Parquet file of a store."""

    def __init__(self, store: Store, info: ObjectInfo) -> None:
        self.name = store.url_of(info.key)
        self._store = store
        self._info = info
        try:
            with pq.ParquetFile(self._open()) as file:
                self._metadata = file.metadata
                self._schema = file.schema_arrow
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{self.name}: this is no Parquet file that can be read: {error}") from error

    def size_in_memory(self) -> int:
        """Estimated bytes in memory."""
        return sum(self._metadata.row_group(index).total_byte_size for index in range(self._metadata.num_row_groups))

    def chunks(self, column: str, whole: bool) -> Iterator[Callable[[], Chunk]]:
        """The readers of the chunks."""
        if column not in self._schema.names:
            raise InputError(f"{self.name}: there is no column {column!r}; there are {', '.join(self._schema.names)}")
        for index in range(self._metadata.num_row_groups):
            yield partial(self._read, index, column, whole)

    def check_marks(self) -> None:
        """Raises InputError where a column has the name of a mark."""
        check_free(self._schema.names, self.name)

    def open_writer(self, target: SinkFile, marked: bool) -> ChunkWriter:
        """A writer of the same form."""
        return _ParquetWriter(target, self._schema, self._compression(), marked)

    def _read(self, index: int, column: str, whole: bool) -> Chunk:
        try:
            with pq.ParquetFile(self._open(), metadata=self._metadata) as file:
                table = file.read_row_group(index, columns=None if whole else [column], use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{self.name}: row group {index} cannot be read: {error}") from error
        texts = texts_of(table.column(column), f"{self.name}: column {column!r}")
        return Chunk(texts, table if whole else None, table.nbytes)

    def _open(self) -> Any:
        if isinstance(self._store, FileStore):
            if self._store.head(self._info.key).version != self._info.version:
                raise self._changed()
            return pa.OSFile(str(self._store.path_of(self._info.key)))
        reader = self._store.open_reader(self._info.key)
        if reader.info.version != self._info.version:
            raise self._changed()
        return pa.PythonFile(io.BufferedReader(reader, _BUFFER_BYTES), mode="r")

    def _changed(self) -> ChangedError:
        return ChangedError("the file has changed since it was first read; start again", self.name)

    def _compression(self) -> dict[str, str]:
        """The compression of each column, as the first row group has it."""
        if not self._metadata.num_row_groups:
            return {}
        group = self._metadata.row_group(0)
        columns = [group.column(index) for index in range(group.num_columns)]
        return {column.path_in_schema: _COMPRESSIONS.get(column.compression, "zstd") for column in columns}


_COMPRESSIONS = {"UNCOMPRESSED": "none", "SNAPPY": "snappy", "GZIP": "gzip", "BROTLI": "brotli", "LZ4": "lz4"}


class _ParquetWriter(ChunkWriter):
    def __init__(self, target: SinkFile, schema: pa.Schema, compression: dict[str, str], with_marks: bool) -> None:
        if with_marks:
            schema = marked(schema.empty_table(), None).schema
        # Texts hardly repeat when duplicates are gone: a dictionary of them is built for nothing.
        dictionary = [
            name
            for name, kind in zip(schema.names, schema.types, strict=True)
            if not (_is_text(kind) or pa.types.is_nested(kind))
        ]
        self._file = pq.ParquetWriter(
            pa.PythonFile(target, mode="w"),
            schema,
            compression=compression or "zstd",
            use_dictionary=dictionary or False,
        )

    def write(self, chunk: Chunk, kept: Booleans, marks: Marks | None) -> None:
        table: pa.Table = chunk.content
        table = filtered(table, kept) if marks is None else marked(table, marks)
        if table.num_rows:
            self._file.write_table(table, row_group_size=table.num_rows)

    def close(self) -> None:
        self._file.close()


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_string(kind) or pa.types.is_string(kind) or pa.types.is_binary(kind))
