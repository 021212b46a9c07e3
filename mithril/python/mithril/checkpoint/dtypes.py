"""Types of tensors: their names here, in the kernels, in torch, numpy and safetensors."""

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from mithril.core.errors import MissingExtraError, MithrilError


@dataclass(frozen=True, slots=True)
class DType:
    """A type. `element` is what the kernels take it for, `width` the bytes of one value."""

    name: str
    element: str
    width: int
    safetensors: str | None = None


_ALL = (
    DType("bool", "u8", 1, "BOOL"),
    DType("uint8", "u8", 1, "U8"),
    DType("int8", "i8", 1, "I8"),
    DType("uint16", "u16", 2, "U16"),
    DType("int16", "i16", 2, "I16"),
    DType("uint32", "u32", 4, "U32"),
    DType("int32", "i32", 4, "I32"),
    DType("uint64", "u64", 8, "U64"),
    DType("int64", "i64", 8, "I64"),
    DType("float16", "f16", 2, "F16"),
    DType("bfloat16", "bf16", 2, "BF16"),
    DType("float32", "f32", 4, "F32"),
    DType("float64", "f64", 8, "F64"),
    DType("complex64", "f32", 8, "C64"),
    DType("complex128", "f64", 16),
    DType("float8_e4m3fn", "f8_e4m3", 1, "F8_E4M3"),
    DType("float8_e5m2", "f8_e5m2", 1, "F8_E5M2"),
    DType("float8_e4m3fnuz", "f8_e4m3", 1),
    DType("float8_e5m2fnuz", "f8_e5m2", 1),
    DType("float8_e8m0fnu", "u8", 1, "F8_E8M0"),
)
_BY_NAME = {dtype.name: dtype for dtype in _ALL}
_BY_SAFETENSORS = {dtype.safetensors: dtype for dtype in _ALL if dtype.safetensors}


def by_name(name: str) -> DType:
    """The type of a name such as float32."""
    if name not in _BY_NAME:
        raise MithrilError(f"tensors of type {name} cannot be stored; there are {', '.join(sorted(_BY_NAME))}")
    return _BY_NAME[name]


def by_safetensors(name: str) -> DType:
    """The type of a name such as BF16."""
    if name not in _BY_SAFETENSORS:
        raise MithrilError(f"the safetensors type {name} is not known; there are {', '.join(sorted(_BY_SAFETENSORS))}")
    return _BY_SAFETENSORS[name]


def of_torch(dtype: Any) -> DType:
    """The type of a torch dtype."""
    return by_name(str(dtype).removeprefix("torch."))


def to_torch(dtype: DType) -> Any:
    """The torch dtype of a type."""
    torch = importlib.import_module("torch")
    found = getattr(torch, dtype.name, None)
    if found is None:
        raise MithrilError(f"this torch ({torch.__version__}) has no type {dtype.name}; use a newer one")
    return found


def to_numpy(dtype: DType) -> np.dtype[Any]:
    """The numpy dtype of a type; those of eight and sixteen bits that numpy lacks come from ml_dtypes."""
    try:
        return np.dtype(dtype.name)
    except TypeError:
        try:
            module = importlib.import_module("ml_dtypes")
        except ImportError:
            raise MissingExtraError(f"a numpy array of type {dtype.name}", "ml_dtypes", "jax") from None
        found: np.dtype[Any] = np.dtype(getattr(module, dtype.name))
        return found
