"""Rows of Arrow data as Python values, in parts of bounded memory."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mithril.pipeline.extras import pyarrow

# What Python takes for a value beside its data, about.
_VALUE_BYTES = 32
_TEXT_BYTES = 56
_LIST_BYTES = 64
_SLOT_BYTES = 8
_ROW_BYTES = 64
_FIELD_BYTES = 40


def row_parts(batch: Any, column: str | None, size: int) -> Iterator[list[Any]]:
    """The rows of a record batch as dictionaries, or the values of its column, in parts of about so many bytes."""
    start = 0
    for end in _ends(row_bytes(batch), size):
        part = batch.slice(start, end - start)
        yield part.to_pylist() if column is None else part.column(column).to_pylist()
        start = end


def _ends(sizes: NDArray[np.int64], size: int) -> Iterator[int]:
    """The ends of parts: of as many rows as fit, and of at least one."""
    sums = np.cumsum(sizes)
    start, before = 0, 0
    while start < len(sums):
        end = max(int(np.searchsorted(sums, before + size, side="right")), start + 1)
        yield end
        start, before = end, int(sums[end - 1])


def row_bytes(batch: Any) -> NDArray[np.int64]:
    """The bytes that each row of a record batch takes as a dictionary of Python values, about."""
    sizes = np.full(batch.num_rows, _ROW_BYTES + _FIELD_BYTES * batch.num_columns, np.int64)
    for column in batch.columns:
        sizes += _value_bytes(column)
    return sizes


def _value_bytes(array: Any) -> NDArray[np.int64]:
    """The bytes that each value of an array takes in Python, about."""
    types, kind, count = pyarrow("pyarrow.types"), array.type, len(array)
    if types.is_dictionary(kind) and len(array.dictionary):
        indices = array.indices.fill_null(0).to_numpy(zero_copy_only=False)
        return np.asarray(_value_bytes(array.dictionary)[indices])
    if types.is_struct(kind):
        fields = [_value_bytes(array.field(number)) + _FIELD_BYTES for number in range(kind.num_fields)]
        return np.asarray(np.sum([np.full(count, _ROW_BYTES), *fields], axis=0), np.int64)
    if types.is_fixed_size_list(kind):
        inner = _value_bytes(array.values.slice(array.offset * kind.list_size, count * kind.list_size))
        return np.asarray(inner.reshape(count, kind.list_size).sum(axis=1) + _LIST_BYTES + _SLOT_BYTES * kind.list_size)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_map(kind):
        return _list_bytes(array)
    if any(test(kind) for test in (types.is_string, types.is_binary, types.is_large_string, types.is_large_binary)):
        lengths = pyarrow("pyarrow.compute").binary_length(array).fill_null(0)
        return np.asarray(lengths.to_numpy(zero_copy_only=False).astype(np.int64) + _TEXT_BYTES)
    return np.full(count, _VALUE_BYTES + array.nbytes // max(count, 1), np.int64)


def _list_bytes(array: Any) -> NDArray[np.int64]:
    offsets = np.asarray(array.offsets, np.int64)
    first, last = int(offsets[0]), int(offsets[-1])
    is_map = pyarrow("pyarrow.types").is_map(array.type)
    children = (array.keys, array.items) if is_map else (array.values,)
    sizes = np.full(last - first, _LIST_BYTES if is_map else 0, np.int64)
    for child in children:
        sizes += _value_bytes(child.slice(first, last - first)) + _SLOT_BYTES
    sums = np.concatenate([[0], np.cumsum(sizes)])
    return np.asarray(np.diff(sums[offsets - first]) + _LIST_BYTES, np.int64)
