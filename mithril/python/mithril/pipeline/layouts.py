"""Batches of samples that do not stack: rows of different lengths, and rows that are mostly zero."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mithril.pipeline.collation import to_torch
from mithril.pipeline.errors import PipelineError
from mithril.pipeline.extras import pyarrow, torch


@dataclass(frozen=True, slots=True)
class Ragged:
    """Rows of different lengths, one after the other: row *i* is `values[offsets[i]:offsets[i + 1]]`."""

    values: NDArray[Any]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[Any]) -> Self:
        """The rows as one batch: a function for `batch(collate=...)`."""
        arrays = [np.asarray(row) for row in rows]
        shapes = {array.shape[1:] for array in arrays if array.ndim}
        if len(shapes) != 1 or any(not array.ndim for array in arrays):
            raise PipelineError("rows are arrays that differ in their first dimension alone")
        return cls(np.concatenate(arrays), np.cumsum([0, *map(len, arrays)], dtype=np.int64))

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[Any]:
        """A row, which shares the memory."""
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def to_arrow(self) -> Any:
        """A list array of Arrow on the same memory."""
        arrow = pyarrow()
        values = arrow.array(self.values.reshape(-1))
        for size in reversed(self.values.shape[1:]):
            values = arrow.FixedSizeListArray.from_arrays(values, size)
        return arrow.LargeListArray.from_arrays(arrow.array(self.offsets), values)

    @classmethod
    def from_arrow(cls, lists: Any) -> Self:
        """The rows of a list array or a column of a table, on the same memory where nothing is null.

        A column of several pieces is joined first.
        """
        if hasattr(lists, "combine_chunks"):
            lists = lists.combine_chunks()
        offsets = np.asarray(lists.offsets, np.int64)
        first, last = int(offsets[0]), int(offsets[-1])
        values, shape = lists.values.slice(first, last - first), [last - first]
        while isinstance(values, pyarrow().FixedSizeListArray):
            shape.append(values.type.list_size)
            values = values.flatten()
        return cls(values.to_numpy(zero_copy_only=False).reshape(shape), offsets - first)

    def to_torch(self) -> Any:
        """A nested tensor of torch in its jagged layout, on the same memory where that can be written to."""
        nested = torch().nested
        return nested.nested_tensor_from_jagged(to_torch(self.values), to_torch(self.offsets))


@dataclass(frozen=True, slots=True)
class Sparse:
    """Rows that are mostly zero, compressed (CSR): row *i* has `values[offsets[i]:offsets[i + 1]]` in `columns`."""

    values: NDArray[Any]
    columns: NDArray[np.int64]
    offsets: NDArray[np.int64]
    width: int

    @classmethod
    def of(cls, rows: Sequence[tuple[Any, Any]], width: int) -> Self:
        """The rows as one batch, of pairs of columns and values."""
        columns = Ragged.of([np.asarray(row[0], np.int64) for row in rows])
        values = Ragged.of([row[1] for row in rows])
        if not np.array_equal(columns.offsets, values.offsets):
            raise PipelineError("a row has as many columns as values")
        if len(columns.values) and not 0 <= columns.values.min() <= columns.values.max() < width:
            raise PipelineError(f"columns are from 0 to {width - 1}")
        return cls(values.values, columns.values, columns.offsets, width)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.offsets) - 1

    def to_coordinates(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
        """Rows, columns and values (COO)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets)), self.columns, self.values

    def to_dense(self) -> NDArray[Any]:
        """All values, zeros too."""
        dense = np.zeros((len(self), self.width), self.values.dtype)
        rows, columns, values = self.to_coordinates()
        dense[rows, columns] = values
        return dense

    def to_torch(self) -> Any:
        """A sparse tensor of torch (CSR), on the same memory where that can be written to."""
        parts = (to_torch(part) for part in (self.offsets, self.columns, self.values))
        return torch().sparse_csr_tensor(*parts, size=(len(self), self.width), check_invariants=False)
