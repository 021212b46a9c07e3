"""The memory of whatever a caller wants filled or sent, as bytes."""

import ctypes
from typing import Any

from yggdrasil._core import refers_to_objects

__all__ = ["readable_bytes", "writable_bytes"]


def writable_bytes(buffer: object) -> memoryview:
    """The memory of `buffer`, one-dimensional, format `B`, shared and not copied.

    Taken are objects with a writable, C-contiguous buffer (bytearray, memoryview, array, mmap, ctypes, numpy arrays of
    any shape and type), objects with `__array_interface__` (numpy arrays of types that the buffer protocol does not
    know), and tensors of torch in the memory of the CPU. The caller keeps the object alive.

    Raises TypeError where the memory cannot be written, is not contiguous, or refers to Python objects.
    """
    try:
        view = memoryview(buffer)  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        memory = _foreign_memory(buffer, writable=True)
        if memory is None:
            raise TypeError(
                f"{_name(buffer)} has no memory to write to; give a bytearray, mmap, numpy array or torch tensor"
            ) from None
        return memory
    with view:
        if view.readonly:
            raise _read_only(buffer)
        if not view.c_contiguous:
            raise _scattered(buffer)
        _check_format(buffer, view)
        try:
            return view.cast("B")
        except (TypeError, ValueError, NotImplementedError):
            # Not a simple format, or no bytes at all; ctypes does not ask for the format.
            return memoryview((ctypes.c_char * view.nbytes).from_buffer(view)).cast("B")


def readable_bytes(source: object) -> memoryview | None:
    """The bytes of one piece of data, as `writable_bytes` takes them, read-only ones too; None for what is no memory.

    Where a buffer is not contiguous it is a copy. TypeError for what refers to Python objects, and for arrays of other
    kinds and tensors that are not contiguous.
    """
    try:
        view = memoryview(source)  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        return _foreign_memory(source, writable=False)
    _check_format(source, view)
    try:
        return view.cast("B")
    except (TypeError, ValueError):
        # Not contiguous, or of a format that cast does not know.
        return memoryview(view.tobytes())


def _foreign_memory(buffer: Any, *, writable: bool) -> memoryview | None:
    interface = getattr(buffer, "__array_interface__", None)
    if interface is not None:
        address, readonly = interface["data"]
        if readonly and writable:
            raise _read_only(buffer)
        if interface.get("strides") is not None:
            raise _scattered(buffer)
        if getattr(buffer.dtype, "hasobject", False):
            raise _of_objects(buffer)
        return _at(address, buffer.nbytes)
    if all(hasattr(buffer, name) for name in ("data_ptr", "is_contiguous", "element_size", "numel", "device")):
        if buffer.device.type != "cpu":
            raise TypeError(f"the tensor is on {buffer.device}; give one in the memory of the CPU")
        if not buffer.is_contiguous():
            raise TypeError("the tensor is not contiguous; give a contiguous one")
        return _at(buffer.data_ptr(), buffer.numel() * buffer.element_size())
    return None


def _check_format(buffer: object, view: memoryview) -> None:
    if refers_to_objects(view.format):
        raise _of_objects(buffer)


def _read_only(buffer: object) -> TypeError:
    return TypeError(f"the memory of {_name(buffer)} is read-only; give a writable buffer")


def _scattered(buffer: object) -> TypeError:
    return TypeError(f"the memory of {_name(buffer)} is not contiguous; give a C-contiguous buffer")


def _of_objects(buffer: object) -> TypeError:
    # Pointers mean nothing elsewhere, and who writes over them crashes the process at their next use.
    return TypeError(f"the memory of {_name(buffer)} refers to Python objects; give an array of numbers or bytes")


def _at(address: int, size: int) -> memoryview:
    if size == 0:
        return memoryview(bytearray())
    return memoryview((ctypes.c_char * size).from_address(address)).cast("B")


def _name(buffer: object) -> str:
    kind = type(buffer)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
