"""Documents in a pyarrow table, and the columns of verdicts."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mithril.core.errors import InputError
from mithril.dedup.chunks import Booleans, Chunk, Marks, Source, Verdicts, mark_names
from mithril.dedup.texts import is_number, is_text, kept_numbers, kept_texts, mask, numbers, validity

_CHUNK_ROWS = 8192
_TOKEN_BYTES = 4
_TIME_BITS = 64


def chunk_of(table: Any, column: str, score: str, where: str, size: int, *, whole: bool) -> Chunk:
    """The documents of a table; with their scores where a column of them is named."""
    texts = table.column(column)
    scores = scores_of(table.column(score), f"{where}: column {score!r}") if score else None
    pieces = pieces_of(texts, f"{where}: column {column!r}")
    return Chunk(pieces, table if whole else None, size, _is_list(texts.type), scores)


def check_columns(names: Sequence[str], where: str, *wanted: str) -> None:
    """Raises InputError where a column that is wanted is not there; one without a name is none."""
    for column in filter(None, wanted):
        if column not in names:
            raise InputError(f"{where}: there is no column {column!r}; there are {', '.join(names)}")


def check_kind(chunk: Chunk, where: str, column: str, *, tokens: bool) -> None:
    """Raises InputError where documents are lists of tokens and should not be, or should be and are not."""
    if chunk.rows and chunk.tokens != tokens:
        found, needed = ("lists", "tokens") if chunk.tokens else ("texts", "words, characters or bytes")
        raise InputError(f"{where}: column {column!r} holds {found}; set shingle_unit to {needed}")


def scores_of(column: Any, where: str) -> npt.NDArray[np.float64]:
    """A column of numbers or times as numbers; NaN where it has none."""
    kind, types = column.type, pa.types
    if types.is_temporal(kind):
        column = column.cast(pa.int64() if kind.bit_width == _TIME_BITS else pa.int32())
    elif not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind)):
        raise InputError(f"{where} holds {kind}; documents are chosen by a column of numbers or times")
    # Numbers beyond 2^53 are told apart in steps.
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)


def _is_list(kind: Any) -> bool:
    return bool((pa.types.is_list(kind) or pa.types.is_large_list(kind)) and pa.types.is_integer(kind.value_type))


def pieces_of(column: Any, where: str) -> Sequence[Any]:
    """A column of texts, or of lists of tokens, as arrays with offsets. Views and dictionaries become plain."""
    kind = column.type
    if _is_list(kind):
        return (_token_bytes(column, where),)
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    types = pa.types
    if types.is_string_view(kind) or types.is_binary_view(kind):
        column = column.cast(pa.large_binary())
    elif not is_text(kind):
        raise InputError(
            f"{where} holds {column.type}; a column of strings, binary values or lists of tokens is needed"
        )
    return column.chunks if isinstance(column, pa.ChunkedArray) else (column,)


def _token_bytes(column: Any, where: str) -> Any:
    """Lists of numbers of tokens as binary values, four bytes a token."""
    if not isinstance(column, pa.Array):
        column = column.combine_chunks()
    try:
        tokens = column.values.cast(pa.uint32())
    except pa.ArrowInvalid as error:
        raise InputError(f"{where}: a token is a whole number of 32 bits: {error}") from None
    if tokens.null_count:
        raise InputError(f"{where}: a list of tokens has a null")
    bounds = (np.asarray(column.offsets, np.int64) + tokens.offset) * _TOKEN_BYTES
    data = tokens.buffers()[1] or pa.py_buffer(b"")
    return pa.Array.from_buffers(
        pa.large_binary(), len(column), [validity(column), pa.py_buffer(bounds.tobytes()), data]
    )


def _token_lists(texts: Any, kind: Any) -> Any:
    """Binary values of four bytes a token as lists."""
    buffers = texts.buffers()
    bounds = np.frombuffer(buffers[1], np.int64)[texts.offset : texts.offset + len(texts) + 1] // _TOKEN_BYTES
    tokens = pa.Array.from_buffers(pa.uint32(), int(bounds[-1]), [None, buffers[2]])
    wide = pa.large_list(pa.uint32())
    offsets = pa.py_buffer(bounds.astype(np.int64).tobytes())
    return pa.Array.from_buffers(wide, len(texts), [validity(texts), offsets], children=[tokens]).cast(kind)


def check_free(names: Sequence[str], where: str) -> None:
    """Raises InputError where a column has the name of a mark."""
    for name in mark_names(repeats=True):
        if name in names:
            raise InputError(f"{where}: there is a column {name} already; remove it, or do without marks")


def marked(table: Any, marks: Marks) -> Any:
    """The table with the columns of verdicts."""
    columns = [
        numbers(marks.cluster),
        mask(marks.kept),
        pa.array(marks.duplicate_of, pa.int64()),
        pa.array(marks.reason, pa.string()),
    ]
    if marks.repeats is not None:
        columns.append(pa.array(marks.repeats, pa.list_(pa.list_(pa.int64()))))
    for name, column in zip(mark_names(marks.repeats is not None), columns, strict=True):
        table = table.append_column(name, column)
    return table


def marked_schema(schema: Any, repeats: bool) -> Any:
    """The schema with the columns of verdicts."""
    none = np.zeros(0, np.int64)
    return marked(schema.empty_table(), Marks(none, np.zeros(0, np.bool_), [], [], [] if repeats else None)).schema


def judged(table: Any, column: str, verdicts: Verdicts) -> Any:
    """The table as it is to be written: all rows with marks, or those that are kept."""
    if verdicts.marks is not None:
        return marked(table, verdicts.marks)
    table = filtered(table, verdicts.kept)
    return table if verdicts.texts is None else _replaced(table, column, verdicts.texts)


def _replaced(table: Any, column: str, texts: Any) -> Any:
    place = table.schema.get_field_index(column)
    kind = table.schema.field(place)
    if _is_list(kind.type):
        return table.set_column(place, kind, _token_lists(texts, kind.type))
    try:
        texts = texts.cast(kind.type)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        texts = pa.array(texts.to_pylist(), kind.type)
    return table.set_column(place, kind, texts)


class TableSource(Source):
    """A table in memory."""

    name = "table"

    def __init__(self, table: Any) -> None:
        self._table = table

    def size_in_memory(self) -> int:
        """Estimated bytes in memory."""
        return 0

    def documents_at_least(self) -> int:
        """The number of documents."""
        return int(self._table.num_rows)

    def chunk_bytes(self) -> int:
        """Estimated bytes of the largest chunk in memory."""
        return 0

    def chunks(self, column: str, whole: bool, score: str = "") -> Iterator[Callable[[], Chunk]]:
        """The readers of the chunks."""
        check_columns(self._table.column_names, self.name, column, score)
        for start in range(0, self._table.num_rows, _CHUNK_ROWS):
            yield partial(self._read, start, column, score)

    def _read(self, start: int, column: str, score: str) -> Chunk:
        part = self._table.slice(start, _CHUNK_ROWS)
        return chunk_of(part, column, score, self.name, 0, whole=True)


def filtered(table: Any, kept: Booleans) -> Any:
    """The rows that are kept."""
    if kept.all():
        return table
    columns = [_filtered_column(column, kept) for column in table.columns]
    return pa.Table.from_arrays(columns, schema=table.schema)


def _filtered_column(column: Any, kept: Booleans) -> Any:
    if is_text(column.type):
        ends = np.cumsum([len(piece) for piece in column.chunks], dtype=np.int64)
        parts = np.split(kept, ends[:-1])
        pieces = [kept_texts(piece, part) for piece, part in zip(column.chunks, parts, strict=True)]
        return pa.chunked_array(pieces, column.type)
    if column.num_chunks == 1 and is_number(column.type):
        return kept_numbers(column.chunk(0), kept)
    try:
        return column.filter(mask(kept))
    except pa.ArrowNotImplementedError:
        # Arrow does not filter columns of views yet; slices it has of every type.
        edges = np.flatnonzero(np.diff(kept, prepend=False, append=False))
        runs = [column.slice(start, end - start) for start, end in zip(edges[::2], edges[1::2], strict=True)]
        chunks = [chunk for run in runs for chunk in run.chunks]
        return pa.chunked_array(chunks, column.type)
