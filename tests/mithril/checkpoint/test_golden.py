"""Checkpoints and files of version 1 stay readable, those without packed planes too, and are still written the same."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.mithril.checkpoint.states import assert_same

import mithril.checkpoint as mc
from mithril.checkpoint import safetensors_file

GOLDEN = Path(__file__).parent / "golden"
OLDER = Path(__file__).parent / "golden-without-packed-planes"


def states() -> dict[int, dict[str, object]]:
    """Two steps with every kind of block, from arithmetic that is the same everywhere."""
    index = np.arange(3000, dtype=np.uint32)
    mixed = (index * index * np.uint32(2654435761)) >> np.uint32(12)
    weights = (mixed % np.uint32(1000)).astype(np.float32) / np.float32(1024)
    noise = (index * np.uint32(2654435761)).view(np.uint8)
    moved = weights.copy()
    moved[::7] = np.nextafter(moved[::7], np.float32(9))
    first = {"w": weights, "n": noise, "i": mixed.astype(np.int64), "z": np.zeros(500, np.float64), "lr": 0.1}
    return {1: first, 2: {**first, "w": moved, "done": [True, None, "x", b"\x00"]}}


def write(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MITHRIL_CHECKPOINT_BLOCK_BYTES", "4096")
        patch.setenv("MITHRIL_CHECKPOINT_CHUNK_BYTES", "8192")
        for step, state in states().items():
            mc.save(state, str(folder), step=step)
        tensors = {name: value for name, value in states()[1].items() if isinstance(value, np.ndarray)}
        safetensors_file.save_file(tensors, folder / "compressed.safetensors", {"note": "golden"})


def objects_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "objects").rglob("*") if path.is_file()}


@pytest.mark.parametrize("golden", [GOLDEN, OLDER], ids=lambda folder: folder.name)
def test_golden_checkpoints_are_read(golden: Path, tmp_path: Path) -> None:
    shutil.copytree(golden, tmp_path / "copy")
    url = str(tmp_path / "copy")
    for step, state in states().items():
        assert_same(mc.load(url, step=step), state)
    with mc.Checkpoint.open(url) as checkpoint:
        assert max(ref.depth for ref in checkpoint.manifest.refs()) == 1
    found = safetensors_file.load_file(golden / "compressed.safetensors", "np")
    assert_same({name: found[name] for name in ("w", "n")}, {name: states()[1][name] for name in ("w", "n")})


def test_the_same_bytes_are_written(tmp_path: Path) -> None:
    write(tmp_path)
    assert objects_of(tmp_path) == objects_of(GOLDEN)
    name = "compressed.safetensors"
    assert (tmp_path / name).read_bytes() == (GOLDEN / name).read_bytes()
