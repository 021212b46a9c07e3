"""Reports on checkpoints: inspected, compared and verified."""

import collections
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mithril.checkpoint import steps
from mithril.checkpoint.arrays import empty
from mithril.checkpoint.chunks import ChunkReader
from mithril.checkpoint.loading import Checkpoint
from mithril.checkpoint.manifest import ChunkRef, Manifest, TensorEntry
from mithril.checkpoint.objects import Location, Objects, opened
from mithril.checkpoint.settings import CheckpointSettings
from mithril.core.config import load as load_config
from mithril.core.errors import MithrilError
from mithril.core.progress import Progress
from mithril.core.progress import Step as ProgressStep


@dataclass(frozen=True, slots=True)
class TensorReport:
    """Sizes of one tensor."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    raw_bytes: int
    stored_bytes: int
    delta_depth: int
    quantized_bits: int | None
    error_max: float | None

    @property
    def ratio(self) -> float:
        """Bytes of the tensor for each byte stored."""
        return self.raw_bytes / max(self.stored_bytes, 1)


@dataclass(frozen=True, slots=True)
class Inspection:
    """Sizes of one checkpoint. What several tensors share counts once in the sum."""

    step: int
    base_step: int | None
    raw_bytes: int
    stored_bytes: int
    metadata: dict[str, str]
    tensors: list[TensorReport]

    def parts(self) -> dict[str, tuple[int, int]]:
        """Bytes and stored bytes by the first part of the names."""
        sums: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
        for tensor in self.tensors:
            part = sums[tensor.name.partition("/")[0]]
            part[0] += tensor.raw_bytes
            part[1] += tensor.stored_bytes
        return {name: (raw, stored) for name, (raw, stored) in sums.items()}


@dataclass(frozen=True, slots=True)
class TensorDifference:
    """How a tensor differs between two checkpoints."""

    name: str
    change: str
    """"added", "removed", "type or shape" or "values"."""
    changed_share: float
    """Share of the chunks that differ."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The outcome of a verification."""

    steps: list[int]
    chunks: int
    problems: list[str]


def inspect(url: Location, step: int | None = None) -> Inspection:
    """The sizes of a checkpoint, the newest one by default. Reads its manifest only."""
    with Checkpoint.open(url, step=step) as checkpoint:
        manifest = checkpoint.manifest
        tensors = [_tensor_report(name, entry) for name, entry in manifest.tensors.items()]
        distinct = {(ref.object, ref.offset): ref.length for ref in manifest.refs()}
        return Inspection(
            manifest.step,
            manifest.base_step,
            manifest.nbytes,
            sum(distinct.values()),
            dict(manifest.metadata),
            tensors,
        )


def _tensor_report(name: str, entry: TensorEntry) -> TensorReport:
    refs = list(entry.refs())
    quantized = entry.quantized
    return TensorReport(
        name,
        entry.dtype.name,
        entry.shape,
        entry.nbytes,
        sum(ref.length for ref in refs),
        max((ref.depth for ref in refs), default=0),
        None if quantized is None else quantized.bits,
        None if quantized is None else quantized.error_max,
    )


def diff(url: Location, before: int, after: int) -> list[TensorDifference]:
    """The tensors that differ between two steps, by their hashes; elements are read where two are cut differently."""
    with Checkpoint.open(url, step=before) as old, Checkpoint.open(url, step=after) as new:
        found = [
            TensorDifference(name, "removed", 1.0) for name in old.manifest.tensors if name not in new.manifest.tensors
        ]
        for name, entry in new.manifest.tensors.items():
            previous = old.manifest.tensors.get(name)
            if previous is None:
                found.append(TensorDifference(name, "added", 1.0))
            elif (previous.dtype, previous.shape) != (entry.dtype, entry.shape):
                found.append(TensorDifference(name, "type or shape", 1.0))
            elif share := _changed_share(old, previous, new, entry):
                found.append(TensorDifference(name, "values", share))
    return found


def _changed_share(old: Checkpoint, previous: TensorEntry, new: Checkpoint, entry: TensorEntry) -> float:
    if _layout(old.manifest, previous) == _layout(new.manifest, entry):
        pairs = list(zip(previous.refs(), entry.refs(), strict=True))
        return sum(one.root != other.root for one, other in pairs) / max(len(pairs), 1)
    # Cut in another way: roots tell nothing, so the elements are compared.
    return float(_bytes_of(old, previous) != _bytes_of(new, entry))


def _layout(manifest: Manifest, entry: TensorEntry) -> object:
    boxes = [(shard.offset, shard.shape) for shard in entry.shards]
    quantized = entry.quantized and (entry.quantized.bits, entry.quantized.group)
    return manifest.block_bytes, manifest.chunk_bytes, boxes, quantized


def _bytes_of(checkpoint: Checkpoint, entry: TensorEntry) -> memoryview:
    _, memory = empty("torch" if entry.kind == "torch" else "numpy", entry.dtype, entry.shape)
    checkpoint.read_box_into(entry, tuple((0, size) for size in entry.shape), memory)
    return memory


def verify(
    url: Location,
    step: int | None = None,
    *,
    progress: Callable[[ProgressStep], None] | None = None,
) -> Verified:
    """Reads a checkpoint, or all of them, and checks every hash. Each chunk is read once, whoever shares it."""
    settings = load_config(CheckpointSettings).settings
    problems: list[str] = []
    with opened(url) as store:
        chosen = [info.step for info in steps.committed(store)] if step is None else [step]
        if not chosen:
            raise MithrilError(f"{store.url}: there is no checkpoint to verify")
        distinct: dict[tuple[str, int], ChunkRef] = {}
        for number in chosen:
            try:
                manifest = steps.read(store, number)
            except MithrilError as error:
                problems.append(str(error))
                continue
            distinct.update({(ref.object, ref.offset): ref for ref in manifest.refs()})
        reader = ChunkReader(Objects(store, settings.grace_s))

        def check(ref: ChunkRef) -> tuple[int, str | None]:
            try:
                return len(reader.whole(ref)), None
            except MithrilError as error:
                return ref.raw_bytes, str(error)

        total = sum(ref.raw_bytes for ref in distinct.values())
        with Progress("verify", total, progress) as shown, ThreadPoolExecutor(settings.workers) as pool:
            for size, problem in pool.map(check, distinct.values()):
                shown.add(size)
                if problem is not None:
                    problems.append(problem)
    return Verified(chosen, len(distinct), problems)
