"""The memory that values take, and the buffers that they share."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from sys import getsizeof
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DEPTH_MAX = 8
BOX_BYTES = 64
"""What an array takes beside its buffer."""

_PLAIN = frozenset({int, float, bool, str, bytes, complex, type(None)})
_INTEGERS = frozenset({int})
_HEADER_BYTES = getsizeof([]) - [].__sizeof__()
_Buffers: TypeAlias = dict[Hashable, tuple[int, object]]
"""The size and the owner of each buffer, by its address or identity."""


@dataclass(frozen=True, slots=True)
class Shares:
    """The memory of a sample that looks at buffers: bytes of its own, and these."""

    own: int
    buffers: tuple[tuple[Hashable, int], ...] = ()
    """Address or identity of each buffer, and its size."""
    owners: tuple[object, ...] = ()
    """The objects that keep the buffers alive, so that no other gets their addresses while they count."""


Hold: TypeAlias = "int | NDArray[Any] | Shares | tuple[Hold, ...]"
"""The memory of a sample: bytes of its own, an array with a buffer of its own, a look at buffers, or all of its parts.

Numbers and arrays stand for themselves, as an object more for each sample costs more than all else.
"""


def measure(value: Any) -> Hold:
    """The memory that a value keeps alive: views count as the whole buffer that they are of."""
    kind = type(value)
    if kind in _PLAIN:
        return int(value.__sizeof__())
    if kind is np.ndarray and value.base is None and value.dtype.char != "O":
        return value  # type: ignore[no-any-return]
    if kind is dict or kind is list or kind is tuple:
        parts = [*value, *value.values()] if kind is dict else value
        if _PLAIN.issuperset(map(type, parts)):
            # The method itself, as getsizeof, which adds the header of the collector, takes several times as long.
            own: int = sum([part.__sizeof__() for part in parts], value.__sizeof__() + _HEADER_BYTES)
            return own
    buffers: _Buffers = {}
    own = _collect(value, buffers, 0)
    return _shares(own, buffers) if buffers else own


def has_fixed_size(value: Any) -> bool:
    """True for a value whose memory no function can change."""
    kind = type(value)
    return kind in _PLAIN or (kind is np.ndarray and value.dtype.char != "O")


def joined(holds: Iterable[Hold]) -> Hold:
    """The memory of several samples in one."""
    parts = tuple(holds)
    return sum(parts) if set(map(type, parts)) <= _INTEGERS else parts  # type: ignore[arg-type]


def size_of(hold: Hold) -> int:
    """The bytes, with each buffer once, as if no other sample had it."""
    if type(hold) is int:
        return hold
    buffers: _Buffers = {}
    return _spread(hold, buffers) + sum(size for size, _ in buffers.values())


def size_of_all(holds: Sequence[Hold]) -> int:
    """The bytes of several samples, with each buffer once."""
    return size_of(joined(holds))


def without_own(hold: Hold) -> Hold:
    """The buffers alone, for a sample that is another look at them."""
    buffers: _Buffers = {}
    _spread(hold, buffers)
    return _shares(0, buffers)


class Pending:
    """Values that a sink holds until it writes them, each buffer counted once."""

    def __init__(self) -> None:
        self.size = 0
        self._buffers: _Buffers = {}

    def add(self, value: Any) -> None:
        """Counts a value."""
        buffers: _Buffers = {}
        self.size += _spread(measure(value), buffers)
        for key, buffer in buffers.items():
            if key not in self._buffers:
                self._buffers[key] = buffer
                self.size += buffer[0]

    def clear(self) -> None:
        """Forgets all values."""
        self.size = 0
        self._buffers.clear()


def _shares(own: int, buffers: _Buffers) -> Shares:
    sizes = tuple((key, size) for key, (size, _) in buffers.items())
    return Shares(own, sizes, tuple(owner for _, owner in buffers.values()))


def _spread(hold: Hold, buffers: _Buffers) -> int:
    """The bytes of a sample itself; its buffers go into the dictionary."""
    if isinstance(hold, int):
        return hold
    if isinstance(hold, np.ndarray):
        buffers[id(hold)] = (hold.nbytes, hold)
        return BOX_BYTES
    if isinstance(hold, tuple):
        return sum(_spread(part, buffers) for part in hold)
    buffers.update((key, (size, owner)) for (key, size), owner in zip(hold.buffers, hold.owners, strict=True))
    return hold.own


def _collect(value: Any, buffers: _Buffers, depth: int) -> int:
    """The bytes of a value itself; buffers go into the dictionary."""
    if type(value) in _PLAIN:
        return getsizeof(value)
    if isinstance(value, np.ndarray):
        return _array(value, buffers, depth)
    if isinstance(value, Mapping) and depth < _DEPTH_MAX:
        return getsizeof(value) + sum(_collect(part, buffers, depth + 1) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set | frozenset) and depth < _DEPTH_MAX:
        return getsizeof(value) + sum(_collect(part, buffers, depth + 1) for part in value)
    return _foreign(value, buffers, depth)


def _array(value: np.ndarray[Any, Any], buffers: _Buffers, depth: int) -> int:
    root: Any = value
    while isinstance(root.base, np.ndarray):
        root = root.base
    if root.base is not None and not isinstance(root.base, memoryview):
        return BOX_BYTES + _collect(root.base, buffers, depth + 1)
    buffers[id(root)] = (root.nbytes, root)
    if root.dtype.char == "O" and depth < _DEPTH_MAX:
        return BOX_BYTES + sum(_collect(part, buffers, depth + 1) for part in value.flat)
    return BOX_BYTES


def _foreign(value: Any, buffers: _Buffers, depth: int) -> int:
    """Arrow data, torch tensors, images and other objects, by what they say of themselves."""
    if isinstance(value, memoryview) and depth < _DEPTH_MAX:
        return BOX_BYTES + _collect(value.obj, buffers, depth + 1)
    if parts := _dense_parts(value):
        return BOX_BYTES + sum(_collect(part, buffers, depth + 1) for part in parts)
    if (storage := getattr(value, "untyped_storage", None)) is not None:
        found = storage()
        buffers[found.data_ptr(), found.nbytes()] = (found.nbytes(), found)
        return BOX_BYTES
    if (total := getattr(value, "get_total_buffer_size", None)) is not None:
        buffers[_arrow_address(value), total()] = (total(), value)
        return BOX_BYTES
    if hasattr(value, "getbands"):
        return int(value.width * value.height * len(value.getbands())) + BOX_BYTES
    return getsizeof(value)


def _dense_parts(value: Any) -> list[Any]:
    """The tensors that a nested, sparse or compressed tensor of torch is made of; none for any other value."""
    if getattr(value, "is_nested", False):
        return [value.values(), value.offsets()] if hasattr(value, "offsets") else value.unbind()
    layout = str(getattr(value, "layout", ""))
    if layout in ("torch.sparse_csr", "torch.sparse_bsr"):
        return [value.crow_indices(), value.col_indices(), value.values()]
    if layout in ("torch.sparse_csc", "torch.sparse_bsc"):
        return [value.ccol_indices(), value.row_indices(), value.values()]
    return [value._indices(), value._values()] if layout == "torch.sparse_coo" else []  # noqa: SLF001 (as torch says)


def _arrow_address(value: Any) -> int:
    """The address of the first buffer, which slices of the same data share."""
    columns = value.columns if hasattr(value, "columns") else [value]
    for column in columns:
        for piece in getattr(column, "chunks", [column]):
            for buffer in piece.buffers():
                if buffer is not None and buffer.size:
                    return int(buffer.address)
    return id(value)
