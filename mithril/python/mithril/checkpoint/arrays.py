"""Tensors of torch, numpy and jax as bytes, a part at a time."""

import importlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np

from mithril.checkpoint import dtypes
from mithril.checkpoint.dtypes import DType
from mithril.core.errors import MithrilError

Kind = Literal["torch", "numpy", "jax", "bytes"]
KINDS: tuple[Kind, ...] = ("torch", "numpy", "jax", "bytes")


@dataclass(frozen=True, slots=True)
class Array:
    """A tensor to be stored. Its bytes are taken a part at a time, so that a copy is never larger than a part."""

    kind: Kind
    dtype: DType
    shape: tuple[int, ...]
    value: Any

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return prod(self.shape) * self.dtype.width

    def part(self, start: int, end: int) -> memoryview:
        """The bytes from `start` to `end` of the elements in row-major order; both are multiples of the width."""
        if start == end:
            return memoryview(b"")
        if self.kind == "torch":
            return _torch_part(self.value, self.dtype.width, start, end)
        if self.kind == "jax":
            flat = np.asarray(self.value.reshape(-1)[start // self.dtype.width : end // self.dtype.width])
            return _bytes_of(flat)
        return _numpy_part(self.value, start, end)

    def release(self, start: int) -> None:
        """Tells that the part at `start` will not be asked for again."""


def array_of(value: Any, where: str) -> Array | None:
    """The array of a tensor of any framework, or nothing for another value. `where` is for errors."""
    if isinstance(value, bytes | bytearray | memoryview):
        view = memoryview(value).cast("B")
        return Array("bytes", dtypes.by_name("uint8"), (len(view),), np.frombuffer(view, np.uint8))
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        return Array("numpy", _checked(array.dtype.name, where), array.shape, array)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _torch_array(torch, value, where)
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(value, jax.Array):
        if not value.is_fully_addressable:
            raise MithrilError(f"{where}: this array is spread over hosts; save it through Orbax")
        return Array("jax", _checked(value.dtype.name, where), tuple(value.shape), value)
    return None


def _checked(name: str, where: str) -> DType:
    try:
        return dtypes.by_name(name)
    except MithrilError as error:
        raise MithrilError(f"{where}: {error}") from None


def _torch_array(torch: Any, value: Any, where: str) -> Array:
    if hasattr(value, "device_mesh"):
        raise MithrilError(f"{where}: this is a sharded tensor (DTensor); save it with torch.distributed.checkpoint")
    if value.layout != torch.strided or value.is_quantized or value.device.type == "meta":
        raise MithrilError(f"{where}: sparse, quantized and meta tensors cannot be stored; make it dense first")
    value = value.detach()
    if value.is_conj() or value.is_neg():
        value = value.resolve_conj().resolve_neg()
    return Array("torch", _checked(str(value.dtype).removeprefix("torch."), where), tuple(value.shape), value)


def torch_bytes(tensor: Any) -> memoryview:
    """The memory of a contiguous torch tensor on the CPU."""
    torch = importlib.import_module("torch")
    flat = tensor.reshape(-1)
    if flat.is_complex():
        flat = torch.view_as_real(flat).reshape(-1)
    if flat.stride(-1) != 1:
        # A single element is contiguous whatever its stride, but not for `view`.
        flat = flat.as_strided(flat.shape, (1,))
    return memoryview(flat.view(torch.uint8).numpy())


def _torch_part(tensor: Any, width: int, start: int, end: int) -> memoryview:
    first, last = start // width, end // width
    if tensor.is_contiguous():
        return torch_bytes(tensor.view(-1)[first:last].cpu())
    parts = [rows.cpu().contiguous().view(-1)[low:high] for rows, low, high in _pieces(tensor, first, last)]
    return torch_bytes(parts[0] if len(parts) == 1 else importlib.import_module("torch").cat(parts))


def _pieces(tensor: Any, first: int, last: int) -> Iterator[tuple[Any, int, int]]:
    """Views that hold the elements from `first` to `last`, none much larger, and which elements of each that are."""
    row = prod(tensor.shape[1:])
    low, high = first // row, -(-last // row)
    if tensor.ndim == 1 or row <= last - first or high - low > 2:
        yield tensor[low:high], first - low * row, last - low * row
        return
    for index in range(low, high):
        yield from _pieces(tensor[index], max(first - index * row, 0), min(last - index * row, row))


def _bytes_of(flat: np.ndarray[Any, Any]) -> memoryview:
    # numpy's stubs do not declare the buffer protocol for Python 3.11.
    return flat.view(np.uint8).data


def _numpy_part(array: np.ndarray[Any, Any], start: int, end: int) -> memoryview:
    width = array.dtype.itemsize
    first, last = start // width, end // width
    if array.flags.c_contiguous:
        return _bytes_of(array.reshape(-1)[first:last])
    parts = [np.ascontiguousarray(rows).reshape(-1)[low:high] for rows, low, high in _pieces(array, first, last)]
    return _bytes_of(parts[0] if len(parts) == 1 else np.concatenate(parts))


def empty(kind: Kind, dtype: DType, shape: Sequence[int]) -> tuple[Any, memoryview]:
    """A new tensor on the host, and its memory to be filled in."""
    if kind == "torch":
        torch = importlib.import_module("torch")
        tensor = torch.empty(tuple(shape), dtype=dtypes.to_torch(dtype))
        return tensor, torch_bytes(tensor)
    array = np.empty(tuple(shape), dtypes.to_numpy(dtype))
    return array, _bytes_of(array.reshape(-1))


def finished(kind: Kind, value: Any) -> Any:
    """The tensor that a reader gets for a filled one."""
    if kind == "jax":
        return importlib.import_module("jax.numpy").asarray(value)
    if kind == "bytes":
        return value.tobytes()
    return value


def memory_of(value: Any) -> memoryview | None:
    """The memory of a tensor that can be filled in place, or nothing where it is elsewhere or not contiguous."""
    if isinstance(value, np.ndarray):
        usable = value.flags.c_contiguous and value.flags.writeable
        return _bytes_of(value.reshape(-1)) if usable else None
    if value.device.type != "cpu" or not value.is_contiguous():
        return None
    return torch_bytes(value.detach())


def copy_into(target: Any, source: Any) -> None:
    """Copies a whole tensor into another one, wherever that is."""
    if isinstance(target, np.ndarray):
        target[...] = source
    else:
        target.detach().copy_(source)
