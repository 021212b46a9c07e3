"""Sinks of arrays: numpy and safetensors files, in any store. The output is whole or absent."""

import io
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mithril.pipeline.errors import PipelineError
from mithril.pipeline.outputs import writer_at
from mithril.pipeline.stages import Sink

_COPY_BYTES = 1 << 20
_SPOOL_BYTES = 8 << 20
# The names that safetensors has for types of numpy.
_TYPES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "float16": "F16", "uint32": "U32",
    "int32": "I32", "float32": "F32", "uint64": "U64", "int64": "I64", "float64": "F64", "bfloat16": "BF16",
}  # fmt: skip


@dataclass(slots=True)
class _Rows:
    """Arrays of one shape and type, one after the other, in a temporary file."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    count: int = 0
    held: int = 0
    """Bytes in memory."""
    on_disk: bool = False
    file: "tempfile.SpooledTemporaryFile[bytes]" = field(
        default_factory=lambda: tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115
    )

    def append(self, array: NDArray[Any], where: str) -> None:
        """Appends rows."""
        if array.shape[1:] != self.shape or array.dtype != self.dtype:
            raise PipelineError(
                f"{where}: rows of {array.dtype}, shape {array.shape[1:]}, follow ones of {self.dtype}, {self.shape}"
            )
        self.count += len(array)
        self.held += self.file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        if self.on_disk or self.held > _SPOOL_BYTES:
            # Here the file has gone to the disk by itself.
            self.on_disk, self.held = True, 0

    def spill(self) -> None:
        """Holds nothing in memory."""
        if not self.on_disk:
            self.file.rollover()
            self.on_disk, self.held = True, 0

    def parts(self) -> Iterable[bytes]:
        """The bytes of all rows."""
        self.file.seek(0)
        while part := self.file.read(_COPY_BYTES):
            yield part


def _rows_of(value: Any, where: str) -> NDArray[Any]:
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise PipelineError(f"{where}: {type(value).__name__} is no array of numbers")
    return array


class NumpySink(Sink):
    """A sink that writes arrays as one .npy file. Elements are rows; with `batches` they are arrays of rows."""

    def __init__(self, url: str | Path, *, batches: bool = False) -> None:
        self._url = str(url)
        self._batches = batches
        self._output = writer_at(url)
        self._rows: _Rows | None = None

    def consume(self, value: Any) -> None:
        """Takes a row, or an array of rows."""
        array = _rows_of(value, self._url)
        array = array if self._batches and array.ndim else array[None]
        if self._rows is None:
            self._rows = _Rows(array.shape[1:], array.dtype)
        self._rows.append(array, self._url)

    def flush(self) -> None:
        """Writes the file."""
        rows = self._rows or _Rows((), np.dtype(np.float64))
        header = io.BytesIO()
        shape = (rows.count, *rows.shape)
        described = np.lib.format.dtype_to_descr(rows.dtype)
        np.lib.format.write_array_header_1_0(header, {"descr": described, "fortran_order": False, "shape": shape})
        self._output.write(header.getvalue())
        for part in rows.parts():
            self._output.write(part)
        rows.file.close()
        self._output.commit()

    def memory_usage(self) -> int:
        """The bytes of rows that are not on the disk."""
        return 0 if self._rows is None else self._rows.held

    def shrink(self) -> None:
        """Moves rows to the disk."""
        if self._rows is not None:
            self._rows.spill()

    def abort(self) -> None:
        """Drops the output."""
        if self._rows is not None:
            self._rows.file.close()
        self._output.abort()


class SafetensorsSink(Sink):
    """A sink that writes dictionaries of arrays as one safetensors file: one tensor a name, with a row an element.

    With `batches` the elements are batches, whose arrays hold many rows.
    """

    def __init__(self, url: str | Path, *, batches: bool = False, metadata: Mapping[str, str] | None = None) -> None:
        self._url = str(url)
        self._batches = batches
        self._metadata = dict(metadata or {})
        self._output = writer_at(url)
        self._rows: dict[str, _Rows] = {}

    def consume(self, value: Any) -> None:
        """Takes a dictionary of arrays."""
        if not isinstance(value, Mapping):
            raise PipelineError(f"{self._url}: tensors have names; give dictionaries, not {type(value).__name__}")
        if self._rows and set(value) != set(self._rows):
            raise PipelineError(f"{self._url}: {sorted(map(str, value))} follows {sorted(self._rows)}")
        for name, part in value.items():
            where = f"{self._url}: {name}"
            array = _rows_of(part, where)
            array = array if self._batches and array.ndim else array[None]
            if array.dtype.name not in _TYPES:
                raise PipelineError(f"{where}: safetensors has no {array.dtype}")
            if name not in self._rows:
                self._rows[name] = _Rows(array.shape[1:], array.dtype)
            self._rows[name].append(array, where)

    def flush(self) -> None:
        """Writes the file."""
        header: dict[str, Any] = {"__metadata__": self._metadata} if self._metadata else {}
        at = 0
        for name, rows in self._rows.items():
            shape = [rows.count, *rows.shape]
            size = int(np.prod(shape)) * rows.dtype.itemsize
            header[name] = {"dtype": _TYPES[rows.dtype.name], "shape": shape, "data_offsets": [at, at + size]}
            at += size
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self._output.write(len(text).to_bytes(8, "little") + text)
        for rows in self._rows.values():
            for part in rows.parts():
                self._output.write(part)
            rows.file.close()
        self._output.commit()

    def memory_usage(self) -> int:
        """The bytes of rows that are not on the disk."""
        return sum(rows.held for rows in self._rows.values())

    def shrink(self) -> None:
        """Moves rows to the disk."""
        for rows in self._rows.values():
            rows.spill()

    def abort(self) -> None:
        """Drops the output."""
        for rows in self._rows.values():
            rows.file.close()
        self._output.abort()
