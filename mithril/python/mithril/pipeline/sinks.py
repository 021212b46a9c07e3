"""Sinks: JSON lines and Parquet, in any store. The output is whole or absent."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mithril.core.store import Store, Writer
from mithril.pipeline.errors import PipelineError
from mithril.pipeline.sources.arrow import pyarrow
from mithril.pipeline.stages import Sink

_GROUP_ROWS = 10_000


def writer_at(url: str | Path) -> Writer:
    """A writer of the object at a path or URL."""
    absolute = str(url) if "://" in str(url) else str(Path(url).absolute())
    base, _, name = absolute.rpartition("/")
    return Store.open(base or "/").open_writer(name)


class JsonlSink(Sink):
    """A sink that writes each element as a line of JSON; arrays become lists."""

    def __init__(self, url: str | Path) -> None:
        self._url = str(url)
        self._output = writer_at(url)

    def consume(self, value: Any) -> None:
        """Writes a line."""
        try:
            line = json.dumps(value, ensure_ascii=False, default=_plain)
        except (TypeError, ValueError) as error:
            raise PipelineError(f"{self._url}: an element cannot be written as JSON: {error}") from None
        self._output.write(line.encode() + b"\n")

    def flush(self) -> None:
        """Makes the output visible."""
        self._output.commit()

    def abort(self) -> None:
        """Drops the output."""
        self._output.abort()


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no form in JSON; map it to numbers, strings, lists or dictionaries")


class ArrowSink(Sink):
    """A sink that writes rows (dictionaries) or Arrow tables as an Arrow file. The first ones decide the schema."""

    form = "Arrow"

    def __init__(self, url: str | Path, *, group_rows: int = _GROUP_ROWS) -> None:
        self._arrow = pyarrow()
        self._url = str(url)
        self._output = writer_at(url)
        self._group_rows = group_rows
        self._rows: list[Mapping[str, Any]] = []
        self._file: Any = None
        self._schema: Any = None

    def consume(self, value: Any) -> None:
        """Writes rows, a group at a time."""
        if isinstance(value, self._arrow.Table):
            self._write_rows()
            self._write(value)
        elif isinstance(value, Mapping):
            self._rows.append({name: _listed(part) for name, part in value.items()})
            if len(self._rows) >= self._group_rows:
                self._write_rows()
        else:
            raise PipelineError(
                f"{self._url}: rows of {self.form} are dictionaries or Arrow tables, not {type(value).__name__}"
            )

    def flush(self) -> None:
        """Writes what is left, and makes the output visible."""
        self._write_rows()
        if self._file is None:
            self._write(self._arrow.table({}))
        self._file.close()
        self._output.commit()

    def abort(self) -> None:
        """Drops the output."""
        self._output.abort()

    def _write_rows(self) -> None:
        if self._rows:
            rows, self._rows = self._rows, []
            schema = self._schema
            try:
                self._write(self._arrow.Table.from_pylist(rows, schema=schema))
            except (self._arrow.ArrowInvalid, self._arrow.ArrowTypeError) as error:
                raise PipelineError(f"{self._url}: rows do not fit the columns before: {error}") from None

    def _write(self, table: Any) -> None:
        if self._file is None:
            target = self._arrow.PythonFile(_Output(self._output), mode="w")
            self._file = self._opened(target, table.schema)
            self._schema = table.schema
        self._file.write_table(table)

    def _opened(self, target: Any, schema: Any) -> Any:
        return self._arrow.ipc.new_file(target, schema)


class ParquetSink(ArrowSink):
    """A sink that writes rows (dictionaries) or Arrow tables as Parquet. The first ones decide the schema."""

    form = "Parquet"

    def _opened(self, target: Any, schema: Any) -> Any:
        return pyarrow("pyarrow.parquet").ParquetWriter(target, schema)


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


class _Output:
    """A file object for pyarrow around a writer; closing it does not make the object visible."""

    closed = False

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._at = 0

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._writer.write(view)
        self._at += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        return

    def close(self) -> None:
        return
