"""Documents in Parquet files, by row groups, or by parts of those that are large against memory."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mithril.core.errors import InputError
from mithril.core.store import ObjectInfo, Store
from mithril.dedup.arrow_file import open_version
from mithril.dedup.chunks import Chunk, ChunkWriter, FileSource, Verdicts
from mithril.dedup.sink import SinkFile
from mithril.dedup.table import check_columns, check_free, chunk_of, judged, marked_schema
from mithril.dedup.texts import is_text

# Pieces that a row group may have and is read as a whole.
_PIECES_WHOLE = 3
_BUFFER_BYTES = 1 << 20
_BATCH_ROWS = 1024
# Names that are no UTF-8 are errors of values.
_ERRORS = (pa.ArrowException, OSError, ValueError)


class ParquetSource(FileSource):
    """A Parquet file of a store."""

    def __init__(self, store: Store, info: ObjectInfo, piece_bytes: int) -> None:
        self.name = store.url_of(info.key)
        self._store = store
        self._info = info
        self._piece_bytes = piece_bytes
        self._has_read = False
        """Some rows have been read with all columns."""
        try:
            with pq.ParquetFile(open_version(self._store, self._info)) as file:
                self._metadata = file.metadata
                self._schema = file.schema_arrow
        except _ERRORS as error:
            raise InputError(f"{self.name}: this is no Parquet file that can be read: {error}") from error
        groups = range(self._metadata.num_row_groups)
        rows = sum(self._metadata.row_group(index).num_rows for index in groups)
        if rows != self._metadata.num_rows:
            raise InputError(f"{self.name}: damaged: {rows} rows in row groups, and {self._metadata.num_rows} in all")

    def size_in_memory(self) -> int:
        """Estimated bytes in memory."""
        return sum(self._metadata.row_group(index).total_byte_size for index in range(self._metadata.num_row_groups))

    def documents_at_least(self) -> int:
        """The number of documents."""
        return int(self._metadata.num_rows)

    def chunk_bytes(self) -> int:
        """Estimated bytes of the largest chunk in memory."""
        groups = (self._metadata.row_group(index) for index in range(self._metadata.num_row_groups))
        largest = max((group.total_byte_size for group in groups), default=0)
        return min(largest, self._piece_bytes * _PIECES_WHOLE)

    def chunks(self, column: str, whole: bool, score: str = "") -> Iterator[Callable[[], Chunk]]:
        """The readers of the chunks."""
        check_columns(self._schema.names, self.name, column, score)
        for index in range(self._metadata.num_row_groups):
            if self._metadata.row_group(index).total_byte_size > self._piece_bytes * _PIECES_WHOLE:
                yield from self._parts(index, column, score, whole)
            else:
                yield partial(self._read, index, column, score, whole)

    def check_marks(self) -> None:
        """Raises InputError where a column has the name of a mark."""
        check_free(self._schema.names, self.name)

    def open_writer(self, target: SinkFile, column: str, marked: bool, repeats: bool) -> ChunkWriter:
        """A writer of the same form."""
        schema = marked_schema(self._schema, repeats) if marked else self._schema
        return _ParquetWriter(target, schema, self._compression, column)

    def _parts(self, index: int, column: str, score: str, whole: bool) -> Iterator[Callable[[], Chunk]]:
        """The parts of a row group, which is read as a stream."""
        group = self._metadata.row_group(index)
        rows = max(group.num_rows * self._piece_bytes // max(group.total_byte_size, 1), 1)
        try:
            file = open_version(self._store, self._info)
            with pq.ParquetFile(file, metadata=self._metadata, buffer_size=_BUFFER_BYTES) as opened:
                columns = None if whole else self._of(column, score)
                found = 0
                for batch in opened.iter_batches(rows, row_groups=[index], columns=columns, use_threads=False):
                    found += batch.num_rows
                    self._has_read |= whole
                    table = pa.Table.from_batches([batch])
                    yield partial(chunk_of, table, column, score, self.name, table.nbytes, whole=whole)
                self._check_rows(index, found)
        except _ERRORS as error:
            raise InputError(f"{self.name}: row group {index} cannot be read: {error}") from error

    def _of(self, *columns: str) -> list[str]:
        """These columns, in the order of the file."""
        return [name for name in self._schema.names if name in columns]

    def _read_schema(self, columns: list[str] | None) -> pa.Schema:
        return self._schema if columns is None else pa.schema([self._schema.field(name) for name in columns])

    def _read(self, index: int, column: str, score: str, whole: bool) -> Chunk:
        try:
            with pq.ParquetFile(open_version(self._store, self._info), metadata=self._metadata) as file:
                # Texts of a whole row group would be moved again and again as they grow; of parts, once.
                columns = None if whole else self._of(column, score)
                batches = file.iter_batches(_BATCH_ROWS, row_groups=[index], columns=columns, use_threads=False)
                table = _combined(pa.Table.from_batches(list(batches), self._read_schema(columns)))
        except _ERRORS as error:
            raise InputError(f"{self.name}: row group {index} cannot be read: {error}") from error
        self._check_rows(index, table.num_rows)
        self._has_read |= whole
        return chunk_of(table, column, score, self.name, table.nbytes, whole=whole)

    def _check_rows(self, index: int, found: int) -> None:
        expected = self._metadata.row_group(index).num_rows
        if found != expected:
            raise InputError(
                f"{self.name}: row group {index} is damaged: {found} rows, where its metadata say {expected}"
            )

    def _compression(self) -> dict[str, str]:
        """The compression of each column, as the first row group has it."""
        # pyarrow ends the process where it is asked for one that does not exist. Reading says so.
        if not self._has_read:
            return {}
        group = self._metadata.row_group(0)
        columns = [group.column(index) for index in range(group.num_columns)]
        try:
            return {column.path_in_schema: _COMPRESSIONS.get(column.compression, "zstd") for column in columns}
        except ValueError as error:
            raise InputError(f"{self.name}: row group 0 cannot be read: {error}") from error


def _combined(table: pa.Table) -> pa.Table:
    """The table with each column in one piece, but for texts: they stay where they are."""
    columns = [column if is_text(column.type) else column.combine_chunks() for column in table.columns]
    return pa.Table.from_arrays(columns, schema=table.schema)


_COMPRESSIONS = {"UNCOMPRESSED": "none", "SNAPPY": "snappy", "GZIP": "gzip", "BROTLI": "brotli", "LZ4": "lz4"}


class _ParquetWriter(ChunkWriter):
    """A writer of the same form, which begins with the first rows."""

    def __init__(
        self, target: SinkFile, schema: pa.Schema, compression: Callable[[], dict[str, str]], column: str
    ) -> None:
        self._target = target
        self._schema = schema
        self._compression = compression
        self._column = column
        self._file: Any = None

    def write(self, chunk: Chunk, verdicts: Verdicts) -> None:
        table = judged(chunk.content, self._column, verdicts)
        if table.num_rows:
            self._opened().write_table(table, row_group_size=table.num_rows)

    def close(self) -> None:
        self._opened().close()

    def _opened(self) -> Any:
        if self._file is None:
            # Texts hardly repeat when duplicates are gone: a dictionary of them is built for nothing.
            dictionary = [
                name
                for name, kind in zip(self._schema.names, self._schema.types, strict=True)
                if not (is_text(kind) or pa.types.is_nested(kind))
            ]
            self._file = pq.ParquetWriter(
                pa.PythonFile(self._target, mode="w"),
                self._schema,
                compression=self._compression() or "zstd",
                use_dictionary=dictionary or False,
            )
        return self._file
