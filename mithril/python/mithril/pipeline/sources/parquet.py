"""A source of Parquet files, by pyarrow."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mithril.pipeline.errors import SourceError
from mithril.pipeline.extras import pyarrow
from mithril.pipeline.sources.arrow import Form, arrow_errors
from mithril.pipeline.sources.files import find
from mithril.pipeline.sources.rows import row_parts
from mithril.pipeline.stages import IndexedSource

# Files are read so many bytes at a time where row groups are read by parts.
_BUFFER_BYTES = 1 << 20
_TEXT = "BYTE_ARRAY"
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 8, _TEXT: 4}
_DICTIONARIES = frozenset({"RLE_DICTIONARY", "PLAIN_DICTIONARY"})


class ParquetSource(IndexedSource):
    """A source of Parquet files; a chunk is a row group.

    Samples are dictionaries of columns, or the values of one `column`; a large row group is read by parts. With
    `form="arrow"` they are tables, of a row group or of at most `rows` rows.
    """

    def __init__(
        self,
        urls: str | Path | Iterable[str | Path],
        *,
        columns: Sequence[str] | None = None,
        column: str | None = None,
        form: Form = "rows",
        rows: int | None = None,
    ) -> None:
        if column is not None and (columns is not None or form == "arrow"):
            raise SourceError("column excludes columns and the form arrow")
        if rows is not None and (form != "arrow" or rows < 1):
            raise SourceError("rows is at least 1, and goes with the form arrow")
        self._parquet = pyarrow("pyarrow.parquet")
        self._column = column
        self._columns = [column] if column is not None else None if columns is None else list(columns)
        self._form = form
        self._rows = rows
        self._files = find(urls, (".parquet",))
        self._metadata = [self._open(number, None).metadata for number in range(len(self._files))]
        for file, metadata in zip(self._files, self._metadata, strict=True):
            missing = set(self._columns or ()) - set(metadata.schema.to_arrow_schema().names)
            if missing:
                names = ", ".join(metadata.schema.to_arrow_schema().names)
                raise SourceError(f"{file.url}: no column {', '.join(sorted(missing))}; it has {names}")
        self._chunks = [
            (number, group)
            for number, metadata in enumerate(self._metadata)
            for group in range(metadata.num_row_groups)
        ]

    def __len__(self) -> int:
        """The number of row groups."""
        return len(self._chunks)

    def read(self, index: int) -> list[Any]:
        """All samples of a row group."""
        return [sample for part in self.parts(index, 0, self.bytes_hint(index)) for sample in part]

    def parts(self, index: int, start: int, size: int) -> Iterator[Sequence[Any]]:
        """The samples of a row group, in parts of about `size` bytes."""
        with arrow_errors(self.place(index)):
            yield from self._tables(index, start) if self._form == "arrow" else self._values(index, start, size)

    def place(self, index: int) -> str:
        """Names the file and the row group."""
        number, group = self._chunks[index]
        return f"{self._files[number].url}, row group {group}"

    def bytes_hint(self, index: int) -> int:
        """The size of the columns without compression; that of texts which a dictionary holds cannot be told."""
        sizes: list[int] = [
            max(column.total_uncompressed_size, column.num_values * _WIDTHS.get(column.physical_type, 0))
            for column in self._column_chunks(index)
        ]
        count = max(self._count(index), 1)
        return sum(sizes) * min(self._rows or count, count) // count

    def size_hint(self) -> int:
        """The number of samples."""
        if self._form == "rows":
            return sum(metadata.num_rows for metadata in self._metadata)
        if self._rows is None:
            return len(self)
        return sum(-(-self._count(index) // self._rows) for index in range(len(self)))

    def _open(self, number: int, metadata: Any, **options: Any) -> Any:
        file = self._files[number]
        with arrow_errors(f"{file.url}: cannot be read as Parquet"):
            return self._parquet.ParquetFile(file.open(), metadata=metadata, **options)

    def _count(self, index: int) -> int:
        number, group = self._chunks[index]
        return int(self._metadata[number].row_group(group).num_rows)

    def _column_chunks(self, index: int) -> list[Any]:
        number, group = self._chunks[index]
        found = self._metadata[number].row_group(group)
        wanted = None if self._columns is None else set(self._columns)
        columns = [found.column(at) for at in range(found.num_columns)]
        return [column for column in columns if wanted is None or column.path_in_schema.partition(".")[0] in wanted]

    def _batches(self, index: int, rows: int, dictionaries: Sequence[str] = ()) -> Iterator[Any]:
        """The record batches of a row group, of so many rows."""
        number, group = self._chunks[index]
        options = {"read_dictionary": list(dictionaries), "buffer_size": _BUFFER_BYTES}
        with self._open(number, self._metadata[number], **options) as file:
            yield from file.iter_batches(rows, row_groups=[group], columns=self._columns, use_threads=False)

    def _whole(self, index: int) -> Any:
        number, group = self._chunks[index]
        with self._open(number, self._metadata[number]) as file:
            return file.read_row_group(group, columns=self._columns, use_threads=False)

    def _tables(self, index: int, start: int) -> Iterator[list[Any]]:
        """A table, or several of so many rows."""
        if self._rows is None:
            if not start:
                yield [self._whole(index)]
            return
        arrow = pyarrow()
        for number, batch in enumerate(self._batches(index, self._rows)):
            if number >= start:
                yield [arrow.Table.from_batches([batch])]

    def _values(self, index: int, start: int, size: int) -> Iterator[list[Any]]:
        """Rows, or the values of one column. Texts that a dictionary holds are not repeated before they are values."""
        texts = [
            column.path_in_schema
            for column in self._column_chunks(index)
            if column.physical_type == _TEXT and not _DICTIONARIES.isdisjoint(column.encodings)
        ]
        count, hint = self._count(index), self.bytes_hint(index)
        if hint <= size and not texts:
            batches: Iterable[Any] = self._whole(index).to_batches()
        else:
            batches = self._batches(index, max(min(count, size * count // max(hint, 1)), 1), texts)
        for batch in batches:
            # An index or an offset out of bounds ends the process that makes rows.
            batch.validate(full=True)
            taken = min(start, batch.num_rows)
            start -= taken
            yield from row_parts(batch.slice(taken), self._column, size)
