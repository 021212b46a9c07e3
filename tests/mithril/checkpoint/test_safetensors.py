"""Safetensors files: plain ones as the stock library has them, compressed ones that it still opens."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from tests.mithril.checkpoint.states import assert_same

from mithril.checkpoint import safetensors_file as sf
from mithril.core.errors import DamagedError, MithrilError


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "z.weight": (torch.randn(300, 400, generator=generator) * 0.02).to(torch.bfloat16),
        "a.bias": torch.randn(401, generator=generator),
        "steps": torch.arange(99),
        "mask": torch.rand(33, generator=generator) > 0.5,
        "empty": torch.zeros(0, 5),
        "scalar": torch.tensor(2.5, dtype=torch.float16),
        "eight": torch.randn(64, generator=generator).to(torch.float8_e4m3fn),
    }


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MITHRIL_CHECKPOINT_BLOCK_BYTES", "4096")
    monkeypatch.setenv("MITHRIL_CHECKPOINT_CHUNK_BYTES", "16384")


def test_a_plain_file_is_one_of_the_stock_library(tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    sf.save_file(tensors(), path, {"format": "pt"}, compressed=False)
    assert_same(
        safetensors.torch.load_file(path), {name: tensors()[name] for name in safetensors.torch.load_file(path)}
    )
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert set(file.keys()) == set(tensors())


def test_a_file_of_the_stock_library_is_read(tmp_path: Path) -> None:
    path = tmp_path / "stock.safetensors"
    safetensors.torch.save_file(tensors(), path, {"format": "pt"})
    found = sf.load_file(path)
    assert_same({name: found[name] for name in tensors()}, tensors())


@pytest.mark.usefixtures("small_chunks")
def test_a_compressed_file_is_smaller_and_opens_with_the_stock_library(tmp_path: Path) -> None:
    plain, path = tmp_path / "plain.safetensors", tmp_path / "small.safetensors"
    before = sf.save_file(tensors(), plain, compressed=False)
    assert sf.save_file(tensors(), path, {"format": "pt"}) < before * 0.85
    with safetensors.safe_open(path, "pt") as stock:
        assert set(stock.keys()) == set(tensors())
        assert stock.get_tensor("z.weight").dtype == torch.uint8
        assert stock.metadata()["format"] == "pt"


@pytest.mark.usefixtures("small_chunks")
def test_a_compressed_file_reads_as_safe_open_reads_a_plain_one(tmp_path: Path) -> None:
    plain, small = tmp_path / "plain.safetensors", tmp_path / "small.safetensors"
    sf.save_file(tensors(), plain, {"format": "pt"}, compressed=False)
    sf.save_file(tensors(), small, {"format": "pt"})
    with safetensors.safe_open(plain, "pt") as stock, sf.open_file(small) as ours:
        assert ours.metadata() == stock.metadata()
        assert ours.keys() == list(stock.keys())
        assert_same(ours.get_tensors(["steps", "a.bias"]), {n: stock.get_tensor(n) for n in ("steps", "a.bias")})
        for name in ours.keys():  # noqa: SIM118 (no mapping)
            assert_same(ours.get_tensor(name), stock.get_tensor(name))
            theirs, mine = stock.get_slice(name), ours.get_slice(name)
            assert (mine.get_shape(), mine.get_dtype()) == (theirs.get_shape(), theirs.get_dtype())
        theirs, mine = stock.get_slice("z.weight"), ours.get_slice("z.weight")
        for index in ((slice(10, 20),), (slice(None), slice(3, 9)), (7,), (slice(5, 250), 11)):
            assert_same(mine[index], theirs[index])


def test_numpy_reads_it_too(tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    sf.save_file({"a": np.arange(10_000, dtype=np.float32)}, path)
    with sf.open_file(path, "np") as file:
        assert_same(file.get_tensor("a"), np.arange(10_000, dtype=np.float32))


@pytest.mark.usefixtures("small_chunks")
def test_conversion_both_ways_loses_nothing(tmp_path: Path) -> None:
    plain, small, back = (tmp_path / name for name in ("plain", "small", "back"))
    safetensors.torch.save_file(tensors(), plain, {"format": "pt", "note": "kept"})
    before, after = sf.convert(plain, small)
    assert after < before
    sf.convert(small, back)
    found = safetensors.torch.load_file(back)
    assert_same({name: found[name] for name in tensors()}, tensors())
    with safetensors.safe_open(back, "pt") as file:
        assert file.metadata() == {"format": "pt", "note": "kept"}


def test_a_type_that_safetensors_lacks_needs_the_compressed_form(tmp_path: Path) -> None:
    state = {"a": torch.ones(3, dtype=torch.complex128)}
    with pytest.raises(MithrilError, match="safetensors has no type complex128"):
        sf.save_file(state, tmp_path / "x", compressed=False)
    assert not (tmp_path / "x").exists()
    sf.save_file(state, tmp_path / "x")
    assert_same(sf.load_file(tmp_path / "x"), state)


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_files_are_errors(compressed: bool, tmp_path: Path) -> None:
    path = tmp_path / "file"
    expected = {"a": torch.randn(100, 10), "b": torch.arange(50)}
    sf.save_file(expected, path, compressed=compressed)
    whole = path.read_bytes()
    (head,) = struct.unpack_from("<Q", whole)
    generator = np.random.default_rng(8)
    for position in generator.integers(0, 8 + head if not compressed else len(whole), 300).tolist():
        damaged = bytearray(whole)
        damaged[position] ^= int(generator.integers(1, 256))
        path.write_bytes(damaged)
        try:
            found = sf.load_file(path)
        except MithrilError:
            continue
        # Bytes outside of tensors may change, such as padding. A plain file has no hashes at all.
        if compressed:
            assert_same({name: found[name] for name in expected}, expected)
    for length in (0, 7, 8, 50, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError):
            sf.load_file(path)


@pytest.mark.parametrize(
    "header",
    [
        [],
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
        {"a": {"dtype": "Q9", "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}, "__metadata__": {sf.TENSORS_KEY: "[]"}},
        {"a": {}, "__metadata__": {sf.TENSORS_KEY: '{"a":["float32",[1],0,0,[]]}', sf.VERSION_KEY: "1"}},
    ],
)
def test_headers_that_do_not_fit_are_refused(header: Any, tmp_path: Path) -> None:
    text = json.dumps(header).encode()
    path = tmp_path / "file"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    with pytest.raises(MithrilError):
        sf.load_file(path)
