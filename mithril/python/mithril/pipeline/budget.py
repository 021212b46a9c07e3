"""The memory budget: what samples take, each buffer counted once, within one limit."""

import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_DEPTH_MAX = 8
_BOX_BYTES = 64


@dataclass(slots=True)
class Hold:
    """The memory of one sample: bytes of its own, and the buffers that it may share with others."""

    own: int
    buffers: tuple[tuple[int, int], ...] = ()
    """Address or identity of each buffer, and its size."""
    owners: tuple[object, ...] = ()
    """The objects that keep the buffers alive, so that no other gets their addresses while they count."""

    @property
    def size(self) -> int:
        """The bytes, as if nothing was shared."""
        if len(self.buffers) < 2:
            return self.own + (self.buffers[0][1] if self.buffers else 0)
        return self.own + sum(size for _, size in set(self.buffers))

    @staticmethod
    def joined(holds: Iterable["Hold"]) -> "Hold":
        """The memory of several samples in one."""
        own = 0
        buffers: list[tuple[int, int]] = []
        owners: list[object] = []
        for hold in holds:
            own += hold.own
            buffers.extend(hold.buffers)
            owners.extend(hold.owners)
        return Hold(own, tuple(buffers), tuple(owners))


def measure(value: Any) -> Hold:
    """The memory that a value keeps alive: views count as the whole buffer that they are of."""
    kind = type(value)
    if kind in _PLAIN:
        return Hold(sys.getsizeof(value))
    if kind is np.ndarray and value.base is None and value.dtype.char != "O":
        return Hold(_BOX_BYTES, ((id(value), value.nbytes),), (value,))
    buffers: _Buffers = {}
    own = _collect(value, buffers, 0)
    return Hold(own, tuple(buffers), tuple(buffers.values()))


def has_fixed_size(value: Any) -> bool:
    """True for a value whose memory no function can change."""
    kind = type(value)
    return kind in _PLAIN or (kind is np.ndarray and value.dtype.char != "O")


class Pending:
    """Values that a sink holds until it writes them, each buffer counted once."""

    def __init__(self) -> None:
        self.size = 0
        self._buffers: set[tuple[int, int]] = set()

    def add(self, value: Any) -> None:
        """Counts a value."""
        hold = measure(value)
        self.size += hold.own
        for buffer in hold.buffers:
            if buffer not in self._buffers:
                self._buffers.add(buffer)
                self.size += buffer[1]

    def clear(self) -> None:
        """Forgets all values."""
        self.size = 0
        self._buffers.clear()


_Buffers = dict[tuple[int, int], object]
"""The owner of each buffer, by its address or identity, and its size."""

_PLAIN = frozenset({int, float, bool, str, bytes, complex, type(None)})


def _collect(value: Any, buffers: _Buffers, depth: int) -> int:
    """The bytes of a value itself; buffers go into the dictionary."""
    if type(value) in _PLAIN:
        return sys.getsizeof(value)
    if isinstance(value, np.ndarray):
        return _array(value, buffers, depth)
    if isinstance(value, Mapping) and depth < _DEPTH_MAX:
        return sys.getsizeof(value) + sum(_collect(part, buffers, depth + 1) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set | frozenset) and depth < _DEPTH_MAX:
        return sys.getsizeof(value) + sum(_collect(part, buffers, depth + 1) for part in value)
    return _foreign(value, buffers, depth)


def _array(value: np.ndarray[Any, Any], buffers: _Buffers, depth: int) -> int:
    root: Any = value
    while isinstance(root.base, np.ndarray):
        root = root.base
    if root.base is not None and not isinstance(root.base, memoryview):
        return _BOX_BYTES + _collect(root.base, buffers, depth + 1)
    buffers[id(root), root.nbytes] = root
    if root.dtype.char == "O" and depth < _DEPTH_MAX:
        return _BOX_BYTES + sum(_collect(part, buffers, depth + 1) for part in value.flat)
    return _BOX_BYTES


def _foreign(value: Any, buffers: _Buffers, depth: int) -> int:
    """Arrow data, torch tensors, images and other objects, by what they say of themselves."""
    if isinstance(value, memoryview) and depth < _DEPTH_MAX:
        return _BOX_BYTES + _collect(value.obj, buffers, depth + 1)
    if parts := _dense_parts(value):
        return _BOX_BYTES + sum(_collect(part, buffers, depth + 1) for part in parts)
    if (storage := getattr(value, "untyped_storage", None)) is not None:
        found = storage()
        buffers[found.data_ptr(), found.nbytes()] = found
        return _BOX_BYTES
    if (total := getattr(value, "get_total_buffer_size", None)) is not None:
        buffers[_arrow_address(value), total()] = value
        return _BOX_BYTES
    if hasattr(value, "getbands"):
        return int(value.width * value.height * len(value.getbands())) + _BOX_BYTES
    return sys.getsizeof(value)


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


class Budget:
    """The account of one run. Bytes are reserved before work starts, and become holds of its samples.

    `used` is what is reserved and held, with each buffer counted once however many samples share it.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.allowed = limit
        """What may be reserved: less than the limit while the machine is short of memory."""
        self.used = 0
        self.peak = 0
        self.overruns = 0
        """How often the limit was passed: by a sample that ran alone, or by what a stage keeps."""
        self.kept = 0
        """The part of `used` that stages keep between chunks."""
        self._kept: dict[object, int] = {}
        self._counts: dict[tuple[int, int], int] = {}
        self._lock = threading.Lock()

    def allow(self, size: int) -> None:
        """Changes what may be reserved."""
        with self._lock:
            self.allowed = size

    def reserve(self, size: int, leave: int = 0) -> bool:
        """Takes so many bytes, if they are free and enough is left."""
        with self._lock:
            if self.used + size + leave > self.allowed:
                return False
            self._grow(size)
            return True

    def give_back(self, size: int) -> None:
        """Frees bytes that were reserved."""
        with self._lock:
            self.used -= size

    def hold(self, holds: list[Hold], reserved: int, over: bool = False) -> int | None:
        """Turns reserved bytes into holds, and gives what is left of them; nothing where that passes the limit.

        With `over`, the limit may be passed, which is counted.
        """
        with self._lock:
            needed = self._count(holds)
            extra = max(needed - reserved, 0)
            if self.used + extra > self.limit:
                if not over:
                    self._uncount(holds)
                    return None
                self.overruns += 1
            self._grow(extra)
            return max(reserved - needed, 0)

    def keep(self, owner: object, size: int, reserved: int = 0, freed: Iterable[Hold] = ()) -> int:
        """Accounts for what a stage keeps between chunks, in the place of what it kept before and of what it freed.

        Takes reserved bytes first, and gives what is left of them. What is there cannot be refused: passing the limit
        is counted.
        """
        with self._lock:
            self.used -= self._uncount(freed)
            growth = size - self._kept.get(owner, 0)
            self._kept[owner] = size
            self.kept += growth
            extra = growth - min(max(growth, 0), reserved)
            if extra > 0 and self.used + extra > self.limit:
                self.overruns += 1
            self._grow(extra)
            return reserved - (growth - extra)

    def release(self, holds: Iterable[Hold]) -> None:
        """Frees what samples held."""
        with self._lock:
            self.used -= self._uncount(holds)

    def _grow(self, size: int) -> None:
        self.used += size
        self.peak = max(self.peak, self.used)

    def _count(self, holds: Iterable[Hold]) -> int:
        total = 0
        counts = self._counts
        for hold in holds:
            total += hold.own
            for buffer in hold.buffers:
                found = counts.get(buffer, 0)
                counts[buffer] = found + 1
                if not found:
                    total += buffer[1]
        return total

    def _uncount(self, holds: Iterable[Hold]) -> int:
        total = 0
        counts = self._counts
        for hold in holds:
            total += hold.own
            for buffer in hold.buffers:
                left = counts[buffer] - 1
                if left:
                    counts[buffer] = left
                else:
                    del counts[buffer]
                    total += buffer[1]
        return total
