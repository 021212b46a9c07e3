"""Saving: a state as chunks, and then its manifest."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import prod
from typing import Any, Literal

from mithril import _kernels
from mithril.checkpoint import steps
from mithril.checkpoint.arrays import Array
from mithril.checkpoint.chunks import ChunkReader, ChunkWriter, Pool
from mithril.checkpoint.manifest import ChunkRef, Manifest, Quantized, Shard, TensorEntry, chunk_sizes
from mithril.checkpoint.objects import Location, Objects, opened
from mithril.checkpoint.settings import CheckpointSettings
from mithril.checkpoint.tree import Node, flatten
from mithril.core.config import load as load_config
from mithril.core.errors import MithrilError
from mithril.core.progress import Progress
from mithril.core.progress import Step as ProgressStep
from mithril.core.store import Store
from mithril.core.telemetry import logger

Base = Literal["auto"] | int | None
Callback = Callable[[ProgressStep], None]
_QUANTIZABLE = ("float16", "bfloat16", "float32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantize:
    """A request to store some tensors with fewer bits, and by how much an element may be off.

    `names` are patterns such as `optimizer/*`. `error_max` bounds the error of an element as a share of the largest
    element of its group; a tensor that would exceed it is stored exactly, and the report says so.
    """

    names: tuple[str, ...]
    bits: Literal[8, 4] = 8
    group: int = 128
    error_max: float = 0.01

    def __post_init__(self) -> None:
        if isinstance(self.names, str):
            raise MithrilError(f"Quantize: names is a tuple of patterns, such as ({self.names!r},)")
        if self.bits not in (4, 8) or self.group < 2 or self.group % 2 or self.error_max <= 0:
            raise MithrilError("Quantize: bits is 8 or 4, group an even number from 2, error_max above 0")

    def applies(self, name: str, array: Array) -> bool:
        """True for a tensor that is meant and can be quantized."""
        return array.dtype.name in _QUANTIZABLE and any(fnmatchcase(name, pattern) for pattern in self.names)


@dataclass(frozen=True, slots=True)
class SaveReport:
    """The outcome of a save."""

    step: int
    base_step: int | None
    raw_bytes: int
    written_bytes: int
    """Bytes that were new to the store; what was there already is not among them."""
    seconds: float
    not_quantized: tuple[str, ...] = ()
    """Tensors that would have exceeded the bound asked for, and are stored exactly."""

    @property
    def ratio(self) -> float:
        """Bytes of the state for each byte written."""
        return self.raw_bytes / max(self.written_bytes, 1)


def save(
    state: Any,
    url: Location,
    *,
    step: int,
    base: Base = "auto",
    quantize: Quantize | None = None,
    metadata: Mapping[str, str] | None = None,
    progress: Callback | None = None,
    threads: int | None = None,
    overwrite: bool = False,
) -> SaveReport:
    """Saves a state, a nest of dicts, lists and tuples with tensors of torch, numpy or jax, as one step.

    `base` is the step that unchanged chunks are taken from and changed ones are coded against: "auto" for the newest
    one, a step, or None. The checkpoint is there when this returns, and until then no reader sees any of it. A step
    that has a checkpoint is refused, or with `overwrite` replaced in one moment.
    """
    settings = load_config(CheckpointSettings, {"threads": threads}).settings
    tree, tensors = flatten(state)
    with opened(url) as store:
        return save_flat(
            store, settings, tree, tensors, step, base, quantize, metadata or {}, progress, overwrite=overwrite
        )


def save_flat(
    store: Store,
    settings: CheckpointSettings,
    tree: Node,
    tensors: Mapping[str, Array],
    step: int,
    base: Base,
    quantize: Quantize | None,
    metadata: Mapping[str, str],
    progress: Callback | None,
    ttl: float | None = None,
    *,
    overwrite: bool = False,
) -> SaveReport:
    """Saves a flattened state into an open store."""
    start = time.monotonic()
    if not overwrite:
        steps.require_free(store, step)
    old = base_manifest(store, step, base, settings)
    objects = Objects(store, settings.grace_s, ttl)
    chunks = ChunkWriter(objects, settings, ChunkReader(objects))
    total = sum(array.nbytes for array in tensors.values())
    entries: dict[str, TensorEntry] = {}
    not_quantized: list[str] = []
    with (
        Progress(f"save step {step}", total, progress) as shown,
        chunks as writer,
        Pool(settings.workers) as pool,
    ):
        for name, array in tensors.items():
            box = Shard((0,) * len(array.shape), array.shape, [])
            entry = TensorEntry(array.kind, array.dtype, array.shape, [box])
            bases = base_chunks(old, name, entry, box)
            wanted = quantize if quantize is not None and quantize.applies(name, array) else None
            if wanted is not None and quantize_tensor(writer, array, box, wanted, entry, settings):
                shown.add(array.nbytes)
                entries[name] = entry
                continue
            if wanted is not None:
                not_quantized.append(name)
            submit_shard(pool, writer, array, box, bases, settings, shown.add)
            entries[name] = entry
    manifest = Manifest(
        step=step,
        created=time.time(),
        block_bytes=settings.block_bytes,
        chunk_bytes=settings.chunk_bytes,
        tree=tree,
        tensors=entries,
        metadata=metadata,
        base_step=None if old is None else old.step,
    )
    manifest_bytes = steps.commit(store, manifest, ttl, overwrite=overwrite)
    written = objects.written_bytes + manifest_bytes
    if not_quantized:
        logger("checkpoint").warning("stored exactly, as the bound would not have held", tensors=not_quantized)
    return SaveReport(step, manifest.base_step, total, written, time.monotonic() - start, tuple(not_quantized))


def base_manifest(store: Store, step: int, base: Base, settings: CheckpointSettings) -> Manifest | None:
    """The manifest that deltas refer to. Sizes of blocks and chunks must be the same; else there is none."""
    if base is None:
        return None
    if base == "auto":
        newest = steps.newest(store)
        if newest is None or newest == step:
            return None
        found = steps.read(store, newest)
    else:
        found = steps.read(store, base)
    same = (found.block_bytes, found.chunk_bytes) == (settings.block_bytes, settings.chunk_bytes)
    return found if same else None


def base_chunks(old: Manifest | None, name: str, entry: TensorEntry, box: Shard) -> list[ChunkRef] | None:
    """The chunks of the same box of the same tensor in the base."""
    before = None if old is None else old.tensors.get(name)
    if before is None or before.quantized is not None or (before.dtype, before.shape) != (entry.dtype, entry.shape):
        return None
    for shard in before.shards:
        if (shard.offset, shard.shape) == (box.offset, box.shape):
            return shard.chunks
    return None


def submit_shard(
    pool: Pool,
    writer: ChunkWriter,
    array: Array,
    box: Shard,
    bases: list[ChunkRef] | None,
    settings: CheckpointSettings,
    done: Callable[[int], None],
) -> None:
    """Has the chunks of an array encoded and stored; `box` gets their references."""
    sizes = list(chunk_sizes(prod(box.shape) * array.dtype.width, settings.chunk_bytes))
    box.chunks = [ChunkRef("", 0, 0, size, "") for size in sizes]

    def task(index: int, start: int, size: int) -> None:
        base = bases[index] if bases is not None else None
        box.chunks[index] = writer.write(array.dtype.element, array.part(start, start + size), base)
        array.release(start)
        done(size)

    for index, size in enumerate(sizes):
        pool.submit(task, index, index * settings.chunk_bytes, size)


def quantize_tensor(
    writer: ChunkWriter,
    array: Array,
    box: Shard,
    wanted: Quantize,
    entry: TensorEntry,
    settings: CheckpointSettings,
) -> bool:
    """Stores an array with fewer bits; false where the bound would not hold."""
    element = array.dtype.element
    found = Quantized(wanted.bits, wanted.group, 0.0, 0.0)
    start = 0
    refs = []
    for size in chunk_sizes(array.nbytes, settings.chunk_bytes):
        try:
            payload, error, relative = _kernels.quantize(
                element, wanted.bits, wanted.group, array.part(start, start + size)
            )
        except _kernels.KernelError:
            return False
        if relative > wanted.error_max:
            return False
        found = replace(
            found,
            error_max=max(found.error_max, error),
            relative_error_max=max(found.relative_error_max, relative),
        )
        refs.append(writer.write("u8", payload, None))
        start += size
    box.chunks = refs
    entry.quantized = found
    return True
