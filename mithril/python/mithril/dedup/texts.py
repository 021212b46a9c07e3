"""Texts of pyarrow arrays as the kernels take them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mithril import _kernels
from mithril.dedup.chunks import Booleans, Integers

Place = tuple[memoryview, int, memoryview, int, int]
"""Offsets, their width, data, the first text and the number of texts."""

# Buffers of an Arrow array of strings.
_OFFSETS, _DATA = 1, 2
_EMPTY = bytes(8)
_NUMBER_BITS = (8, 16, 32, 64)


def is_text(kind: pa.DataType) -> bool:
    """True for strings and binary values with offsets."""
    types = pa.types
    return bool(
        types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind)
    )


def is_number(kind: pa.DataType) -> bool:
    """True for numbers and times of whole bytes, such as numpy has unsigned integers for."""
    types = pa.types
    is_one = types.is_integer(kind) or types.is_floating(kind) or types.is_temporal(kind)
    return bool(is_one and kind.bit_width in _NUMBER_BITS)


def joined(pieces: Sequence[Any]) -> Any:
    """Texts in one array."""
    if len(pieces) == 1:
        return pieces[0]
    # Together they may pass the 2 GB that short offsets reach.
    wide = pa.large_string() if any(pa.types.is_string(piece.type) for piece in pieces) else pa.large_binary()
    return pa.concat_arrays([piece.cast(wide) for piece in pieces]) if pieces else pa.array([], wide)


def place_of(texts: Any) -> Place:
    """The place of all texts of an array."""
    wide = str(texts.type).startswith("large_")
    buffers = texts.buffers()
    offsets, data = (memoryview(buffers[index] or _EMPTY).cast("B") for index in (_OFFSETS, _DATA))
    return offsets, 8 if wide else 4, data, texts.offset, len(texts)


def lengths_of(place: Place) -> npt.NDArray[np.uint32]:
    """The bytes of each text."""
    offsets, width, _, first, count = place
    if not count:
        return np.zeros(0, np.uint32)
    return np.diff(np.frombuffer(offsets, f"<i{width}")[first : first + count + 1]).astype(np.uint32)


def bytes_of(place: Place) -> memoryview:
    """The bytes of all texts, one after the other."""
    offsets, width, data, first, count = place
    if not count:
        return memoryview(b"")
    bounds = np.frombuffer(offsets, f"<i{width}")
    return data[int(bounds[first]) : int(bounds[first + count])]


def kept_texts(texts: Any, kept: Booleans) -> Any:
    """The texts that are kept. Arrow's own filter lets its memory grow step by step, and touches half as much again."""
    offsets, data = _kernels.keep_texts(place_of(texts), np.ascontiguousarray(kept).view(np.uint8).data)
    count = int(np.count_nonzero(kept))
    buffers = [_present(texts, kept), pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(texts.type, count, buffers)


def kept_numbers(values: Any, kept: Booleans) -> Any:
    """The values of a fixed width that are kept, by numpy: what Arrow computes with takes 20 ms to be imported."""
    part = slice(values.offset, values.offset + len(values))
    data = np.frombuffer(values.buffers()[_OFFSETS], f"u{values.type.byte_width}")[part][kept]
    return pa.Array.from_buffers(values.type, len(data), [_present(values, kept), pa.py_buffer(data)])


def _present(values: Any, kept: Booleans) -> Any:
    """The validity of the values that are kept; None where all are there."""
    if not values.null_count:
        return None
    bits = np.packbits(np.asarray(values.is_valid())[kept], bitorder="little")
    return pa.py_buffer(bits.tobytes())


def validity(texts: Any) -> Any:
    """The validity of texts as a buffer that begins with the first of them; None where all are there."""
    if not texts.null_count:
        return None
    return pa.py_buffer(np.packbits(np.asarray(texts.is_valid()), bitorder="little").tobytes())


def mask(values: Booleans) -> Any:
    """Booleans as a pyarrow array. pyarrow's own way from numpy imports pandas where it is installed, for nothing."""
    packed = np.packbits(values, bitorder="little").tobytes()
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(packed)])


def numbers(values: Integers) -> Any:
    """Numbers as a pyarrow array, likewise."""
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values.astype(np.int64).tobytes())])
