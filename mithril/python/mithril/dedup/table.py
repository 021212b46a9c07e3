"""Documents in a pyarrow table, and the columns of verdicts."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from mithril.core.errors import InputError
from mithril.dedup.chunks import MARKS, Booleans, Chunk, Marks, Source

_CHUNK_ROWS = 8192


def texts_of(column: Any, where: str) -> Any:
    """A column of texts as one array with offsets. Views and dictionaries become plain."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    types = pa.types
    if types.is_string_view(kind) or types.is_binary_view(kind):
        column = column.cast(pa.large_binary())
    elif not (
        types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind)
    ):
        raise InputError(f"{where} holds {column.type}; a column of strings or binary values is needed")
    if isinstance(column, pa.Array):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    # Together the chunks may pass the 2 GB that short offsets reach.
    wide = pa.large_string() if types.is_string(column.type) else pa.large_binary()
    return pa.concat_arrays([chunk.cast(wide) for chunk in column.chunks]) if column.num_chunks else pa.array([], wide)


def check_free(names: Sequence[str], where: str) -> None:
    """Raises InputError where a column has the name of a mark."""
    for name in MARKS:
        if name in names:
            raise InputError(f"{where}: there is a column {name} already; remove it, or do without marks")


def marked(table: Any, marks: Marks | None) -> Any:
    """The table with the columns of verdicts; without any, with empty ones."""
    if marks is None:
        none = np.zeros(0, np.int64)
        marks = Marks(none, np.zeros(0, np.bool_), none)
    columns = (
        pa.array(marks.cluster),
        pa.array(marks.kept),
        pa.array(marks.duplicate_of, mask=marks.kept),
    )
    for name, column in zip(MARKS, columns, strict=True):
        table = table.append_column(name, column)
    return table


class TableSource(Source):
    """A table in memory."""

    name = "table"

    def __init__(self, table: Any) -> None:
        self._table = table

    def size_in_memory(self) -> int:
        """Estimated bytes in memory."""
        return 0

    def chunks(self, column: str, whole: bool) -> Iterator[Callable[[], Chunk]]:
        """The readers of the chunks."""
        if column not in self._table.column_names:
            raise InputError(f"there is no column {column!r}; there are {', '.join(self._table.column_names)}")
        for start in range(0, self._table.num_rows, _CHUNK_ROWS):
            yield partial(self._read, start, column)

    def _read(self, start: int, column: str) -> Chunk:
        part = self._table.slice(start, _CHUNK_ROWS)
        return Chunk(texts_of(part.column(column), f"column {column!r}"), part, 0)


def filtered(table: Any, kept: Booleans) -> Any:
    """The rows that are kept."""
    if kept.all():
        return table
    try:
        return table.filter(pa.array(kept))
    except pa.ArrowNotImplementedError:
        # Arrow does not filter columns of views yet; slices it has of every type.
        edges = np.flatnonzero(np.diff(kept, prepend=False, append=False))
        runs = [table.slice(start, end - start) for start, end in zip(edges[::2], edges[1::2], strict=True)]
        return pa.concat_tables(runs) if runs else table.slice(0, 0)
