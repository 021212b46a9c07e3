"""Values in files whose damage is noticed: each block has a checksum, which is looked at when the block is first read.

The checksums of a folder are in one file, after which nobody need read a block that holds none of what is looked for.
"""

import os
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from mithril.core.errors import DamagedError
from mithril.dedup.chunks import Integers

Values = npt.NDArray[np.generic]

CHECKS = "checks"
# A page: a question that needs one value reads no more than the system does.
BLOCK_BYTES = 4096
SUM_BYTES = 8
_SIZE = struct.Struct("<Q")


def checksum(data: bytes | memoryview) -> bytes:
    """The checksum of a block."""
    return blake3(data).digest()[:SUM_BYTES]


class CheckedValues:
    """The values of a file. Raises DamagedError where a block that is read is not what was written."""

    def __init__(self, path: Path, kind: npt.DTypeLike, sums: bytes, firsts: bytes) -> None:
        self._path = path
        kind = np.dtype(kind)
        # There is nothing to map in an empty file.
        self._values: Values = np.memmap(path, kind, "r") if path.stat().st_size else np.zeros(0, kind)
        self._rows = BLOCK_BYTES // kind.itemsize
        self._sums = sums
        self._firsts = np.frombuffer(firsts, kind)
        self._checked = np.zeros(len(sums) // SUM_BYTES, np.bool_)

    def __len__(self) -> int:
        return len(self._values)

    def whole(self) -> Values:
        """All values."""
        self._check(np.arange(len(self._checked)))
        return self._values

    def at(self, places: Integers) -> Values:
        """The values at some places."""
        self._check(places // self._rows)
        return self._values[places]

    def places(self, keys: Values) -> Integers:
        """The places of keys in values that are in order, each once; -1 for those that are not there."""
        blocks = np.searchsorted(self._firsts, keys, side="right") - 1
        found = np.full(len(keys), -1, np.int64)
        inside = np.flatnonzero(blocks >= 0)
        if not len(inside):
            return found
        blocks, keys = blocks[inside], keys[inside]
        self._check(blocks)
        low = blocks * self._rows
        high = np.minimum(low + self._rows, len(self._values)) - 1
        # The first key of a block is not above the key: the last one that is not lies between the two.
        while (low < high).any():
            middle = (low + high + 1) // 2
            above = self._values[middle] > keys
            low, high = np.where(above, low, middle), np.where(above, middle - 1, high)
        found[inside] = np.where(self._values[low] == keys, low, -1)
        return found

    def _check(self, blocks: Integers) -> None:
        wanted = np.zeros(len(self._checked), np.bool_)
        wanted[blocks] = True
        data = self._values.view(np.uint8).data if len(self._values) else memoryview(b"")
        for block in np.flatnonzero(wanted & ~self._checked).tolist():
            expected = self._sums[block * SUM_BYTES : (block + 1) * SUM_BYTES]
            if checksum(data[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]) != expected:
                raise DamagedError(f"block {block} is not what was written; make the index again", str(self._path))
            self._checked[block] = True


def write_checked(folder: Path, files: Mapping[str, Values], ordered: frozenset[str]) -> None:
    """Writes files of values, and their checksums; of those in order also the first value of each block."""
    checks = bytearray()
    for name, values in files.items():
        data = np.ascontiguousarray(values).view(np.uint8).reshape(-1).data
        _write(folder / name, data)
        checks += _SIZE.pack(len(data))
        for start in range(0, len(data), BLOCK_BYTES):
            checks += checksum(data[start : start + BLOCK_BYTES])
        if name in ordered:
            checks += np.ascontiguousarray(values[:: BLOCK_BYTES // values.itemsize]).view(np.uint8).data
    _write(folder / CHECKS, checks + checksum(bytes(checks)))


def open_checked(folder: Path, kinds: Mapping[str, npt.DTypeLike], ordered: frozenset[str]) -> list[CheckedValues]:
    """The values of the files that `write_checked` wrote. Raises DamagedError where they have another length."""
    checks = (folder / CHECKS).read_bytes()
    if checksum(checks[:-SUM_BYTES]) != checks[-SUM_BYTES:]:
        raise DamagedError("the checksums are not what was written; make the index again", str(folder / CHECKS))
    opened, at = [], 0
    for name, kind in kinds.items():
        (size,) = _SIZE.unpack_from(checks, at)
        at += _SIZE.size
        if (folder / name).stat().st_size != size:
            raise DamagedError(f"{name} does not have the length that it was written with", str(folder))
        blocks = -(-size // BLOCK_BYTES)
        ends = [at + blocks * SUM_BYTES]
        ends.append(ends[0] + (blocks * np.dtype(kind).itemsize if name in ordered else 0))
        opened.append(CheckedValues(folder / name, kind, checks[at : ends[0]], checks[ends[0] : ends[1]]))
        at = ends[1]
    if at != len(checks) - SUM_BYTES:
        raise DamagedError("the checksums are of other files", str(folder / CHECKS))
    return opened


def _write(path: Path, data: bytes | bytearray | memoryview) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
