"""Loading: whole states, single tensors and slices of them."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from mithril import _kernels
from mithril.checkpoint import arrays, steps
from mithril.checkpoint.arrays import Kind
from mithril.checkpoint.boxes import Box, contiguous_runs, intersection, normalised, places, slabs
from mithril.checkpoint.chunks import ChunkReader, Pool
from mithril.checkpoint.manifest import Manifest, Shard, TensorEntry
from mithril.checkpoint.objects import Location, Objects
from mithril.checkpoint.settings import CheckpointSettings
from mithril.checkpoint.tree import targets, unflatten
from mithril.core.config import load as load_config
from mithril.core.errors import DamagedError, MithrilError, NotFoundError
from mithril.core.progress import Progress
from mithril.core.progress import Step as ProgressStep
from mithril.core.store import Store

Framework = Literal["torch", "numpy", "jax"]
# Runs of elements that are closer together than this are read in one piece.
_GAP_BYTES_MAX = 64 << 10


def load(
    url: Location,
    *,
    step: int | None = None,
    into: Any = None,
    framework: Framework | None = None,
    progress: Callable[[ProgressStep], None] | None = None,
    threads: int | None = None,
) -> Any:
    """The state of a step, the newest one by default.

    `into` is a state whose tensors are filled in place, without a second copy where they are contiguous and on the
    host; the result then holds these very tensors. Tensors come in the framework that they were saved from, or in
    `framework`.
    """
    with Checkpoint.open(url, step=step, threads=threads) as checkpoint:
        return checkpoint.load(into=into, framework=framework, progress=progress)


class Checkpoint:
    """An open checkpoint: its tensors are read when they are asked for."""

    def __init__(self, store: Store, manifest: Manifest, settings: CheckpointSettings) -> None:
        self.store = store
        self.manifest = manifest
        self._settings = settings
        self._reader = ChunkReader(Objects(store, settings.grace_s))
        self._owns_store = False

    @classmethod
    def open(cls, url: Location, *, step: int | None = None, threads: int | None = None) -> Self:
        """The checkpoint of a step, the newest one by default."""
        settings = load_config(CheckpointSettings, {"threads": threads}).settings
        store = url if isinstance(url, Store) else Store.open(url)
        try:
            chosen = steps.newest(store) if step is None else step
            if chosen is None:
                raise NotFoundError("there is no checkpoint", store.url)
            checkpoint = cls(store, steps.read(store, chosen), settings)
        except BaseException:
            if store is not url:
                store.close()
            raise
        checkpoint._owns_store = store is not url
        return checkpoint

    @property
    def step(self) -> int:
        """Its step."""
        return self.manifest.step

    @property
    def workers(self) -> int:
        """The number of threads that read."""
        return self._settings.workers

    @property
    def metadata(self) -> Mapping[str, str]:
        """The strings that were given when it was saved."""
        return self.manifest.metadata

    def keys(self) -> list[str]:
        """The names of its tensors."""
        return list(self.manifest.tensors)

    def entry(self, name: str) -> TensorEntry:
        """The entry of a tensor in the manifest."""
        entry = self.manifest.tensors.get(name)
        if entry is None:
            raise MithrilError(f"step {self.step} has no tensor {name!r}; `keys` has the names")
        return entry

    def get_tensor(self, name: str, framework: Framework | None = None) -> Any:
        """A tensor."""
        kind = _kind(self.entry(name), framework)
        return self._read_new(self.entry(name), kind)

    def get_slice(self, name: str, framework: Framework | None = None) -> "TensorSlice":
        """A tensor of which parts are read: `checkpoint.get_slice(name)[10:20, :]`."""
        return TensorSlice(self, name, framework)

    def read_box(self, name: str, box: Box, framework: Framework | None = None) -> Any:
        """A box of a tensor: (start, length) of each dimension."""
        entry = self.entry(name)
        kind = _kind(entry, framework)
        value, memory = arrays.empty(kind, entry.dtype, [length for _, length in box])
        self.read_box_into(entry, box, memory)
        return arrays.finished(kind, value)

    def read_box_into(self, entry: TensorEntry, box: Box, memory: memoryview) -> None:
        """Fills memory with a box of a tensor, in row-major order."""
        shape = tuple(length for _, length in box)
        width = entry.dtype.width
        covered = 0
        target = np.frombuffer(memory, np.dtype((np.void, width))).reshape(shape)
        for shard in entry.shards:
            shared = intersection(box, tuple(zip(shard.offset, shard.shape, strict=True)))
            if shared is None:
                continue
            covered += prod(length for _, length in shared)
            if shared == box:
                self._read_runs(entry, shard, _inner(shared, shard), memory)
                continue
            for slab in slabs(shared, width, self.manifest.chunk_bytes):
                part = bytearray(prod(length for _, length in slab) * width)
                self._read_runs(entry, shard, _inner(slab, shard), memoryview(part))
                lengths = tuple(length for _, length in slab)
                target[places(slab, box)] = np.frombuffer(part, target.dtype).reshape(lengths)
        if covered != prod(shape):
            raise DamagedError(f"step {self.step}: the shards of a tensor do not cover it; use another step")

    def _read_runs(self, entry: TensorEntry, shard: Shard, box: Box, memory: memoryview) -> None:
        """Reads a box of a shard: the runs of elements that lie side by side, near ones together."""
        width = entry.dtype.width
        starts, length = contiguous_runs(shard.shape, box)
        run_bytes = length * width
        starts = starts * width
        if len(starts) == 1 or run_bytes >= _GAP_BYTES_MAX:
            for index, start in enumerate(starts.tolist()):
                self._read_flat(entry, shard, start, memory[index * run_bytes : (index + 1) * run_bytes])
            return
        first = 0
        while first < len(starts):
            last = self._group_end(starts, first, run_bytes)
            begin, end = int(starts[first]), int(starts[last - 1]) + run_bytes
            piece = bytearray(end - begin)
            self._read_flat(entry, shard, begin, memoryview(piece))
            _gather(np.frombuffer(piece, np.uint8), starts[first:last] - begin, run_bytes, memory[first * run_bytes :])
            first = last

    def _group_end(self, starts: npt.NDArray[np.int64], first: int, run_bytes: int) -> int:
        gaps = np.diff(starts[first:]) - run_bytes > _GAP_BYTES_MAX
        until = first + (int(np.argmax(gaps)) + 1 if gaps.any() else len(starts) - first)
        within = int(np.searchsorted(starts, int(starts[first]) + self.manifest.chunk_bytes, side="right"))
        return max(first + 1, min(until, within))

    def _read_flat(self, entry: TensorEntry, shard: Shard, start: int, target: memoryview) -> None:
        """Reads a run of bytes of a shard."""
        chunk_bytes = self.manifest.chunk_bytes
        end = start + len(target)
        for index in range(start // chunk_bytes, -(-end // chunk_bytes)):
            at = index * chunk_bytes
            low, high = max(start, at), min(end, at + chunk_bytes)
            self._read_chunk(entry, shard, index, low - at, high - at, target[low - start : high - start])

    def _read_chunk(
        self, entry: TensorEntry, shard: Shard, index: int, low: int, high: int, target: memoryview
    ) -> None:
        ref = shard.chunks[index]
        if entry.quantized is not None:
            target[:] = self._dequantized(entry, shard, index)[low:high]
        elif low == 0 and high == ref.raw_bytes:
            self._reader.read_into(ref, target)
        else:
            size = self.manifest.block_bytes
            first, end = low // size, -(-high // size)
            blocks = self._reader.read_blocks(ref, size, first, end)
            target[:] = memoryview(blocks)[low - first * size : high - first * size]

    def _dequantized(self, entry: TensorEntry, shard: Shard, index: int) -> memoryview:
        assert entry.quantized is not None
        total = prod(shard.shape) * entry.dtype.width
        size = min(self.manifest.chunk_bytes, total - index * self.manifest.chunk_bytes)
        out = bytearray(size)
        payload = self._reader.whole(shard.chunks[index])
        try:
            _kernels.dequantize(entry.dtype.element, entry.quantized.bits, entry.quantized.group, payload, out)
        except (_kernels.KernelError, ValueError) as error:
            raise DamagedError(f"step {self.step}: a quantized tensor is damaged: {error}") from None
        return memoryview(out)

    def load(
        self,
        *,
        into: Any = None,
        framework: Framework | None = None,
        progress: Callable[[ProgressStep], None] | None = None,
    ) -> Any:
        """The whole state. See `mithril.checkpoint.load`."""
        given = {} if into is None else targets(into)
        self._check_targets(given, into is not None)
        values: dict[str, Any] = {}
        copies: list[tuple[Any, Any]] = []
        total = self.manifest.nbytes
        with (
            Progress(f"load step {self.step}", total, progress) as shown,
            Pool(self._settings.workers) as pool,
        ):
            for name, entry in self.manifest.tensors.items():
                memory = arrays.memory_of(given[name]) if name in given else None
                if memory is not None:
                    values[name] = given[name]
                elif name in given:
                    values[name] = given[name]
                    self.submit_copy(pool, entry, _whole(entry), given[name], shown.add)
                    continue
                else:
                    values[name], memory = arrays.empty(_kind(entry, framework), entry.dtype, entry.shape)
                    copies.append((name, entry))
                self.submit_box(pool, entry, _whole(entry), memory, shown.add)
        for name, entry in copies:
            values[name] = arrays.finished(_kind(entry, framework), values[name])
        return unflatten(self.manifest.tree, lambda name: self._named(values, name))

    def _named(self, values: Mapping[str, Any], name: str) -> Any:
        if name not in values:
            raise DamagedError(f"step {self.step}: the tree names a tensor {name!r} that is not there")
        return values[name]

    def submit_box(
        self, pool: Pool, entry: TensorEntry, box: Box, memory: memoryview, done: Callable[[int], None]
    ) -> None:
        """Has memory filled with a box of a tensor, by chunks where the box is stored as it is, else by its rows."""
        shard = next((one for one in entry.shards if tuple(zip(one.offset, one.shape, strict=True)) == box), None)

        def chunk(index: int, low: int, high: int) -> None:
            assert shard is not None
            self._read_chunk(entry, shard, index, 0, high - low, memory[low:high])
            done(high - low)

        def slab(part: Box, low: int, high: int) -> None:
            self.read_box_into(entry, part, memory[low:high])
            done(high - low)

        size = self.manifest.chunk_bytes
        if shard is not None:
            for index, low in enumerate(range(0, len(memory), size)):
                pool.submit(chunk, index, low, min(low + size, len(memory)))
            return
        low = 0
        for part in slabs(box, entry.dtype.width, size):
            high = low + prod(length for _, length in part) * entry.dtype.width
            pool.submit(slab, part, low, high)
            low = high

    def submit_copy(self, pool: Pool, entry: TensorEntry, box: Box, target: Any, done: Callable[[int], None]) -> None:
        """Has a tensor filled that is on another device or not contiguous, by way of the host, some rows at a time."""
        kind: Kind = "numpy" if isinstance(target, np.ndarray) else "torch"

        def copy(part: Box) -> None:
            host, memory = arrays.empty(kind, entry.dtype, [length for _, length in part])
            self.read_box_into(entry, part, memory)
            # The ellipsis has numpy give a view of a scalar, too.
            arrays.copy_into(target[(*places(part, box), ...)], host)
            done(len(memory))

        for part in slabs(box, entry.dtype.width, self.manifest.chunk_bytes):
            pool.submit(copy, part)

    def _read_new(self, entry: TensorEntry, kind: Kind) -> Any:
        value, memory = arrays.empty(kind, entry.dtype, entry.shape)
        with Pool(self._settings.workers) as pool:
            self.submit_box(pool, entry, _whole(entry), memory, lambda _: None)
        return arrays.finished(kind, value)

    def _check_targets(self, given: Mapping[str, Any], wanted: bool) -> None:
        """All tensors of both sides fit, or nothing is written."""
        if not wanted:
            return
        missing = [name for name in self.manifest.tensors if name not in given and self.entry(name).kind != "bytes"]
        extra = [name for name in given if name not in self.manifest.tensors]
        if missing or extra:
            raise MithrilError(
                f"step {self.step} does not fit `into`: not in `into`: {_some(missing)}; not in the checkpoint: "
                f"{_some(extra)}"
            )
        for name, value in given.items():
            array = arrays.array_of(value, name)
            entry = self.entry(name)
            if array is None or array.kind == "jax":
                raise MithrilError(f"{name}: jax arrays cannot be filled in place; load without `into`")
            if (array.shape, array.dtype) != (entry.shape, entry.dtype):
                raise MithrilError(
                    f"{name}: `into` has {array.dtype.name}{list(array.shape)}, "
                    f"the checkpoint {entry.dtype.name}{list(entry.shape)}"
                )

    def close(self) -> None:
        """Closes its store, unless that was open before."""
        if self._owns_store:
            self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class TensorSlice:
    """A tensor of which parts are read by indexing, as with `safetensors.safe_open`."""

    def __init__(self, checkpoint: Checkpoint, name: str, framework: Framework | None) -> None:
        self._checkpoint = checkpoint
        self._name = name
        self._framework = framework
        self._entry = checkpoint.entry(name)

    def get_shape(self) -> list[int]:
        """Its shape."""
        return list(self._entry.shape)

    def get_dtype(self) -> str:
        """The name of its type, as safetensors has it where it does."""
        return self._entry.dtype.safetensors or self._entry.dtype.name

    def __getitem__(self, index: Any) -> Any:
        box, dropped, strides = normalised(self._entry.shape, index)
        value = self._checkpoint.read_box(self._name, box, self._framework)
        if any(stride != 1 for stride in strides):
            value = value[tuple(slice(None, None, stride) for stride in strides)]
        kept = [size for dimension, size in enumerate(value.shape) if dimension not in dropped]
        return value.reshape(kept) if dropped else value


def _gather(piece: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], run_bytes: int, target: memoryview) -> None:
    out = np.frombuffer(target, np.uint8)[: len(starts) * run_bytes].reshape(len(starts), run_bytes)
    steps_between = np.diff(starts)
    if len(starts) > 1 and (steps_between == steps_between[0]).all():
        # Evenly spaced, as the rows of a matrix are: one strided copy.
        out[:] = np.lib.stride_tricks.as_strided(
            piece[int(starts[0]) :], out.shape, (int(steps_between[0]), 1), writeable=False
        )
        return
    for row, start in zip(out, starts.tolist(), strict=True):
        row[:] = piece[start : start + run_bytes]


def _kind(entry: TensorEntry, framework: Framework | None) -> Kind:
    return entry.kind if framework is None or entry.kind == "bytes" else framework


def _whole(entry: TensorEntry) -> Box:
    return tuple((0, size) for size in entry.shape)


def _inner(box: Box, shard: Shard) -> Box:
    """A box of a tensor, counted from the start of a shard that holds it."""
    return tuple((start - at, length) for (start, length), at in zip(box, shard.offset, strict=True))


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5]) or "none"
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
