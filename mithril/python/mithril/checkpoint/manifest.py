"""The manifest: what a checkpoint consists of. A checkpoint exists when its manifest does.

docs/mithril/formats.md has it byte by byte.
"""

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import blake3
import zstandard

from mithril import _kernels
from mithril.checkpoint import dtypes
from mithril.checkpoint.arrays import KINDS, Kind
from mithril.checkpoint.dtypes import DType
from mithril.core.errors import DamagedError, MithrilError

MAGIC = b"MCKM"
VERSION = 1
_HEAD = struct.Struct("<4sIQ32s")
# The most that a reader is ready to hold. A manifest of 10 TB in chunks of 8 MiB has some 300 MB.
JSON_BYTES_MAX = 1 << 30
_DIMENSIONS_MAX = 64
_CHAIN_MAX = 64
_ZSTD_LEVEL = 3
_HASH_LETTERS = 64


@dataclass(slots=True)
class ChunkRef:
    """A chunk as part of an object."""

    object: str
    offset: int
    length: int
    raw_bytes: int
    root: str
    base: "ChunkRef | None" = None

    @property
    def depth(self) -> int:
        """The number of deltas up to a full chunk."""
        depth, ref = 0, self
        while ref.base is not None:
            depth, ref = depth + 1, ref.base
        return depth

    def chain(self) -> Iterator["ChunkRef"]:
        """The chunk, its base, and so on."""
        ref: ChunkRef | None = self
        while ref is not None:
            yield ref
            ref = ref.base


@dataclass(slots=True)
class Quantized:
    """How a tensor was quantized, and its largest errors."""

    bits: int
    group: int
    error_max: float
    relative_error_max: float


@dataclass(slots=True)
class Shard:
    """A box of a tensor, in row-major order cut into chunks. All but the last have `chunk_bytes`."""

    offset: tuple[int, ...]
    shape: tuple[int, ...]
    chunks: list[ChunkRef]


@dataclass(slots=True)
class TensorEntry:
    """A tensor."""

    kind: Kind
    dtype: DType
    shape: tuple[int, ...]
    shards: list[Shard]
    quantized: Quantized | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return prod(self.shape) * self.dtype.width

    def refs(self) -> Iterator[ChunkRef]:
        """Its chunks."""
        return (ref for shard in self.shards for ref in shard.chunks)


@dataclass(slots=True)
class Manifest:
    """A checkpoint."""

    step: int
    created: float
    block_bytes: int
    chunk_bytes: int
    tree: dict[str, Any]
    tensors: dict[str, TensorEntry]
    metadata: Mapping[str, str] = field(default_factory=dict)
    base_step: int | None = None
    dcp: dict[str, Any] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(entry.nbytes for entry in self.tensors.values())

    def refs(self) -> Iterator[ChunkRef]:
        """All chunks, bases not among them."""
        return (ref for entry in self.tensors.values() for ref in entry.refs())

    def objects(self) -> set[str]:
        """The objects that a reader needs, those of bases among them."""
        return {link.object for ref in self.refs() for link in ref.chain()}


def encode(manifest: Manifest) -> bytes:
    """The manifest as it is stored."""
    objects: dict[str, int] = {}
    value = {
        "format": "mithril.checkpoint",
        "version": VERSION,
        "step": manifest.step,
        "created": manifest.created,
        "block_bytes": manifest.block_bytes,
        "chunk_bytes": manifest.chunk_bytes,
        "base_step": manifest.base_step,
        "metadata": dict(manifest.metadata),
        "tree": manifest.tree,
        "tensors": {name: _tensor_value(entry, objects) for name, entry in manifest.tensors.items()},
        "dcp": manifest.dcp,
    }
    value["objects"] = list(objects)
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    body = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(text)
    return _HEAD.pack(MAGIC, VERSION, len(text), blake3.blake3(body).digest()) + body


def _tensor_value(entry: TensorEntry, objects: dict[str, int]) -> dict[str, Any]:
    value: dict[str, Any] = {
        "kind": entry.kind,
        "dtype": entry.dtype.name,
        "shape": entry.shape,
        "shards": [
            [shard.offset, shard.shape, [ref_value(ref, objects) for ref in shard.chunks]] for shard in entry.shards
        ],
    }
    if entry.quantized is not None:
        quantized = entry.quantized
        value["quantized"] = [quantized.bits, quantized.group, quantized.error_max, quantized.relative_error_max]
    return value


def ref_value(ref: ChunkRef, objects: dict[str, int]) -> list[Any]:
    """A reference as JSON; objects get numbers as they come."""
    number = objects.setdefault(ref.object, len(objects))
    base = None if ref.base is None else ref_value(ref.base, objects)
    return [number, ref.offset, ref.length, ref.raw_bytes, ref.root, base]


def decode(data: bytes, where: str) -> Manifest:
    """The manifest of stored bytes. Anything that does not fit is an error that says `where`."""
    if len(data) < _HEAD.size or data[:4] != MAGIC:
        raise DamagedError(f"{where}: this is no manifest of a checkpoint: it does not begin with MCKM")
    _, version, length, check = _HEAD.unpack_from(data)
    if version != VERSION:
        raise MithrilError(f"{where}: the checkpoint has version {version} of the format, this Mithril reads {VERSION}")
    body = memoryview(data)[_HEAD.size :]
    if length > JSON_BYTES_MAX or blake3.blake3(body).digest() != check:
        raise DamagedError(f"{where}: the manifest is damaged; restore it from a copy, or use another step")
    try:
        text = zstandard.ZstdDecompressor().decompress(body, max_output_size=length)
        return _manifest(json.loads(text))
    except (
        zstandard.ZstdError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
        MithrilError,
    ) as error:
        raise DamagedError(f"{where}: the manifest is not valid: {error!r}") from None


def _manifest(value: Any) -> Manifest:
    objects = [_text(name, _HASH_LETTERS) for name in value["objects"]]
    tensors = {str(name): _tensor(item, objects) for name, item in value["tensors"].items()}
    base_step = value["base_step"]
    manifest = Manifest(
        step=_count(value["step"]),
        created=float(value["created"]),
        block_bytes=_count(value["block_bytes"]),
        chunk_bytes=_count(value["chunk_bytes"]),
        tree=value["tree"],
        tensors=tensors,
        metadata={str(key): str(text) for key, text in value["metadata"].items()},
        base_step=None if base_step is None else _count(base_step),
        dcp=value["dcp"],
    )
    _check_sizes(manifest)
    return manifest


def _check_sizes(manifest: Manifest) -> None:
    if (
        not 0 < manifest.block_bytes <= _kernels.BLOCK_BYTES_MAX
        or not 0 < manifest.chunk_bytes <= _kernels.CHUNK_BYTES_MAX
    ):
        raise ValueError("impossible sizes of blocks or chunks")
    for name, entry in manifest.tensors.items():
        for shard in entry.shards:
            expected = prod(shard.shape) * entry.dtype.width
            sizes = list(chunk_sizes(expected, manifest.chunk_bytes))
            if len(shard.chunks) != len(sizes):
                raise ValueError(f"{name} has {len(shard.chunks)} chunks where it needs {len(sizes)}")
            if entry.quantized is None and [ref.raw_bytes for ref in shard.chunks] != sizes:
                raise ValueError(f"{name} has chunks of other sizes than its shape")


def chunk_sizes(nbytes: int, chunk_bytes: int) -> Iterator[int]:
    """The sizes of the chunks of so many bytes."""
    for start in range(0, nbytes, chunk_bytes):
        yield min(chunk_bytes, nbytes - start)


def _tensor(value: Any, objects: Sequence[str]) -> TensorEntry:
    kind = value["kind"]
    if kind not in KINDS:
        raise ValueError(f"a tensor of the unknown kind {kind!r}")
    shape = _shape(value["shape"])
    shards = []
    for offset, extent, refs in value["shards"]:
        box = _shape(offset), _shape(extent)
        if not len(box[0]) == len(box[1]) == len(shape) or any(
            start + length > size for start, length, size in zip(*box, shape, strict=True)
        ):
            raise ValueError("a shard that does not lie within its tensor")
        shards.append(Shard(*box, [_ref(ref, objects) for ref in refs]))
    quantized = None
    if "quantized" in value:
        bits, group, *errors = value["quantized"]
        quantized = Quantized(_count(bits), _count(group), *map(float, errors))
    return TensorEntry(kind, dtypes.by_name(value["dtype"]), shape, shards, quantized)


def _ref(value: Any, objects: Sequence[str], depth: int = 0) -> ChunkRef:
    if depth > _CHAIN_MAX:
        raise ValueError("a chain of deltas that is too long")
    number, offset, length, raw_bytes, root, base = value
    return ChunkRef(
        objects[_count(number)],
        _count(offset),
        _count(length),
        _count(raw_bytes),
        _text(root, _HASH_LETTERS),
        None if base is None else _ref(base, objects, depth + 1),
    )


def _count(value: Any) -> int:
    if type(value) is not int or value < 0 or value >= 1 << 63:
        raise ValueError(f"{value!r} where a whole number from 0 is needed")
    return value


def _shape(value: Any) -> tuple[int, ...]:
    if len(value) > _DIMENSIONS_MAX:
        raise ValueError("too many dimensions")
    return tuple(_count(size) for size in value)


def _text(value: Any, letters: int) -> str:
    if not isinstance(value, str) or len(value) != letters or not set(value) <= set("0123456789abcdef"):
        raise ValueError(f"{str(value)[:100]!r} where a hash is needed")
    return value
