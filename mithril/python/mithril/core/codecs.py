"""Codecs by name and version behind one registry, and the frame in which what they make is stored.

| offset | size | content |
|---|---|---|
| 0 | 4 | `MTF1` |
| 4 | 1 | length of the codec's name, n |
| 5 | 1 | the codec's version |
| 6 | 2 | zero |
| 8 | 8 | bytes decoded |
| 16 | 8 | bytes encoded |
| 24 | 16 | the first half of BLAKE3 of the decoded bytes |
| 40 | n | the codec's name in ASCII |
| 40 + n | | the encoded bytes |

Numbers are little endian.
"""

import importlib
import struct
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import zstandard
from blake3 import blake3

from mithril import _kernels
from mithril.core.errors import CodecError, DamagedError, MissingExtraError

_HEADER = struct.Struct("<4sBB2xQQ16s")
_MAGIC = b"MTF1"
RAW = "raw"
_CHUNK_BYTES = 8 << 20
_BLOCK_BYTES = 256 << 10


class Codec(Protocol):
    """A way to encode bytes. What a version has encoded stays decodable: a change of the format is a new version."""

    name: ClassVar[str]
    version: ClassVar[int]

    def encode(self, data: memoryview) -> bytes:
        """The encoded bytes."""

    def decode(self, data: memoryview, size: int) -> bytes:
        """The `size` bytes that were encoded. Raises CodecError for what it cannot decode."""


class RawCodec:
    """Bytes as they are."""

    name: ClassVar[str] = RAW
    version: ClassVar[int] = 1

    def encode(self, data: memoryview) -> bytes:
        """The same bytes."""
        return bytes(data)

    def decode(self, data: memoryview, size: int) -> bytes:
        """The same bytes."""
        return bytes(data)


@dataclass(frozen=True, slots=True)
class ZstdCodec:
    """Zstandard."""

    level: int = 3
    name: ClassVar[str] = "zstd"
    version: ClassVar[int] = 1

    def encode(self, data: memoryview) -> bytes:
        """A zstd frame."""
        return zstandard.ZstdCompressor(level=self.level).compress(data)

    def decode(self, data: memoryview, size: int) -> bytes:
        """The content of a zstd frame."""
        try:
            # The frame's own idea of its size is not trusted: it decides how much memory is taken.
            decoder = zstandard.ZstdDecompressor().decompressobj()
            decoded = bytearray()
            for start in range(0, len(data), 1 << 16):
                decoded += decoder.decompress(data[start : start + (1 << 16)])
                if len(decoded) > size:
                    break
        except zstandard.ZstdError as error:
            raise CodecError(f"zstd cannot decode this frame: {error}") from error
        return bytes(decoded)


class Lz4Codec:
    """LZ4 blocks."""

    name: ClassVar[str] = "lz4"
    version: ClassVar[int] = 1

    def encode(self, data: memoryview) -> bytes:
        """An LZ4 block without its length."""
        encoded: bytes = _lz4().compress(data, store_size=False)
        return encoded

    def decode(self, data: memoryview, size: int) -> bytes:
        """The content of an LZ4 block."""
        lz4 = _lz4()
        try:
            decoded: bytes = lz4.decompress(data, uncompressed_size=size)
        except (lz4.LZ4BlockError, ValueError, MemoryError) as error:
            raise CodecError(f"lz4 cannot decode this frame: {error}") from error
        return decoded


@dataclass(frozen=True, slots=True)
class ChunkCodec:
    """Elements grouped by bit field, each group with an entropy coder: chunks of checkpoints, one after the other.

    `element` is the type of the elements, such as `bf16` or `f32`; bytes that are no whole number of them are `u8`.
    """

    element: str = "u8"
    name: ClassVar[str] = "planes+rans"
    version: ClassVar[int] = 1

    def encode(self, data: memoryview) -> bytes:
        """The chunks."""
        element = "u8" if len(data) % _kernels.element_size(self.element) else self.element
        chunks = []
        for start in range(0, len(data), _CHUNK_BYTES):
            part = data[start : start + _CHUNK_BYTES]
            root, hashes = _kernels.fingerprint(element, _BLOCK_BYTES, part)
            chunks.append(_kernels.encode(element, _BLOCK_BYTES, part, root, hashes))
        return b"".join(chunks)

    def decode(self, data: memoryview, size: int) -> bytes:
        """The elements of the chunks."""
        parts: list[bytearray] = []
        try:
            while data:
                # Its checksum has been compared, so its size is that of the bytes that follow.
                header = _kernels.ChunkHeader(data)
                size -= header.raw_bytes
                if size < 0 or header.stored_bytes > len(data):
                    raise CodecError("the chunks of a frame are longer than it says")
                parts.append(bytearray(header.raw_bytes))
                _kernels.decode(header, 0, header.blocks, data[header.header_bytes : header.stored_bytes], parts[-1])
                data = data[header.stored_bytes :]
        except _kernels.KernelError as error:
            raise CodecError(f"a chunk cannot be decoded: {error}") from error
        return b"".join(parts)


_codecs: dict[tuple[str, int], Codec] = {}


def register(codec: Codec) -> None:
    """Makes a codec known. The same name and version cannot be two codecs."""
    known = _codecs.setdefault((codec.name, codec.version), codec)
    if type(known) is not type(codec):
        raise ValueError(f"the codec {codec.name} {codec.version} is registered already, as {type(known).__name__}")


def find(name: str, version: int | None = None) -> Codec:
    """The codec of a name: of a version, or the newest. Raises CodecError."""
    versions = [known for codec, known in _codecs if codec == name]
    wanted = version if version is not None else max(versions, default=0)
    if (name, wanted) not in _codecs:
        known = ", ".join(f"{codec} {number}" for codec, number in sorted(_codecs))
        raise CodecError(
            f"the codec {name} {wanted} is not known to this version of Mithril (it knows {known}); "
            "a later version has written this, or the product that registers the codec was not imported"
        )
    return _codecs[name, wanted]


def encode(data: bytes | bytearray | memoryview, codec: str | Codec = "zstd") -> bytes:
    """A frame; the bytes as they are where the codec would make them longer."""
    view = memoryview(data).cast("B")
    chosen = find(codec) if isinstance(codec, str) else codec
    encoded = chosen.encode(view)
    if len(encoded) >= len(view):
        chosen, encoded = find(RAW), bytes(view)
    name = chosen.name.encode("ascii")
    header = _HEADER.pack(_MAGIC, len(name), chosen.version, len(view), len(encoded), blake3(view).digest(16))
    return b"".join((header, name, encoded))


def decode(frame: bytes | bytearray | memoryview, size_max: int | None = None) -> bytes:
    """The bytes of a frame, checked by their hash. Raises DamagedError and CodecError."""
    view = memoryview(frame).cast("B")
    if len(view) < _HEADER.size:
        raise DamagedError(f"the frame has {len(view)} bytes, less than its header")
    magic, name_size, version, size, encoded_size, digest = _HEADER.unpack_from(view)
    start = _HEADER.size + name_size
    if magic != _MAGIC:
        raise DamagedError("this is not a frame of Mithril")
    if start + encoded_size != len(view):
        raise DamagedError(f"the frame has {len(view)} bytes; its header says {start + encoded_size}")
    if size_max is not None and size > size_max:
        raise DamagedError(f"the frame decodes to {size} bytes; at most {size_max} are allowed")
    codec = find(bytes(view[_HEADER.size : start]).decode("ascii", errors="replace"), version)
    decoded = codec.decode(view[start:], size)
    if len(decoded) != size or blake3(decoded).digest(16) != digest:
        raise DamagedError("the frame's content is not what was encoded: its hash is wrong")
    return decoded


def _lz4() -> Any:
    try:
        return importlib.import_module("lz4.block")
    except ImportError:
        raise MissingExtraError("the codec lz4", "lz4", "lz4") from None


for _codec in (RawCodec(), ZstdCodec(), Lz4Codec(), ChunkCodec()):
    register(_codec)
