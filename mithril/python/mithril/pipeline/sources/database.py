"""Sources of what a database answers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

from mithril.pipeline.errors import SourceError
from mithril.pipeline.extras import pyarrow
from mithril.pipeline.sources.arrow import Form
from mithril.pipeline.stages import Source

_ROWS = 1024


class SqlSource(Source):
    """A source of the rows of a query, by any module with the interface of PEP 249, or by ADBC.

    `connect` makes a connection, anew for each epoch. Rows are dictionaries; with `form="arrow"` samples are Arrow
    tables, which ADBC and DuckDB give without a copy. The query says the order: without ORDER BY a resumed run may get
    other rows.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        query: str,
        parameters: Sequence[Any] = (),
        *,
        rows: int = _ROWS,
        form: Form = "rows",
    ) -> None:
        if rows < 1:
            raise SourceError(f"rows is at least 1, not {rows}")
        self._connect = connect
        self._query = query
        self._parameters = parameters
        self._rows = rows
        self._form = form
        self._batches: Iterator[Sequence[Any]] = iter(())

    def reset(self, epoch: int) -> None:
        """Asks anew."""
        self._batches = self._read()

    def next_batch(self) -> Sequence[Any] | None:
        """The next rows."""
        return next(self._batches, None)

    def place(self) -> str:
        """The query."""
        return f"query {self._query[:60]!r}"

    def _read(self) -> Iterator[Sequence[Any]]:
        try:
            with closing(self._connect()) as connection, closing(connection.cursor()) as cursor:
                cursor.execute(self._query, *([self._parameters] if self._parameters else []))
                yield from self._tables(cursor) if self._form == "arrow" else self._dictionaries(cursor)
        except Exception as error:
            # Each module has errors of its own.
            raise SourceError(f"{self.place()}: {type(error).__name__}: {error}") from error

    def _dictionaries(self, cursor: Any) -> Iterator[Sequence[Any]]:
        if cursor.description is None:
            raise SourceError("the statement gives no rows")
        names = [column[0] for column in cursor.description]
        while rows := cursor.fetchmany(self._rows):
            yield [dict(zip(names, row, strict=True)) for row in rows]

    def _tables(self, cursor: Any) -> Iterator[Sequence[Any]]:
        fetch = getattr(cursor, "fetch_record_batch", None)
        if fetch is None:
            raise SourceError("this module gives no Arrow data; use ADBC or DuckDB, or the form rows")
        for batch in fetch():
            table = pyarrow().Table.from_batches([batch])
            for start in range(0, table.num_rows, self._rows):
                yield [table.slice(start, self._rows)]
