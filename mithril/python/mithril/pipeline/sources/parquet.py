"""A source of Parquet files, by pyarrow."""

import contextlib
import io
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
_FOOTER_BUFFER_BYTES = 1 << 10
_TEXT = "BYTE_ARRAY"
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 8, _TEXT: 4}
_DICTIONARIES = frozenset({"RLE_DICTIONARY", "PLAIN_DICTIONARY"})


class _NoDataError(Exception):
    """Raised by a file without data that is read."""


class _Footer(io.RawIOBase):
    """A file whose metadata have been read, and whose data are not there."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        """True: that is what pyarrow asks for."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes to a position."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """The position."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Raises an error."""
        raise _NoDataError


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
            rows = sum(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
            if rows != metadata.num_rows:
                raise SourceError(f"{file.url}: damaged: {rows} rows in row groups, and {metadata.num_rows} in all")
        self._checked: set[int] = set()
        """The row groups whose metadata have been looked at."""
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
        metadata = self._metadata[number]
        with arrow_errors(self.place(index)):
            if index not in self._checked:
                self._check(number, group)
                self._checked.add(index)
            found = metadata.row_group(group)
            wanted = None if self._columns is None else set(self._columns)
            columns = [found.column(at) for at in range(found.num_columns)]
            return [column for column in columns if wanted is None or column.path_in_schema.partition(".")[0] in wanted]

    def _check(self, number: int, group: int) -> None:
        """Raises an error of pyarrow where what a row group says of its columns is damaged.

        Asked for it from Python, pyarrow ends the process. A reader of rows looks at all of it before it reads data.
        """
        footer = pyarrow().PythonFile(_Footer(self._files[number].size), mode="r")
        with (
            self._parquet.ParquetFile(
                footer, metadata=self._metadata[number], buffer_size=_FOOTER_BUFFER_BYTES
            ) as file,
            contextlib.suppress(_NoDataError),
        ):
            next(file.iter_batches(1, row_groups=[group], use_threads=False), None)

    def _batches(self, index: int, rows: int, dictionaries: Sequence[str] = ()) -> Iterator[Any]:
        """The record batches of a row group, of so many rows."""
        number, group = self._chunks[index]
        options = {"read_dictionary": list(dictionaries), "buffer_size": _BUFFER_BYTES}
        with self._open(number, self._metadata[number], **options) as file:
            found = 0
            for batch in file.iter_batches(rows, row_groups=[group], columns=self._columns, use_threads=False):
                found += batch.num_rows
                yield batch
            self._check_rows(index, found)

    def _whole(self, index: int) -> Any:
        number, group = self._chunks[index]
        with self._open(number, self._metadata[number]) as file:
            table = file.read_row_group(group, columns=self._columns, use_threads=False)
        self._check_rows(index, table.num_rows)
        return table

    def _check_rows(self, index: int, found: int) -> None:
        if found != self._count(index):
            raise SourceError(
                f"{self.place(index)}: damaged: {found} rows, where its metadata say {self._count(index)}"
            )

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
