"""Lossless coding of weights beside its peers: ratio, and speed both ways by CPU time of one thread, in one run.

    python -m benches.mithril.codecs [--file WEIGHTS.safetensors] [--rounds 5]

Peers that are not installed are left out, and the table says so. Each answer is checked before it counts.
"""

import argparse
import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import zstandard

from mithril import _kernels
from mithril.checkpoint import safetensors_file

BLOCK_BYTES = 256 << 10
CHUNK_BYTES = 8 << 20

Encode = Callable[[bytes, bytes | None], Any]
Decode = Callable[[Any, int, bytes | None], bytes | bytearray]


@dataclass(frozen=True, slots=True)
class Codec:
    name: str
    encode: Encode
    decode: Decode
    size: Callable[[Any], int]


def mithril(element: str) -> Codec:
    """The kernels of this package. They decode into memory that is there, as `load(into=...)` does."""
    targets: dict[int, bytearray] = {}

    def encode(data: bytes, base: bytes | None) -> list[bytes]:
        frames = []
        for start in range(0, len(data), CHUNK_BYTES):
            view = memoryview(data)[start : start + CHUNK_BYTES]
            old = None if base is None else memoryview(base)[start : start + CHUNK_BYTES]
            root, hashes = _kernels.fingerprint(element, BLOCK_BYTES, view)
            frames.append(
                _kernels.encode(element, BLOCK_BYTES, view, root, hashes, old, None if old is None else bytes(32))
            )
        return frames

    def decode(frames: list[bytes], length: int, base: bytes | None) -> bytearray:
        out = targets.get(length) or targets.setdefault(length, bytearray(length))
        view = memoryview(out)
        for index, frame in enumerate(frames):
            start = index * CHUNK_BYTES
            old = None if base is None else memoryview(base)[start : start + CHUNK_BYTES]
            header = _kernels.ChunkHeader(frame)
            first, last = header.stored_range(0, header.blocks)
            stored = memoryview(frame)[first:last]
            target = view[start : start + CHUNK_BYTES]
            _kernels.decode(header, 0, header.blocks, stored, target, old, None if old is None else bytes(32))
        return out

    return Codec("mithril, hashes and all", encode, decode, lambda frames: sum(map(len, frames)))


def zstd(width: int, level: int, *, grouped: bool) -> Codec:
    """zstd, on the bytes as they are or grouped by their position in the element; of the XOR where there is a base."""

    def encode(data: bytes, base: bytes | None) -> bytes:
        raw = np.frombuffer(data, np.uint8)
        if base is not None:
            raw = raw ^ np.frombuffer(base, np.uint8)
        if grouped:
            raw = np.ascontiguousarray(raw.reshape(-1, width).T)
        return zstandard.ZstdCompressor(level=level).compress(raw.tobytes())

    def decode(code: bytes, length: int, base: bytes | None) -> bytes:
        raw = np.frombuffer(zstandard.ZstdDecompressor().decompress(code, max_output_size=length), np.uint8)
        if grouped:
            raw = np.ascontiguousarray(raw.reshape(width, -1).T).reshape(-1)
        if base is not None:
            raw = raw ^ np.frombuffer(base, np.uint8)
        return raw.tobytes()

    return Codec(f"zstd-{level}{' on byte groups' if grouped else ''}", encode, decode, len)


def zipnn(element: str) -> Codec | None:
    names = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}
    try:
        module = importlib.import_module("zipnn")
    except ImportError:
        return None
    coder = module.ZipNN(bytearray_dtype=names[element], threads=1)

    def encode(data: bytes, base: bytes | None) -> Any:
        if base is not None:
            data = (np.frombuffer(data, np.uint8) ^ np.frombuffer(base, np.uint8)).tobytes()
        return coder.compress(bytearray(data))

    def decode(code: Any, length: int, base: bytes | None) -> Any:
        data = coder.decompress(code)
        if base is not None:
            data = (np.frombuffer(data, np.uint8) ^ np.frombuffer(base, np.uint8)).tobytes()
        return data

    return Codec("zipnn", encode, decode, len)


def openzl(element: str) -> Codec | None:
    try:
        module = importlib.import_module("openzl.ext")
    except ImportError:
        return None
    kind = {2: np.uint16, 4: np.uint32}[_kernels.element_size(element)]
    compressor = module.Compressor()
    compressor.select_starting_graph(module.graphs.FieldLz()(compressor))

    def encode(data: bytes, base: bytes | None) -> bytes:
        context = module.CCtx()
        context.ref_compressor(compressor)
        context.set_parameter(module.CParam.FormatVersion, module.MAX_FORMAT_VERSION)
        coded: bytes = context.compress([module.Input(module.Type.Numeric, np.frombuffer(data, kind))])
        return coded

    def decode(code: bytes, length: int, base: bytes | None) -> bytes:
        return bytes(module.DCtx().decompress(code)[0].content.as_nparray().tobytes())

    return Codec("openzl, field-lz graph", encode, decode, len)


def measure(codec: Codec, data: bytes, base: bytes | None, rounds: int) -> str:
    encode_s = decode_s = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        code = codec.encode(data, base)
        encode_s = min(encode_s, time.process_time() - start)
        start = time.process_time()
        found = codec.decode(code, len(data), base)
        decode_s = min(decode_s, time.process_time() - start)
        assert found == data, f"{codec.name}: the decoded bytes differ"
    ratio = len(data) / codec.size(code)
    return f"{codec.name:<26} {ratio:8.3f} {len(data) / encode_s / 1e9:8.2f} {len(data) / decode_s / 1e9:8.2f}"


def table(title: str, element: str, data: bytes, base: bytes | None, rounds: int) -> None:
    width = _kernels.element_size(element)
    found = [mithril(element), zipnn(element), openzl(element) if base is None else None]
    found += [zstd(width, 1, grouped=False), zstd(width, 1, grouped=True)]
    print(f"\n{title}: {len(data) / 1e6:.1f} MB\n{'':<26} {'ratio':>8} {'encode':>8} {'decode':>8}  GB/s")
    for codec in found:
        if codec is not None:
            try:
                print(measure(codec, data, base, rounds), flush=True)
            except (ValueError, RuntimeError, AttributeError, TypeError) as error:
                print(f"{codec.name:<26} not measured: {error}")


def weights_of(path: str | None) -> torch.Tensor:
    """The fp32 weights of a file, or made ones: normal, with another scale for each matrix, as in a trained model."""
    if path is None:
        generator = torch.Generator().manual_seed(1)
        parts = [torch.randn(1 << 20, generator=generator) * 0.01 * (1 + index % 7) for index in range(16)]
        return torch.cat(parts)
    tensors = safetensors_file.load_file(path)
    return torch.cat([tensor.float().reshape(-1) for tensor in tensors.values() if tensor.is_floating_point()])


def raw(tensor: torch.Tensor) -> bytes:
    data: bytes = tensor.view(torch.uint8).numpy().tobytes()
    return data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", help="safetensors file with weights")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    weights = weights_of(options.file)
    print(f"vector instructions: {_kernels.simd_level()}")
    for element, dtype in (("bf16", torch.bfloat16), ("f16", torch.float16), ("f32", torch.float32)):
        table(f"weights {element}", element, raw(weights.to(dtype)), None, options.rounds)


if __name__ == "__main__":
    main()
