from typing import final

from typing_extensions import Buffer

__all__ = [
    "BLOCK_BYTES_MAX",
    "CHUNK_BYTES_MAX",
    "ChunkHeader",
    "KernelError",
    "__version__",
    "decode",
    "dequantize",
    "element_size",
    "elements",
    "encode",
    "fingerprint",
    "header_bytes",
    "quantize",
    "simd_level",
]

__version__: str
BLOCK_BYTES_MAX: int
CHUNK_BYTES_MAX: int

class KernelError(Exception): ...

@final
class ChunkHeader:
    def __new__(cls, data: Buffer) -> ChunkHeader: ...
    @property
    def element(self) -> str: ...
    @property
    def block_bytes(self) -> int: ...
    @property
    def raw_bytes(self) -> int: ...
    @property
    def blocks(self) -> int: ...
    @property
    def header_bytes(self) -> int: ...
    @property
    def stored_bytes(self) -> int: ...
    @property
    def root(self) -> bytes: ...
    @property
    def base_root(self) -> bytes | None: ...
    def stored_range(self, first: int, end: int) -> tuple[int, int]: ...

def elements() -> list[str]: ...
def element_size(element: str) -> int: ...
def simd_level() -> str: ...
def fingerprint(element: str, block_bytes: int, data: Buffer) -> tuple[bytes, bytes]: ...
def encode(
    element: str,
    block_bytes: int,
    data: Buffer,
    root: bytes,
    hashes: bytes,
    base: Buffer | None = None,
    base_root: bytes | None = None,
) -> bytes: ...
def header_bytes(block_bytes: int, raw_bytes: int) -> int: ...
def decode(
    header: ChunkHeader,
    first: int,
    end: int,
    stored: Buffer,
    target: Buffer,
    base: Buffer | None = None,
    base_root: bytes | None = None,
) -> None: ...
def quantize(element: str, bits: int, group: int, data: Buffer) -> tuple[bytes, float, float]: ...
def dequantize(element: str, bits: int, group: int, payload: Buffer, target: Buffer) -> None: ...
