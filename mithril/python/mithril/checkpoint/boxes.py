"""Boxes: the parts of tensors that slices, shards and readers are about."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mithril.core.errors import MithrilError

Box = tuple[tuple[int, int], ...]
"""Start and length of each dimension."""


def intersection(one: Box, other: Sequence[tuple[int, int]]) -> Box | None:
    """The box that two boxes share, or nothing."""
    shared = []
    for (start, length), (start_other, length_other) in zip(one, other, strict=True):
        low = max(start, start_other)
        high = min(start + length, start_other + length_other)
        if high <= low:
            return None
        shared.append((low, high - low))
    return tuple(shared)


def contiguous_runs(shape: Sequence[int], box: Box) -> tuple[npt.NDArray[np.int64], int]:
    """Where the runs of elements of a box begin in row-major order, and how long each is."""
    strides = [prod(shape[dimension + 1 :]) for dimension in range(len(shape))]
    # Dimensions from here on are taken whole, so that they are part of one run.
    inner = len(shape)
    while inner > 0 and box[inner - 1] == (0, shape[inner - 1]):
        inner -= 1
    if inner == 0:
        return np.zeros(1, np.int64), prod(shape)
    start, length = box[inner - 1]
    stride = strides[inner - 1]
    starts = np.zeros(1, np.int64)
    for dimension in range(inner - 1):
        low, count = box[dimension]
        steps = (np.arange(count, dtype=np.int64) + low) * strides[dimension]
        starts = (starts[:, None] + steps[None, :]).reshape(-1)
    return starts + start * stride, length * stride


def slabs(box: Box, width: int, bytes_max: int) -> Iterator[Box]:
    """The parts of a box in row-major order, each as many whole rows as `bytes_max` has room for."""
    if not box or prod(length for _, length in box) * width <= bytes_max:
        yield box
        return
    (start, length), rest = box[0], box[1:]
    rows = bytes_max // (prod(length for _, length in rest) * width)
    if rows == 0 and rest:
        for at in range(start, start + length):
            for inner in slabs(rest, width, bytes_max):
                yield ((at, 1), *inner)
        return
    rows = max(rows, 1)
    for at in range(start, start + length, rows):
        yield ((at, min(rows, start + length - at)), *rest)


def places(box: Box, within: Box) -> tuple[slice, ...]:
    """The index of a box in an array that holds a larger one."""
    return tuple(slice(start - at, start - at + length) for (start, length), (at, _) in zip(box, within, strict=True))


def normalised(shape: Sequence[int], index: Any) -> tuple[Box, set[int], tuple[int, ...]]:
    """The box of an index of slices, integers and an ellipsis; the dimensions it drops; the step of each dimension."""
    items = list(index) if isinstance(index, tuple) else [index]
    dots = [position for position, item in enumerate(items) if item is Ellipsis]
    if len(dots) > 1 or len(items) - len(dots) > len(shape):
        raise MithrilError(f"the index {index!r} does not fit the shape {list(shape)}")
    if dots:
        items[dots[0] : dots[0] + 1] = [slice(None)] * (len(shape) - len(items) + 1)
    items += [slice(None)] * (len(shape) - len(items))
    box, dropped, strides = [], set(), []
    for dimension, (item, size) in enumerate(zip(items, shape, strict=True)):
        if isinstance(item, slice):
            start, stop, step = item.indices(size)
            if step < 1:
                raise MithrilError(f"the index {index!r} goes backwards; steps are from 1")
            box.append((start, max(stop - start, 0)))
            strides.append(step)
        elif isinstance(item, int) and not isinstance(item, bool) and -size <= item < size:
            box.append((item % size, 1))
            dropped.add(dimension)
            strides.append(1)
        else:
            raise MithrilError(
                f"the index {index!r} does not fit the shape {list(shape)}; it has slices, integers and an ellipsis"
            )
    return tuple(box), dropped, tuple(strides)
