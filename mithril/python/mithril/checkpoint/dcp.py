"""PyTorch's distributed checkpoints (DCP) in the format of this package.

    writer = DcpWriter("s3://bucket/run", step=1000)
    torch.distributed.checkpoint.save(state, storage_writer=writer)
    torch.distributed.checkpoint.load(state, storage_reader=DcpReader("s3://bucket/run"))

Each rank stores its own shards; the coordinator commits last. The result is a checkpoint like any other: `load`,
`verify` and `diff` read it.
"""

import io
import time
from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch.distributed.checkpoint import Metadata, StorageReader, StorageWriter
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import (
    LoadItemType,
    LoadPlan,
    LoadPlanner,
    SavePlan,
    SavePlanner,
    WriteItemType,
)
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from mithril.checkpoint import dtypes, steps
from mithril.checkpoint.arrays import Array, array_of, memory_of
from mithril.checkpoint.chunks import ChunkReader, ChunkWriter, Pool
from mithril.checkpoint.loading import Checkpoint
from mithril.checkpoint.manifest import Manifest, Shard, TensorEntry
from mithril.checkpoint.objects import Location, Objects
from mithril.checkpoint.saving import Base, base_chunks, base_manifest, submit_shard
from mithril.checkpoint.settings import CheckpointSettings
from mithril.core.config import load as load_config
from mithril.core.errors import MithrilError
from mithril.core.store import Store


def _finished(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


class DcpWriter(StorageWriter):  # type: ignore[misc, unused-ignore]
    """A storage writer. Without a step, `checkpoint_id` of `dcp.save` is the step."""

    def __init__(
        self,
        url: Location,
        *,
        step: int | None = None,
        base: Base = "auto",
        threads: int | None = None,
        overwrite: bool = False,
    ) -> None:
        super().__init__()
        self._store = url if isinstance(url, Store) else Store.open(url)
        self._settings = load_config(CheckpointSettings, {"threads": threads}).settings
        self._fixed_step = step
        self._step = step
        self._base = base
        self._overwrite = overwrite

    def reset(self, checkpoint_id: Any = None) -> None:
        """Begins a checkpoint."""
        self._step = self._fixed_step if checkpoint_id is None else _step_of(checkpoint_id)

    # torch passes the rank only to a parameter of the name `kwargs`.
    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Refuses a step that is taken, before anything is written."""
        if self._step is None:
            raise MithrilError("DcpWriter: say which step: DcpWriter(url, step=N), or checkpoint_id=N in dcp.save")
        if is_coordinator and not self._overwrite:
            steps.require_free(self._store, self._step)

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """The plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """The plans as they are."""
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Stores the items of this rank."""
        assert self._step is not None
        objects = Objects(self._store, self._settings.grace_s)
        chunks = ChunkWriter(objects, self._settings, ChunkReader(objects))
        old = base_manifest(self._store, self._step, self._base, self._settings)
        written: list[tuple[Any, Array, Shard]] = []
        with chunks as writer, Pool(self._settings.workers) as pool:
            for item in plan.items:
                data = planner.resolve_data(item)
                array = _array(item, data)
                offsets = tuple(item.index.offset or (0,) * len(array.shape))
                box = Shard(offsets, array.shape, [])
                entry = _entry_for(item, array)
                bases = base_chunks(old, item.index.fqn, entry, box)
                submit_shard(pool, writer, array, box, bases, self._settings, lambda _: None)
                written.append((item, array, box))
        base_step = None if old is None else old.step
        return _finished([_result(item, array, box, base_step) for item, array, box in written])

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Commits: the manifest is written when all shards are stored."""
        assert self._step is not None
        flat = [result for rank in results for result in rank]
        tensors = {}
        for name, stored in metadata.state_dict_metadata.items():
            shards = [result for result in flat if result.index.fqn == name]
            tensors[name] = _stored_entry(name, stored, shards)
        base_steps = {result.storage_data[1] for result in flat}
        manifest = Manifest(
            step=self._step,
            created=time.time(),
            block_bytes=self._settings.block_bytes,
            chunk_bytes=self._settings.chunk_bytes,
            tree=_tree(metadata.planner_data, tensors),
            tensors=tensors,
            base_step=next(iter(base_steps), None),
            dcp={"paths": _paths(metadata.planner_data), "torch": torch.__version__},
        )
        steps.commit(self._store, manifest, overwrite=self._overwrite)

    def storage_meta(self) -> StorageMeta | None:
        """Nothing beyond the manifest."""
        return None

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        """True for a step."""
        try:
            _step_of(checkpoint_id)
        except MithrilError:
            return False
        return True


class DcpReader(StorageReader):  # type: ignore[misc, unused-ignore]
    """A storage reader of a step, the newest one by default. Plain checkpoints of this package can be read too."""

    def __init__(self, url: Location, *, step: int | None = None, threads: int | None = None) -> None:
        super().__init__()
        self._url = url
        self._fixed_step = step
        self._threads = threads
        self._open: Checkpoint | None = None

    def reset(self, checkpoint_id: Any = None) -> None:
        """Opens the checkpoint."""
        step = self._fixed_step if checkpoint_id is None else _step_of(checkpoint_id)
        if self._open is not None:
            self._open.close()
        self._open = Checkpoint.open(self._url, step=step, threads=self._threads)

    @property
    def _checkpoint(self) -> Checkpoint:
        if self._open is None:
            self.reset()
        assert self._open is not None
        return self._open

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """The content of the checkpoint, in the terms of torch."""
        manifest = self._checkpoint.manifest
        paths = (manifest.dcp or {}).get("paths")
        return Metadata(
            state_dict_metadata={name: _torch_metadata(entry) for name, entry in manifest.tensors.items()},
            planner_data={name: tuple(path) for name, path in paths.items()} if paths else None,
            storage_data={
                MetadataIndex(name, torch.Size(shard.offset)) if entry.kind != "bytes" else MetadataIndex(name): None
                for name, entry in manifest.tensors.items()
                for shard in entry.shards
            },
        )

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Nothing to set up."""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """The plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """The plans as they are."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Reads what this rank needs: of each shard only the blocks that hold a part of it."""
        checkpoint = self._checkpoint
        filled = []
        with Pool(checkpoint.workers) as pool:
            for item in plan.items:
                entry = checkpoint.entry(item.storage_index.fqn)
                if item.type == LoadItemType.BYTE_IO:
                    planner.load_bytes(item, io.BytesIO(checkpoint.get_tensor(item.storage_index.fqn)))
                    continue
                at = item.storage_index.offset or (0,) * len(entry.shape)
                starts = [start + more for start, more in zip(at, item.storage_offsets, strict=True)]
                box = tuple(zip(starts, item.lengths, strict=True))
                target = planner.resolve_tensor(item)
                memory = memory_of(target.detach())
                if memory is not None:
                    checkpoint.submit_box(pool, entry, box, memory, lambda _: None)
                else:
                    checkpoint.submit_copy(pool, entry, box, target.detach(), lambda _: None)
                filled.append((item, target))
        for item, target in filled:
            planner.commit_tensor(item, target)
        return _finished(None)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        """True for a step."""
        return DcpWriter.validate_checkpoint_id(checkpoint_id)


def _step_of(checkpoint_id: Any) -> int:
    text = str(checkpoint_id)
    if not text.isdecimal():
        raise MithrilError(f"checkpoint_id={text!r}: give a step, a whole number; the URL goes to the writer or reader")
    return int(text)


def _array(item: Any, data: Any) -> Array:
    if item.type == WriteItemType.BYTE_IO:
        data = data.getvalue()
    array = array_of(data, item.index.fqn)
    assert array is not None
    return array


def _entry_for(item: Any, array: Array) -> TensorEntry:
    shape = array.shape if item.tensor_data is None else tuple(item.tensor_data.size)
    return TensorEntry(array.kind, array.dtype, shape, [])


def _result(item: Any, array: Array, box: Shard, base_step: int | None) -> WriteResult:
    size = sum(ref.length for ref in box.chunks)
    return WriteResult(item.index, size, (box, base_step, array.shape))


def _stored_entry(name: str, stored: Any, results: Sequence[WriteResult]) -> TensorEntry:
    shards = [result.storage_data[0] for result in results]
    if isinstance(stored, BytesStorageMetadata):
        return TensorEntry("bytes", dtypes.by_name("uint8"), results[0].storage_data[2], shards)
    dtype = dtypes.of_torch(stored.properties.dtype)
    found = sum(prod(shard.shape) for shard in shards)
    if found != prod(stored.size):
        raise MithrilError(f"{name}: {found} elements were written where the plan has {prod(stored.size)}")
    return TensorEntry("torch", dtype, tuple(stored.size), shards)


def _torch_metadata(entry: TensorEntry) -> Any:
    if entry.kind == "bytes":
        return BytesStorageMetadata()
    properties = TensorProperties(dtype=dtypes.to_torch(entry.dtype))
    chunks = [ChunkStorageMetadata(torch.Size(shard.offset), torch.Size(shard.shape)) for shard in entry.shards]
    return TensorStorageMetadata(properties, torch.Size(entry.shape), chunks)


def _paths(planner_data: Any) -> dict[str, list[str | int]]:
    """The paths of torch's flattened names, where the planner keeps some."""
    if not isinstance(planner_data, dict):
        return {}
    paths = {}
    for name, path in planner_data.items():
        if not isinstance(path, tuple) or not all(isinstance(key, str | int) for key in path):
            return {}
        paths[name] = list(path)
    return paths


def _tree(planner_data: Any, tensors: dict[str, TensorEntry]) -> dict[str, Any]:
    """The state as nested as it was: by the planner's paths, or flat."""
    paths = _paths(planner_data)
    root: dict[Any, Any] = {}
    for name in tensors:
        node = root
        *parents, last = paths.get(name, [name])
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = name
    return _node(root)


def _node(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"tensor": value}
    return {"dict": [[key, _node(item)] for key, item in value.items()]}
