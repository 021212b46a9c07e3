"""Sources of Arrow files, streams and tables, by pyarrow."""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from mithril.core.file_store import FileStore
from mithril.pipeline.errors import SourceError
from mithril.pipeline.extras import pyarrow
from mithril.pipeline.sources.files import File, find
from mithril.pipeline.sources.rows import row_parts
from mithril.pipeline.stages import IndexedSource, Source

Form = Literal["rows", "arrow"]
"""What samples are."""

_PART_BYTES = 1 << 20


@contextlib.contextmanager
def arrow_errors(where: str, advice: str = "") -> Iterator[None]:
    """Makes errors of pyarrow those of a source, with the place."""
    try:
        yield
    except KeyError as error:
        raise SourceError(f"{where}: damaged: there is no {error}{advice}") from None
    except (pyarrow().ArrowException, OSError, ValueError) as error:
        raise SourceError(f"{where}: {error}{advice}") from None


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

    def __len__(self) -> int:
        """The number of record batches."""
        return len(self._chunks)

    def read(self, index: int) -> list[Any]:
        """The table of a record batch, or its rows."""
        table = self._table(index)
        found: list[Any] = [table] if self._form == "arrow" else table.to_pylist()
        return found

    def parts(self, index: int, start: int, size: int) -> Iterator[Sequence[Any]]:
        """The same; rows come in parts of about `size` bytes."""
        if self._form == "arrow":
            yield self.read(index)[start:]
            return
        for batch in self._table(index).slice(start).to_batches():
            yield from row_parts(batch, None, size)

    def place(self, index: int) -> str:
        """Names the file and the record batch."""
        number, batch = self._chunks[index]
        return f"{self._files[number].url}, record batch {batch}"

    def size_hint(self) -> int | None:
        """The number of tables; that of rows is not known before they are read."""
        return len(self) if self._form == "arrow" else None

    def _checked(self, number: int) -> int:
        """The number of record batches of a file that has the columns."""
        file = self._files[number]
        with arrow_errors(f"{file.url}: damaged"), self._open(file) as opened:
            _check_columns(file, self._columns, opened.schema)
            return int(opened.num_record_batches)

    def _open(self, file: File) -> Any:
        where = f"{file.url}: cannot be read as an Arrow file"
        with arrow_errors(where, "; ArrowStreamSource reads streams of Arrow"):
            return self._ipc.open_file(_input(file))

    def _table(self, index: int) -> Any:
        number, batch = self._chunks[index]
        with arrow_errors(self.place(index)), self._open(self._files[number]) as opened:
            table = self._arrow.Table.from_batches([opened.get_batch(batch)])
            # An offset out of bounds ends the process that makes rows.
            table.validate(full=self._form == "rows")
        return table if self._columns is None else table.select(self._columns)


class ArrowStreamSource(Source):
    """A source of streams of Arrow in files, as the package datasets writes them; they are read from the beginning.

    Samples are tables of a record batch, or dictionaries with `form="rows"`. Files of this machine are mapped.
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
        self._files = find(urls, (".arrows", ".arrow"))
        self._place = self._files[0].url
        self._samples: Iterator[Sequence[Any]] = iter(())
        for file in self._files:
            with arrow_errors(f"{file.url}: damaged"), self._open(file) as opened:
                _check_columns(file, self._columns, opened.schema)

    def reset(self, epoch: int) -> None:
        """Opens the first file."""
        self._samples = self._read()

    def next_batch(self) -> Sequence[Any] | None:
        """A table, or some rows."""
        return next(self._samples, None)

    def place(self) -> str:
        """The file and the record batch."""
        return self._place

    def _open(self, file: File) -> Any:
        where = f"{file.url}: cannot be read as a stream of Arrow"
        with arrow_errors(where, "; ArrowFileSource reads Arrow files"):
            return self._ipc.open_stream(_input(file))

    def _read(self) -> Iterator[Sequence[Any]]:
        for file in self._files:
            with self._open(file) as opened:
                for number in itertools.count():
                    self._place = f"{file.url}, record batch {number}"
                    batch = self._next(opened)
                    if batch is None:
                        break
                    if self._form == "rows":
                        yield from row_parts(batch, None, _PART_BYTES)
                    else:
                        yield [self._arrow.Table.from_batches([batch])]

    def _next(self, opened: Any) -> Any:
        with arrow_errors(self._place):
            try:
                batch = opened.read_next_batch()
            except StopIteration:
                return None
            batch.validate(full=self._form == "rows")
        return batch if self._columns is None else batch.select(self._columns)


def _input(file: File) -> Any:
    """A file as pyarrow reads it; one of this machine is mapped."""
    arrow, store = pyarrow(), file.store
    if isinstance(store, FileStore):
        return arrow.memory_map(str(store.path_of(file.key)))
    return arrow.PythonFile(file.open(), mode="r")


def _check_columns(file: File, columns: Sequence[str] | None, schema: Any) -> None:
    missing = set(columns or ()) - set(schema.names)
    if missing:
        names = ", ".join(schema.names)
        raise SourceError(f"{file.url}: no column {', '.join(sorted(missing))}; it has {names}")


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
        """The number of parts, or of rows."""
        return len(self) if self._form == "arrow" else int(self._table.num_rows)
