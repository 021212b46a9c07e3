"""Saving and loading whole checkpoints, beside PyTorch's own writer.

    python -m benches.mithril.checkpoints [--megabytes 256] [--folder FOLDER]

Shows how long `save_async` holds the training up, beside a copy of the state in memory; DCP with this package's writer,
with PyTorch's, and with its zstd extension; the bytes that one slice of one tensor costs; and the memory beyond the
state. Times are the best of the rounds, the writers in turn; CPU is that of the process, kernel included.
"""

import argparse
import resource
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint._extension import ZStandard
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter

import mithril.checkpoint as mc
from mithril.checkpoint.dcp import DcpReader, DcpWriter
from mithril.core.content import ContentStore

ROUNDS = 3


def made_state(megabytes: int) -> dict[str, torch.Tensor]:
    """Half of the bytes are bf16 weights, half are fp32 moments."""
    generator = torch.Generator().manual_seed(1)
    parts = max(megabytes // 8, 1)
    state = {}
    for index in range(parts):
        weights = torch.randn(1 << 20, 2, generator=generator) * 0.01 * (1 + index % 7)
        state[f"layer{index}.weight"] = weights.to(torch.bfloat16)
        state[f"layer{index}.moment"] = weights[: 1 << 19] * 0.1
    return state


def size_of(state: dict[str, torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in state.values())


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def timed_with_cpu(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds that passed, and those of all threads."""
    before = time.process_time()
    return timed(work), time.process_time() - before


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def standstill(state: dict[str, torch.Tensor], folder: Path) -> None:
    held = []
    for step in range(ROUNDS + 1):
        held.append(timed(partial(mc.save_async, state, str(folder / "async"), step=step)))
        mc.wait()
    copy = {name: torch.empty_like(tensor) for name, tensor in state.items()}
    threads = torch.get_num_threads()
    # As many as `save_async` copies with; on a busy machine several wait for each other.
    torch.set_num_threads(1)
    copies = [timed(lambda: [copy[name].copy_(tensor) for name, tensor in state.items()]) for _ in range(ROUNDS + 1)]
    torch.set_num_threads(threads)
    best, copied = min(held[1:]), min(copies[1:])
    print(f"save_async holds up {best:.3f} s (first {held[0]:.3f}), a copy takes {copied:.3f} s: {best / copied:.2f}")


def distributed(state: dict[str, torch.Tensor], folder: Path) -> None:
    ways: dict[str, tuple[Callable[[str], Any], Callable[[str], Any]]] = {
        "mithril": (lambda path: DcpWriter(path, step=1, base=None), DcpReader),
        "torch": (FileSystemWriter, FileSystemReader),
        "torch with zstd": (lambda path: FileSystemWriter(path, _extensions=[ZStandard()]), FileSystemReader),
    }
    saves: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    loads: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    sizes = {}
    for index in range(ROUNDS):
        for name, (writer, reader) in ways.items():
            path = folder / f"dcp-{name.replace(' ', '-')}-{index}"
            saves[name].append(timed_with_cpu(partial(dcp.save, state, storage_writer=writer(str(path)))))
            target = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
            loads[name].append(timed_with_cpu(partial(dcp.load, target, storage_reader=reader(str(path)))))
            assert all(torch.equal(target[key], tensor) for key, tensor in state.items()), name
            sizes[name] = folder_bytes(path)
            shutil.rmtree(path)
    print(f"{'DCP':<18} {'save s':>8} {'CPU':>6} {'load s':>8} {'CPU':>6} {'MB':>8}  save by torch's, each round")
    for name in ways:
        save, save_cpu = map(min, zip(*saves[name], strict=True))
        load, load_cpu = map(min, zip(*loads[name], strict=True))
        ratios = [mine[0] / theirs[0] for mine, theirs in zip(saves[name], saves["torch"], strict=True)]
        print(
            f"{name:<18} {save:8.2f} {save_cpu:6.2f} {load:8.2f} {load_cpu:6.2f} {sizes[name] / 1e6:8.1f}  "
            + ", ".join(f"{ratio:.2f}" for ratio in ratios)
        )


def slices(state: dict[str, torch.Tensor], folder: Path) -> None:
    url = str(folder / "slices")
    mc.save(state, url, step=1)
    read = [folder_bytes(Path(url) / "steps")]
    original = ContentStore.get_range

    def counted(self: ContentStore, digest: str, start: int, length: int) -> bytes:
        read.append(length)
        return original(self, digest, start, length)

    ContentStore.get_range = counted  # type: ignore[method-assign]
    try:
        with mc.Checkpoint.open(url) as checkpoint:
            found = checkpoint.get_slice("layer0.weight")[1000:1010]
    finally:
        ContentStore.get_range = original  # type: ignore[method-assign]
    assert torch.equal(found, state["layer0.weight"][1000:1010])
    print(f"one slice reads {sum(read)} bytes, manifest included: {sum(read) / size_of(state):.3%} of the checkpoint")


def memory(state: dict[str, torch.Tensor], folder: Path) -> None:
    """Runs before the others: the highest mark of a process only rises."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    mc.save(state, str(folder / "memory"), step=1)
    saved = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    mc.load(str(folder / "memory"), into=state)
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"memory beyond the state: {(saved - before) / 1024:.0f} MB to save, {(loaded - before) / 1024:.0f} MB to load"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    state = made_state(options.megabytes)
    print(f"a state of {size_of(state) / 1e6:.0f} MB")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        memory(state, folder)
        standstill(state, folder)
        slices(state, folder)
        distributed(state, folder)


if __name__ == "__main__":
    main()
