"""Files in the safetensors format, plain or compressed.

A compressed file is one that every reader of safetensors opens: each tensor is a U8 blob under its own name, and what
it really is stands in `__metadata__` under `mithril.tensors`. A blob is the chunks of the tensor one after the other.
`open` reads both forms as `safetensors.safe_open` does.
"""

import json
import mmap
import os
import secrets
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import blake3

from mithril import _kernels
from mithril.checkpoint import arrays, dtypes
from mithril.checkpoint.arrays import Array, Kind, array_of
from mithril.checkpoint.boxes import contiguous_runs, normalised
from mithril.checkpoint.dtypes import DType
from mithril.checkpoint.manifest import chunk_sizes
from mithril.checkpoint.settings import CheckpointSettings
from mithril.core.config import load as load_config
from mithril.core.errors import DamagedError, MithrilError

TENSORS_KEY = "mithril.tensors"
HASH_KEY = "mithril.hash"
VERSION_KEY = "mithril.version"
VERSION = "1"
# As the stock reader has it.
_HEADER_BYTES_MAX = 100_000_000
_ALIGNMENT = 8
_FRAMEWORKS: dict[str, Kind] = {
    "pt": "torch", "torch": "torch", "pytorch": "torch", "np": "numpy", "numpy": "numpy", "jax": "jax", "flax": "jax",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Entry:
    """A tensor in a file: its bytes from `start` to `end`, and the chunks in them where it is compressed."""

    dtype: DType
    shape: tuple[int, ...]
    start: int
    end: int
    chunk_bytes: int | None = None
    block_bytes: int = 0
    lengths: tuple[int, ...] = ()

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * self.dtype.width


def save_file(
    tensors: Mapping[str, Any],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
    *,
    compressed: bool = True,
) -> int:
    """Writes tensors to a file, and gives its size. The file is whole or not there."""
    found = {}
    for name, value in tensors.items():
        array = array_of(value, name)
        if array is None or array.kind == "bytes":
            raise MithrilError(f"{name}: a {type(value).__name__} is no tensor")
        found[name] = array
    return _write(found, Path(path), dict(metadata or {}), compressed)


def _write(tensors: Mapping[str, Array], path: Path, metadata: dict[str, str], compressed: bool) -> int:
    settings = load_config(CheckpointSettings).settings
    for key in (TENSORS_KEY, HASH_KEY, VERSION_KEY):
        metadata.pop(key, None)
    # Wide types first, as the stock writer has it, so that all are aligned.
    names = sorted(tensors, key=lambda name: (-tensors[name].dtype.width, name))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("w+b") as file:
            if compressed:
                _write_compressed(file, names, tensors, metadata, settings)
            else:
                _write_plain(file, names, tensors, metadata, settings)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path.stat().st_size


def _head(header: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
    whole = {"__metadata__": dict(metadata), **header} if metadata else header
    text = json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    if len(text) > _HEADER_BYTES_MAX:
        raise MithrilError(f"the header would have {len(text)} bytes, and safetensors allows {_HEADER_BYTES_MAX}")
    return struct.pack("<Q", len(text)) + text


def _write_plain(
    file: Any, names: list[str], tensors: Mapping[str, Array], metadata: Mapping[str, str], settings: CheckpointSettings
) -> None:
    header: dict[str, Any] = {}
    offset = 0
    for name in names:
        array = tensors[name]
        if array.dtype.safetensors is None:
            raise MithrilError(f"{name}: safetensors has no type {array.dtype.name}; write a compressed file")
        end = offset + array.nbytes
        header[name] = {"dtype": array.dtype.safetensors, "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    file.write(_head(header, metadata))
    for name in names:
        start = 0
        for size in chunk_sizes(tensors[name].nbytes, settings.chunk_bytes):
            file.write(tensors[name].part(start, start + size))
            start += size


def _write_compressed(
    file: Any, names: list[str], tensors: Mapping[str, Array], metadata: dict[str, str], settings: CheckpointSettings
) -> None:
    """Blobs are written to the place where they belong once the length of the header is known: at its upper bound."""
    header: dict[str, Any] = {}
    described: dict[str, Any] = {}
    bound = _head_bound(names, tensors, metadata, settings)
    file.seek(bound)
    offset = 0
    for name in names:
        array = tensors[name]
        lengths = []
        start = 0
        for size in chunk_sizes(array.nbytes, settings.chunk_bytes):
            data = array.part(start, start + size)
            root, hashes = _kernels.fingerprint(array.dtype.element, settings.block_bytes, data)
            frame = _kernels.encode(array.dtype.element, settings.block_bytes, data, root, hashes)
            file.write(frame)
            lengths.append(len(frame))
            start += size
        end = offset + sum(lengths)
        header[name] = {"dtype": "U8", "shape": [end - offset], "data_offsets": [offset, end]}
        described[name] = [array.dtype.name, list(array.shape), settings.chunk_bytes, settings.block_bytes, lengths]
        offset = end
    text = _described_head(header, described, metadata)
    # The header may be padded with spaces, so what is before the blobs is filled up with them.
    file.seek(0)
    file.write(struct.pack("<Q", bound - 8) + text + b" " * (bound - 8 - len(text)))


def _described_head(header: Mapping[str, Any], described: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
    told = json.dumps(described, separators=(",", ":"), ensure_ascii=False)
    check = blake3.blake3(told.encode()).hexdigest()
    return _head(header, {**metadata, VERSION_KEY: VERSION, HASH_KEY: check, TENSORS_KEY: told})[8:]


def _head_bound(
    names: list[str], tensors: Mapping[str, Array], metadata: Mapping[str, str], settings: CheckpointSettings
) -> int:
    """The length of the header if no chunk could be shortened: numbers are never longer than these."""
    header: dict[str, Any] = {}
    described: dict[str, Any] = {}
    end = 0
    for name in names:
        array = tensors[name]
        lengths = [
            size + _kernels.header_bytes(settings.block_bytes, size)
            for size in chunk_sizes(array.nbytes, settings.chunk_bytes)
        ]
        start, end = end, end + sum(lengths)
        header[name] = {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end]}
        described[name] = [array.dtype.name, list(array.shape), settings.chunk_bytes, settings.block_bytes, lengths]
    return 8 + len(_described_head(header, described, metadata))


class SafeFile:
    """An open file, compressed or not, with the methods of `safetensors.safe_open`."""

    def __init__(self, path: str | os.PathLike[str], framework: str = "pt", device: str = "cpu") -> None:
        if framework not in _FRAMEWORKS:
            raise MithrilError(f"framework {framework!r}: there are {', '.join(sorted(_FRAMEWORKS))}")
        self._path = Path(path)
        self._kind = _FRAMEWORKS[framework]
        self._device = device
        with self._path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            self._map: mmap.mmap | bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        self._memory = memoryview(self._map)
        try:
            self._entries, self._metadata = _parse(self._memory, str(path))
        except BaseException:
            self.close()
            raise

    def keys(self) -> list[str]:
        """The names, sorted as the stock reader has them."""
        return sorted(self._entries)

    def offset_keys(self) -> list[str]:
        """The names in the order of the file."""
        return sorted(self._entries, key=lambda name: (self._entries[name].start, name))

    def metadata(self) -> dict[str, str] | None:
        """The strings that were given when the file was written."""
        return dict(self._metadata) or None

    def get_tensor(self, name: str) -> Any:
        """A tensor."""
        return self.get_slice(name)[...]

    def get_tensors(self, names: list[str]) -> dict[str, Any]:
        """Several tensors by name."""
        return {name: self.get_tensor(name) for name in names}

    def get_slice(self, name: str) -> "SafeSlice":
        """A tensor of which parts are read by indexing."""
        if name not in self._entries:
            raise MithrilError(f"{self._path}: there is no tensor {name!r}; `keys` has the names")
        return SafeSlice(self, name, self._entries[name])

    def read_into(self, name: str, entry: _Entry, start: int, target: memoryview) -> None:
        """Fills `target` with the bytes of a tensor from `start` on."""
        end = start + len(target)
        if entry.chunk_bytes is None:
            target[:] = self._memory[entry.start + start : entry.start + end]
            return
        position = entry.start
        for index, length in enumerate(entry.lengths):
            at = index * entry.chunk_bytes
            low, high = max(start, at), min(end, at + entry.chunk_bytes)
            if low < high:
                frame = self._memory[position : position + length]
                self._decode(name, entry, index, frame, low - at, target[low - start : high - start])
            position += length

    def _decode(self, name: str, entry: _Entry, index: int, frame: memoryview, low: int, target: memoryview) -> None:
        assert entry.chunk_bytes is not None
        expected = min(entry.chunk_bytes, entry.nbytes - index * entry.chunk_bytes)
        try:
            header = _kernels.ChunkHeader(frame)
            if (header.raw_bytes, header.element) != (expected, entry.dtype.element):
                raise self._damaged(name, "a chunk is not the one that the header describes")
            size = header.block_bytes
            first, end = low // size, -(-(low + len(target)) // size)
            start, stop = header.stored_range(first, end)
            if first * size == low and low + len(target) in (end * size, expected):
                _kernels.decode(header, first, end, frame[start:stop], target)
                return
            blocks = bytearray(min(end * size, expected) - first * size)
            _kernels.decode(header, first, end, frame[start:stop], blocks)
        except _kernels.KernelError as error:
            raise self._damaged(name, str(error)) from None
        target[:] = memoryview(blocks)[low - first * size : low - first * size + len(target)]

    def _damaged(self, name: str, problem: str) -> DamagedError:
        return DamagedError(f"{self._path}: {name}: {problem}; restore the file from a copy")

    def finished(self, value: Any) -> Any:
        """The tensor in the framework and on the device of the reader."""
        value = arrays.finished(self._kind, value)
        return value.to(self._device) if self._kind == "torch" and self._device != "cpu" else value

    @property
    def kind(self) -> Kind:
        """The framework of what is read."""
        return self._kind

    def close(self) -> None:
        """Closes the file."""
        # The mapping goes with the last view of it: an exception may still hold one.
        self._memory = memoryview(b"")
        self._map = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SafeSlice:
    """A tensor of a file of which parts are read by indexing."""

    def __init__(self, file: SafeFile, name: str, entry: _Entry) -> None:
        self._file = file
        self._name = name
        self._entry = entry

    def get_shape(self) -> list[int]:
        """Its shape."""
        return list(self._entry.shape)

    def get_dtype(self) -> str:
        """The name of its type, as safetensors has it where it does."""
        return self._entry.dtype.safetensors or self._entry.dtype.name

    def __getitem__(self, index: Any) -> Any:
        entry = self._entry
        box, dropped, strides = normalised(entry.shape, index)
        value, memory = arrays.empty(self._file.kind, entry.dtype, [length for _, length in box])
        if memory:
            starts, length = contiguous_runs(entry.shape, box)
            run = length * entry.dtype.width
            for at, start in enumerate((starts * entry.dtype.width).tolist()):
                self._file.read_into(self._name, entry, start, memory[at * run : (at + 1) * run])
        if any(stride != 1 for stride in strides):
            value = value[tuple(slice(None, None, stride) for stride in strides)]
        if dropped:
            value = value.reshape([size for dimension, size in enumerate(value.shape) if dimension not in dropped])
        return self._file.finished(value)


def _parse(data: memoryview, where: str) -> tuple[dict[str, _Entry], dict[str, str]]:
    if len(data) < 8:
        raise DamagedError(f"{where}: this is no safetensors file: it has {len(data)} bytes")
    (length,) = struct.unpack_from("<Q", data)
    if length > min(_HEADER_BYTES_MAX, len(data) - 8):
        raise DamagedError(f"{where}: this is no safetensors file, or it is cut off: its header has {length} bytes")
    try:
        header = json.loads(bytes(data[8 : 8 + length]))
        metadata = {str(key): str(value) for key, value in header.pop("__metadata__", {}).items()}
        described = _described(metadata, where)
        if described is not None and described.keys() != header.keys():
            raise ValueError("the tensors are not those that were compressed")
        entries = {name: _entry(value, (described or {}).get(name), 8 + length) for name, value in header.items()}
        _check_layout(entries, 8 + length, len(data))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{where}: the header is not valid: {error!r}") from None
    return entries, metadata


def _described(metadata: dict[str, str], where: str) -> dict[str, Any] | None:
    """The real types and shapes of the tensors of a compressed file."""
    told = metadata.pop(TENSORS_KEY, None)
    version, check = metadata.pop(VERSION_KEY, None), metadata.pop(HASH_KEY, None)
    if told is None:
        return None
    if version != VERSION:
        raise MithrilError(f"{where}: a compressed file of another version; this Mithril reads version {VERSION}")
    if blake3.blake3(told.encode()).hexdigest() != check:
        raise ValueError("the description of the tensors is damaged")
    described: dict[str, Any] = json.loads(told)
    return described


def _entry(value: Any, described: Any, base: int) -> _Entry:
    start, end = (_whole(number) + base for number in value["data_offsets"])
    if described is None:
        shape = tuple(_whole(size) for size in value["shape"])
        return _Entry(dtypes.by_safetensors(value["dtype"]), shape, start, end)
    name, shape_told, chunk_bytes, block_bytes, lengths = described
    entry = _Entry(
        dtypes.by_name(name),
        tuple(_whole(size) for size in shape_told),
        start,
        end,
        _whole(chunk_bytes),
        _whole(block_bytes),
        tuple(_whole(length) for length in lengths),
    )
    if not chunk_bytes or len(entry.lengths) != len(range(0, entry.nbytes, chunk_bytes)):
        raise ValueError("a tensor has another number of chunks than its shape needs")
    return entry


def _check_layout(entries: Mapping[str, _Entry], start: int, end: int) -> None:
    """Without gaps and without anything after the last tensor, as the stock reader demands."""
    position = start
    for entry in sorted(entries.values(), key=lambda entry: (entry.start, entry.end)):
        expected = entry.nbytes if entry.chunk_bytes is None else sum(entry.lengths)
        if entry.start != position or entry.end - entry.start != expected:
            raise ValueError("tensors overlap, leave a gap, or have other sizes than their shapes")
        position = entry.end
    if position != end:
        raise ValueError(f"the file has {end} bytes where its header needs {position}")


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} where a whole number from 0 is needed")
    return value


def open_file(path: str | os.PathLike[str], framework: str = "pt", device: str = "cpu") -> SafeFile:
    """Opens a file as `safetensors.safe_open` does, compressed or not."""
    return SafeFile(path, framework, device)


def load_file(path: str | os.PathLike[str], framework: str = "pt", device: str = "cpu") -> dict[str, Any]:
    """All tensors of a file, compressed or not."""
    with SafeFile(path, framework, device) as file:
        return {name: file.get_tensor(name) for name in file.offset_keys()}


@dataclass(frozen=True, slots=True)
class _FileArray(Array):
    """A tensor that is read from a file a part at a time."""

    read: Callable[[int, memoryview], None]

    def part(self, start: int, end: int) -> memoryview:
        buffer = bytearray(end - start)
        self.read(start, memoryview(buffer))
        return memoryview(buffer)


def convert(source: Path, target: Path, form: str | None = None) -> tuple[int, int]:
    """Converts between the plain and the compressed form, and gives both sizes. Needs memory for a chunk only."""
    with SafeFile(source, "np") as file:
        is_compressed = any(entry.chunk_bytes is not None for entry in file._entries.values())  # noqa: SLF001
        to_compressed = not is_compressed if form is None else form == "compressed"
        tensors = dict(_arrays_of(file))
        after = _write(tensors, target, file.metadata() or {}, to_compressed)
    return source.stat().st_size, after


def _arrays_of(file: SafeFile) -> Iterator[tuple[str, Array]]:
    for name in file.offset_keys():
        entry = file._entries[name]  # noqa: SLF001

        def read(start: int, target: memoryview, name: str = name, entry: _Entry = entry) -> None:
            file.read_into(name, entry, start, target)

        yield name, _FileArray("numpy", entry.dtype, entry.shape, None, read)
