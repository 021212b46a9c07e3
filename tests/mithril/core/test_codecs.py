"""Frames come back byte for byte; what is damaged or unknown is an error."""

import contextlib
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mithril.core import codecs
from mithril.core.errors import CodecError, DamagedError

NAMES = ["raw", "zstd", "lz4", "planes+rans"]


@pytest.mark.parametrize("name", NAMES)
@given(data=st.binary(max_size=3000) | st.binary(min_size=1, max_size=20).map(lambda part: part * 300))
def test_what_is_encoded_is_decoded(name: str, data: bytes) -> None:
    frame = codecs.encode(data, name)
    assert codecs.decode(frame) == data
    assert len(frame) <= len(data) + 44


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_a_changed_frame_is_an_error(name: str, data: st.DataObject) -> None:
    frame = bytearray(codecs.encode(b"some bytes " * 50, name))
    at = data.draw(st.integers(0, len(frame) - 1))
    frame[at] ^= data.draw(st.integers(1, 255))
    # A change that decodes to the same bytes, such as another match of the same text, harms nobody.
    with contextlib.suppress(DamagedError, CodecError):
        assert codecs.decode(frame, size_max=1 << 20) == b"some bytes " * 50


@pytest.mark.parametrize("extra", [0, 1])
def test_weights_are_coded_by_their_fields(extra: int) -> None:
    weights = np.random.default_rng(1).normal(size=3 << 20).astype(np.float32).tobytes() + b"x" * extra
    frame = codecs.encode(weights, codecs.ChunkCodec("f32"))
    assert codecs.decode(frame) == weights
    assert (len(weights) / len(frame) > 1.15) == (extra == 0)


def test_chunks_that_do_not_make_the_frame_are_refused() -> None:
    chunks = codecs.ChunkCodec().encode(memoryview(b"x" * 100))
    for data, size in ((chunks, 99), (chunks * 2, 150), (chunks[:-1], 100), (chunks + b"x", 100)):
        with pytest.raises(CodecError, match="chunk"):
            codecs.ChunkCodec().decode(memoryview(data), size)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_an_error(data: bytes) -> None:
    with pytest.raises((DamagedError, CodecError)):
        codecs.decode(b"MTF1" + data, size_max=1 << 20)


def test_a_frame_that_is_too_large_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(DamagedError, match="at most 10"):
        codecs.decode(codecs.encode(b"x" * 11), size_max=10)


def test_an_unknown_codec_is_named_with_the_known_ones() -> None:
    frame = codecs.encode(b"x" * 100, "zstd").replace(b"zstd", b"zst9", 1)
    with pytest.raises(CodecError, match=r"zst9 1 .*lz4 1, planes\+rans 1, raw 1, zstd 1"):
        codecs.decode(frame)


def test_a_name_and_version_is_one_codec() -> None:
    class Other:
        name: ClassVar[str] = "zstd"
        version: ClassVar[int] = 1

        def encode(self, data: memoryview) -> bytes:
            return bytes(data)

        def decode(self, data: memoryview, size: int) -> bytes:
            return bytes(data)

    with pytest.raises(ValueError, match="registered already"):
        codecs.register(Other())


def test_frames_of_the_first_version_stay_readable() -> None:
    golden = bytes.fromhex(
        "4d54463104010000290000000000000015000000000000009f5d2423da0b8e3f0a234df2d82c4b167a73746428b52ffd2029"
        "6500003068656c6c6f200100429622"
    )
    assert codecs.decode(golden) == b" ".join([b"hello"] * 7)
