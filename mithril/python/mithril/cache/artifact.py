"""The stored form of an artifact: a header, compressed parts, a hash, and a signature where there is a key.

| offset | size | content |
|---|---|---|
| 0 | 4 | `MTA1` |
| 4 | 4 | zero |
| 8 | 4 | length of the header |
| 12 | 4 | length of the signature block: 0 or 96 |
| 16 | 8 | length of the body |
| 24 | 32 | BLAKE3 of header and body |
| 56 | | header: JSON in UTF-8 |
| | | body: the parts, one after another, as one zstd frame |
| | 96 | Ed25519: public key (32), signature (64) of the first 56 bytes |

Numbers are little endian. The header holds the key, so a value under another key is not taken for this one.
"""

import json
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import zstandard
from blake3 import blake3

from mithril.cache.keys import CacheKey
from mithril.core.errors import DamagedError

_PREFIX = struct.Struct("<4s4xIIQ32s")
_MAGIC = b"MTA1"
_HEADER_BYTES_MAX = 1 << 20
SIGNATURE_BYTES = 96


class Signer(Protocol):
    """A private key."""

    def sign(self, message: bytes) -> bytes:
        """The signature block of a message: public key and signature."""


class Verifier(Protocol):
    """A set of trusted public keys."""

    def verify(self, message: bytes, block: bytes) -> None:
        """Raises UntrustedError unless a trusted key has signed the message."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """An output of a compiler: named parts, and facts about them."""

    key: CacheKey
    parts: Mapping[str, bytes]
    cost_s: float = 0.0
    """Seconds that making it took."""
    created: float = field(default_factory=time.time)
    host: str = field(default_factory=socket.gethostname)
    notes: Mapping[str, Any] = field(default_factory=dict)

    def encode(self, level: int, signer: Signer | None = None) -> bytes:
        """The stored form."""
        header = json.dumps(
            {
                "key": self.key.text(),
                "parts": [[name, len(content)] for name, content in self.parts.items()],
                "cost_s": self.cost_s,
                "created": self.created,
                "host": self.host,
                "notes": self.notes,
            },
            separators=(",", ":"),
        ).encode()
        body = zstandard.ZstdCompressor(level=level).compress(b"".join(self.parts.values()))
        digest = blake3(header).update(body).digest()
        prefix = _PREFIX.pack(_MAGIC, len(header), SIGNATURE_BYTES if signer else 0, len(body), digest)
        return b"".join((prefix, header, body, signer.sign(prefix) if signer else b""))


@dataclass(frozen=True, slots=True)
class Sealed:
    """A stored artifact whose hash and, where keys are set, signature are right; its parts are still compressed."""

    key: CacheKey
    header: Mapping[str, Any]
    body: memoryview

    def open(self, size_max: int) -> Artifact:
        """The artifact. Raises DamagedError."""
        sizes = [(str(name), int(size)) for name, size in self.header["parts"]]
        total = sum(size for _, size in sizes)
        if total > size_max or any(size < 0 for _, size in sizes):
            raise DamagedError(f"the artifact has {total} bytes uncompressed; at most {size_max} are allowed")
        try:
            content = zstandard.ZstdDecompressor().decompress(self.body, max_output_size=total)
        except zstandard.ZstdError as error:
            raise DamagedError(f"the artifact does not decompress: {error}") from error
        if len(content) != total:
            raise DamagedError(f"the artifact has {len(content)} bytes; its header says {total}")
        parts, at = {}, 0
        for name, size in sizes:
            parts[name] = content[at : at + size]
            at += size
        header = self.header
        return Artifact(self.key, parts, header["cost_s"], header["created"], header["host"], header["notes"])


def unseal(data: bytes, verifier: Verifier | None = None, key: CacheKey | None = None) -> Sealed:
    """Checks a stored artifact without looking into its parts. Raises DamagedError or what the verifier raises."""
    view = memoryview(data)
    if len(view) < _PREFIX.size:
        raise DamagedError(f"the artifact has {len(view)} bytes, less than its prefix")
    magic, header_size, signature_size, body_size, digest = _PREFIX.unpack_from(view)
    end = _PREFIX.size + header_size + body_size
    if magic != _MAGIC or header_size > _HEADER_BYTES_MAX or signature_size not in (0, SIGNATURE_BYTES):
        raise DamagedError("this is not an artifact, or of a later version of Mithril")
    if end + signature_size != len(view):
        raise DamagedError(f"the artifact has {len(view)} bytes; its prefix says {end + signature_size}")
    if blake3(view[_PREFIX.size : end]).digest() != digest:
        raise DamagedError("the artifact's hash is wrong: it was changed or cut")
    if verifier is not None:
        verifier.verify(bytes(view[: _PREFIX.size]), bytes(view[end:]))
    body_start = _PREFIX.size + header_size
    header, found = _header(bytes(view[_PREFIX.size : body_start]))
    if key is not None and found != key:
        raise DamagedError("the artifact is of another key")
    return Sealed(found, header, view[body_start:end])


_FIELDS = {"key": str, "parts": list, "cost_s": int | float, "created": int | float, "host": str, "notes": dict}


def _header(data: bytes) -> tuple[Mapping[str, Any], CacheKey]:
    try:
        header = json.loads(data)
        if not isinstance(header, dict) or not all(
            isinstance(header.get(name), kind) for name, kind in _FIELDS.items()
        ):
            raise ValueError("a field is missing or of another type")
        if not all(len(part) == 2 and isinstance(part[1], int) for part in header["parts"]):
            raise ValueError("a part has a name and a size")
        return header, CacheKey.parse(header["key"])
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedError(f"the artifact's header cannot be read: {error}") from error
