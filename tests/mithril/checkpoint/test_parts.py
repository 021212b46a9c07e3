"""Parts of tensors: boxes in slabs, and the bytes of arrays however they lie in memory."""

from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mithril.checkpoint.arrays import array_of
from mithril.checkpoint.boxes import places, slabs


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), max_size=4), st.sampled_from([1, 4]), st.integers(1, 200)
)
def test_slabs_are_the_box_in_order_and_none_is_too_large(
    sides: list[tuple[int, int]], width: int, bytes_max: int
) -> None:
    box = tuple(sides)
    values = np.arange(prod(length for _, length in box)).reshape([length for _, length in box])
    found = list(slabs(box, width, bytes_max))
    taken = [values[places(slab, box)].reshape(-1) for slab in found]
    assert np.concatenate(taken).tolist() == values.reshape(-1).tolist()
    assert all(part.size * width <= max(bytes_max, width) for part in taken)
    # Neighbours go together where there is room for both.
    assert len(found) <= 1 + 2 * sum(part.size for part in taken) * width // min(bytes_max, 4 * width)


def strided(kind: str) -> list[Any]:
    """Arrays whose elements do not lie in row-major order."""
    flat = np.arange(2 * 3 * 4 * 5, dtype=np.float32)
    arrays = [
        flat.reshape(2, 60).T,
        flat.reshape(60, 2).T,
        flat.reshape(2, 3, 4, 5).transpose(3, 1, 0, 2),
        flat.reshape(10, 12)[::2, 1::3],
        flat[::7],
        flat.reshape(2, 3, 20)[:, :, ::2],
        flat.reshape(60, 2)[:1, 1],
    ]
    return arrays if kind == "numpy" else [torch.from_numpy(array) for array in arrays]


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize("size", [4, 12, 20, 68, 1000])
def test_the_parts_of_an_array_are_its_bytes(kind: str, size: int) -> None:
    for value in strided(kind):
        array = array_of(value, "x")
        assert array is not None
        parts = [bytes(array.part(at, min(at + size, array.nbytes))) for at in range(0, array.nbytes, size)]
        assert b"".join(parts) == np.ascontiguousarray(value).tobytes()
