"""What can be filled."""

import array
import ctypes
import mmap
from typing import Any

import numpy as np
import pytest

from yggdrasil.client.memory import readable_bytes, writable_bytes


@pytest.mark.parametrize(
    "buffer",
    [
        bytearray(48),
        memoryview(bytearray(50))[1:49],
        array.array("d", [0.0] * 6),
        (ctypes.c_int * 12)(),
        mmap.mmap(-1, 48),
        np.zeros((2, 3)),
        np.zeros((2, 12), dtype=np.float16),
        np.zeros(3, dtype=np.complex128),
        np.zeros(6, dtype=">i8"),
        np.zeros(4, dtype=[("O", "i4"), ("b", "f8")]),
        np.zeros(6, dtype="datetime64[s]"),
        np.zeros((2, 1, 3))[:, :, :],
    ],
    ids=lambda buffer: str(getattr(buffer, "dtype", type(buffer).__name__)),
)
def test_its_memory_is_shared(buffer: Any) -> None:
    with writable_bytes(buffer) as view:
        assert (view.nbytes, view.format, view.ndim) == (48, "B", 1)
        view[:] = bytes(range(48))
    assert (buffer.tobytes() if hasattr(buffer, "tobytes") else bytes(buffer)) == bytes(range(48))


@pytest.mark.parametrize("empty", [bytearray(), np.zeros(0), np.zeros((3, 0), dtype=">i8")])
def test_no_bytes_at_all(empty: Any) -> None:
    with writable_bytes(empty) as view:
        assert view.nbytes == 0


@pytest.mark.parametrize(
    ("buffer", "why"),
    [
        (b"bytes", "read-only"),
        (memoryview(b"bytes"), "read-only"),
        (np.broadcast_to(np.zeros(1), (4,)), "read-only"),
        (np.zeros((4, 4))[:, 1:3], "not contiguous"),
        (np.zeros((4, 4)).T[1:], "not contiguous"),
        ("text", "no memory to write to"),
        (None, "no memory to write to"),
        ([1, 2], "no memory to write to"),
        (np.empty(2, dtype=object), "Python objects"),
        (np.empty(2, dtype=[("number", "i4"), ("inner", [("object", "O")])]), "Python objects"),
        ((ctypes.py_object * 2)(), "Python objects"),
        (np.empty(2, dtype=np.dtypes.StringDType()), "Python objects"),
    ],
)
def test_what_cannot_be_filled(buffer: Any, why: str) -> None:
    with pytest.raises(TypeError, match=why):
        writable_bytes(buffer)


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    for dtype in (torch.float32, torch.bfloat16, torch.uint8):
        tensor = torch.zeros(4, 4, dtype=dtype)
        with writable_bytes(tensor) as view:
            assert view.nbytes == 16 * tensor.element_size()
            view[:] = bytes(view.nbytes - 1) + b"\1"
        assert tensor.view(torch.uint8).flatten()[-1] == 1
    with pytest.raises(TypeError, match="not contiguous"):
        writable_bytes(torch.zeros(4, 4).t()[1:])
    with pytest.raises(TypeError, match="on meta"):
        writable_bytes(torch.zeros(4, device="meta"))


class Tensor:
    """What a tensor has that the memory is found by."""

    class Device:
        type = "cpu"

        def __str__(self) -> str:
            return self.type

    device = Device()

    def __init__(self, memory: bytearray) -> None:
        self.memory = (ctypes.c_char * len(memory)).from_buffer(memory)

    def data_ptr(self) -> int:
        return ctypes.addressof(self.memory)

    def is_contiguous(self) -> bool:
        return True

    def element_size(self) -> int:
        return 2

    def numel(self) -> int:
        return len(self.memory) // 2


def test_memory_behind_a_pointer() -> None:
    memory = bytearray(16)
    with writable_bytes(Tensor(memory)) as view:
        view[:] = b"0123456789abcdef"
    assert memory == b"0123456789abcdef"


@pytest.mark.parametrize(
    "source",
    [
        bytes(range(48)),
        array.array("d", bytes(range(48))),
        np.arange(48, dtype="u1").reshape(6, 8),
        np.arange(96, dtype="u1")[:48],
        np.arange(96, dtype="u2").astype("u1")[:48].view("datetime64[s]"),
        Tensor(bytearray(range(48))),
    ],
    ids=lambda source: str(getattr(source, "dtype", type(source).__name__)),
)
def test_what_can_be_sent(source: Any) -> None:
    view = readable_bytes(source)
    assert view is not None
    assert view.tobytes() == bytes(range(48))


def test_what_is_sent_in_another_order_is_copied() -> None:
    view = readable_bytes(np.arange(20, dtype="u1")[::2])
    assert view is not None
    assert view.tobytes() == bytes(range(0, 20, 2))


@pytest.mark.parametrize("source", [None, 5, "text", [b"a"], {}])
def test_what_is_no_memory(source: Any) -> None:
    assert readable_bytes(source) is None


def test_objects_are_not_sent() -> None:
    with pytest.raises(TypeError, match="Python objects"):
        readable_bytes(np.array([object()]))
