"""Sources of Parquet files, Arrow files and Arrow tables, by pyarrow."""

import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from mithril.core.errors import MissingExtraError
from mithril.core.file_store import FileStore
from mithril.pipeline.errors import SourceError
from mithril.pipeline.sources.files import File, find
from mithril.pipeline.stages import IndexedSource

Form = Literal["rows", "arrow"]


def pyarrow(module: str = "pyarrow") -> Any:
    """A module of the package pyarrow."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtraError("Parquet and Arrow", "pyarrow", "arrow") from None


class ParquetSource(IndexedSource):
    """A source of Parquet files; a chunk is a row group.

    Samples are dictionaries of columns, or the values of one `column`. With `form="arrow"` they are whole tables.
    """

    def __init__(
        self,
        urls: str | Path | Iterable[str | Path],
        *,
        columns: Sequence[str] | None = None,
        column: str | None = None,
        form: Form = "rows",
    ) -> None:
        if column is not None and (columns is not None or form == "arrow"):
            raise SourceError("column excludes columns and the form arrow")
        self._parquet = pyarrow("pyarrow.parquet")
        self._column = column
        self._columns = [column] if column is not None else None if columns is None else list(columns)
        self._form = form
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

    def _open(self, number: int, metadata: Any) -> Any:
        file = self._files[number]
        try:
            return self._parquet.ParquetFile(file.open(), metadata=metadata)
        except (OSError, ValueError) as error:
            raise SourceError(f"{file.url}: cannot be read as Parquet: {error}") from None

    def __len__(self) -> int:
        """The number of row groups."""
        return len(self._chunks)

    def read(self, index: int) -> list[Any]:
        """The rows of a row group."""
        number, group = self._chunks[index]
        file = self._open(number, self._metadata[number])
        try:
            table = file.read_row_group(group, columns=self._columns, use_threads=False)
        except (OSError, ValueError) as error:
            raise SourceError(f"{self.place(index)}: {error}") from None
        if self._form == "arrow":
            return [table]
        rows: list[Any] = table[self._column].to_pylist() if self._column is not None else table.to_pylist()
        return rows

    def place(self, index: int) -> str:
        """Names the file and the row group."""
        number, group = self._chunks[index]
        return f"{self._files[number].url}, row group {group}"

    def bytes_hint(self, index: int) -> int:
        """The size of the columns without compression."""
        number, group = self._chunks[index]
        found = self._metadata[number].row_group(group)
        wanted = None if self._columns is None else set(self._columns)
        columns = [found.column(at) for at in range(found.num_columns)]
        return sum(
            column.total_uncompressed_size
            for column in columns
            if wanted is None or column.path_in_schema.partition(".")[0] in wanted
        )

    def size_hint(self) -> int:
        """The number of rows."""
        return sum(metadata.num_rows for metadata in self._metadata)


class ArrowFileSource(IndexedSource):
    """A source of Arrow files; a chunk is a record batch.

    Samples are tables, or dictionaries with `form="rows"`. Files of this machine are mapped, so that a table that is
    not compressed takes no memory of its own.
    """

    def __init__(
        self,
        urls: str | Path | Iterable[str | Path],
        *,
        columns: Sequence[str] | None = None,
        form: Form = "arrow",
    ) -> None:
        self._arrow = pyarrow()
        self._ipc = pyarrow("pyarrow.ipc")
        self._form = form
        self._columns = None if columns is None else list(columns)
        self._files = find(urls, (".arrow", ".feather"))
        self._chunks = [(number, batch) for number in range(len(self._files)) for batch in range(self._checked(number))]

    def _checked(self, number: int) -> int:
        """The number of record batches of a file that has the columns."""
        file = self._files[number]
        with self._open(file) as opened:
            missing = set(self._columns or ()) - set(opened.schema.names)
            if missing:
                names = ", ".join(opened.schema.names)
                raise SourceError(f"{file.url}: no column {', '.join(sorted(missing))}; it has {names}")
            return int(opened.num_record_batches)

    def _open(self, file: File) -> Any:
        store = file.store
        try:
            if isinstance(store, FileStore):
                return self._ipc.open_file(self._arrow.memory_map(str(store.path_of(file.key))))
            return self._ipc.open_file(self._arrow.PythonFile(file.open(), mode="r"))
        except (OSError, ValueError) as error:
            raise SourceError(
                f"{file.url}: cannot be read as an Arrow file: {error}; a stream of Arrow is to be written as a file"
            ) from None

    def __len__(self) -> int:
        """The number of record batches."""
        return len(self._chunks)

    def read(self, index: int) -> list[Any]:
        """The rows of a record batch."""
        number, batch = self._chunks[index]
        try:
            with self._open(self._files[number]) as opened:
                table = self._arrow.Table.from_batches([opened.get_batch(batch)])
            table.validate()
        except (OSError, ValueError) as error:
            raise SourceError(f"{self.place(index)}: {error}") from None
        if self._columns is not None:
            table = table.select(self._columns)
        found: list[Any] = [table] if self._form == "arrow" else table.to_pylist()
        return found

    def place(self, index: int) -> str:
        """Names the file and the record batch."""
        number, batch = self._chunks[index]
        return f"{self._files[number].url}, record batch {batch}"


class ArrowSource(IndexedSource):
    """A source of a pyarrow table; samples are parts of it, which share its memory, or dictionaries."""

    def __init__(self, table: Any, *, rows: int = 1024, form: Form = "arrow") -> None:
        if not isinstance(table, pyarrow().Table):
            raise SourceError(f"ArrowSource takes a pyarrow.Table, not {type(table).__name__}")
        if rows < 1:
            raise SourceError(f"rows is at least 1, not {rows}")
        self._table = table
        self._rows = rows
        self._form = form

    def __len__(self) -> int:
        """The number of parts."""
        rows: int = self._table.num_rows
        return (rows + self._rows - 1) // self._rows

    def read(self, index: int) -> list[Any]:
        """A part of the table."""
        part = self._table.slice(index * self._rows, self._rows)
        found: list[Any] = [part] if self._form == "arrow" else part.to_pylist()
        return found

    def place(self, index: int) -> str:
        """Names the first row."""
        return f"table from row {index * self._rows}"

    def size_hint(self) -> int:
        """The number of rows."""
        return int(self._table.num_rows)
