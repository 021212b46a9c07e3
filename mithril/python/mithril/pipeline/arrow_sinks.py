"""Sinks of rows and tables: Arrow and Parquet files, in any store. The output is whole or absent."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mithril.core.store import Writer
from mithril.pipeline.errors import PipelineError
from mithril.pipeline.extras import pyarrow
from mithril.pipeline.holds import Pending
from mithril.pipeline.outputs import writer_at
from mithril.pipeline.stages import Sink

_GROUP_ROWS = 10_000
_GROUP_BYTES = 32 << 20


class ArrowSink(Sink):
    """A sink that writes rows (dictionaries) or Arrow tables as an Arrow file.

    Rows are written in groups of `group_rows`, or of fewer that take `group_bytes` or an eighth of the memory budget.
    The first group, or the first table, decides the columns and their types where no `schema` does.
    """

    form = "Arrow"

    def __init__(
        self,
        url: str | Path,
        *,
        group_rows: int = _GROUP_ROWS,
        group_bytes: int = _GROUP_BYTES,
        schema: Any = None,
    ) -> None:
        if group_rows < 1 or group_bytes < 1:
            raise PipelineError("group_rows and group_bytes are at least 1")
        self._arrow = pyarrow()
        self._url = str(url)
        self._output = _Output(writer_at(url))
        self._group_rows = group_rows
        self._group_bytes = group_bytes
        self._rows: list[dict[str, Any]] = []
        self._pending = Pending()
        self._file: Any = None
        self._schema = schema

    def consume(self, value: Any) -> None:
        """Writes rows, a group at a time."""
        if isinstance(value, self._arrow.Table):
            self._write_rows()
            self._write(value)
        elif isinstance(value, Mapping):
            self._rows.append({name: _plain(part) for name, part in value.items()})
            self._pending.add(value)
            if len(self._rows) >= self._group_rows or self._pending.size >= self._group_bytes:
                self._write_rows()
        else:
            raise PipelineError(
                f"{self._url}: rows of {self.form} are dictionaries or Arrow tables, not {type(value).__name__}"
            )

    def flush(self) -> None:
        """Writes what is left, and makes the output visible."""
        self._write_rows()
        if self._file is None:
            self._write(self._arrow.table({}) if self._schema is None else self._schema.empty_table())
        self._file.close()
        self._output.writer.commit()

    def memory_usage(self) -> int:
        """The bytes of the rows of the next group."""
        return self._pending.size

    def shrink(self) -> None:
        """Writes these rows as a group."""
        self._write_rows()

    def abort(self) -> None:
        """Drops the output."""
        self._output.dropped = True
        if self._file is not None:
            # Whoever writes Parquet would do that when it is collected, and complain about the output that is gone.
            self._file.close()
        self._output.writer.abort()

    def _write_rows(self) -> None:
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        self._pending.clear()
        names = dict.fromkeys(name for row in rows for name in row)
        self._check(names)
        try:
            if self._schema is None:
                table = self._arrow.table({name: [row.get(name) for row in rows] for name in names})
            else:
                table = self._arrow.Table.from_pylist(rows, schema=self._schema)
        except (ValueError, TypeError, OverflowError, NotImplementedError) as error:
            raise PipelineError(f"{self._url}: rows do not fit the columns before: {error}; give a schema") from None
        self._write(table)

    def _check(self, names: Mapping[str, None]) -> None:
        """Refuses columns that the file has no place for."""
        unknown = [] if self._schema is None else [str(name) for name in names if name not in self._schema.names]
        if unknown:
            raise PipelineError(
                f"{self._url}: the file has no column {', '.join(unknown)}, as no row of the first group had it; "
                f"give a schema"
            )

    def _write(self, table: Any) -> None:
        if self._file is None:
            schema = table.schema if self._schema is None else self._schema
            self._file = self._opened(self._arrow.PythonFile(self._output, mode="w"), schema)
            self._schema = schema
        if not table.schema.equals(self._schema):
            raise PipelineError(
                f"{self._url}: a table with {_described(table.schema)} follows columns {_described(self._schema)}"
            )
        self._file.write_table(table)

    def _opened(self, target: Any, schema: Any) -> Any:
        return self._arrow.ipc.new_file(target, schema)


class ParquetSink(ArrowSink):
    """A sink that writes rows (dictionaries) or Arrow tables as Parquet, by the rules of `ArrowSink`."""

    form = "Parquet"

    def _opened(self, target: Any, schema: Any) -> Any:
        return pyarrow("pyarrow.parquet").ParquetWriter(target, schema)


def _described(schema: Any) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def _plain(value: Any) -> Any:
    """A value as pyarrow takes it: lists of one-dimensional arrays in the place of other arrays and tensors."""
    if isinstance(value, np.ndarray):
        if value.ndim == 1:
            return value
        return value[()] if not value.ndim else [_plain(part) for part in value]
    if hasattr(value, "detach"):
        return _plain(value.detach().cpu().numpy())
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


class _Output:
    """A file object for pyarrow around a writer; closing it does not make the object visible."""

    closed = False

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.dropped = False
        self._at = 0

    def write(self, data: Any) -> int:
        view = memoryview(data)
        if not self.dropped:
            self.writer.write(view)
        self._at += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        return

    def close(self) -> None:
        return
