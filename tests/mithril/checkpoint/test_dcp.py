"""PyTorch's distributed checkpoints: one rank and several, resharded, and in the background."""

import contextlib
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp
from tests.mithril.checkpoint.states import assert_same
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

import mithril.checkpoint as mc
from mithril.checkpoint.dcp import DcpReader, DcpWriter

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")


def state_of(seed: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "model": {
            "weight": torch.randn(121, 37, generator=generator),
            "half": torch.randn(64, 10, generator=generator).to(torch.bfloat16),
        },
        "optimizer": {"lr": 0.1 * seed, "betas": [0.9, 0.99]},
        "step": seed,
    }


def empty_state() -> dict[str, Any]:
    state = state_of(0)
    for tensor in state["model"].values():
        tensor.zero_()
    return state


def test_a_state_goes_through_dcp_and_comes_back(tmp_path: Path) -> None:
    url = str(tmp_path)
    dcp.save(state_of(3), storage_writer=DcpWriter(url, step=10))
    found = empty_state()
    dcp.load(found, storage_reader=DcpReader(url))
    assert_same(found, state_of(3))
    with mc.Checkpoint.open(url) as checkpoint:
        assert checkpoint.step == 10
        assert_same(checkpoint.get_tensor("model.weight"), state_of(3)["model"]["weight"])
        assert torch.equal(checkpoint.get_slice("model.weight")[5:9, 3], state_of(3)["model"]["weight"][5:9, 3])


def test_the_checkpoint_id_is_the_step_and_the_base_is_used(tmp_path: Path) -> None:
    url = str(tmp_path)
    for step in (1, 2):
        dcp.save(state_of(3), checkpoint_id=str(step), storage_writer=DcpWriter(url))
    assert [info.step for info in mc.list_steps(url)] == [1, 2]
    assert mc.inspect(url).base_step == 1
    found = empty_state()
    dcp.load(found, checkpoint_id="1", storage_reader=DcpReader(url))
    assert_same(found, state_of(3))
    with pytest.raises(CheckpointException, match="already"):
        dcp.save(state_of(3), checkpoint_id="2", storage_writer=DcpWriter(url))


def test_async_save_works(tmp_path: Path) -> None:
    url = str(tmp_path)
    state = state_of(5)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        future = dcp.async_save(state, storage_writer=DcpWriter(url, step=1))
        for tensor in state["model"].values():
            tensor.zero_()
        future.result()
    finally:
        dist.destroy_process_group()
    found = empty_state()
    dcp.load(found, storage_reader=DcpReader(url))
    assert_same(found, state_of(5))


def test_two_ranks_reshard_to_one_and_to_three(tmp_path: Path) -> None:
    # The server imports torch once for all ranks.
    mp.get_context("forkserver").set_forkserver_preload([__name__])
    mp.start_processes(_rank, (tmp_path,), nprocs=3, start_method="forkserver")
    expected = state_of(7)
    found = empty_state()
    dcp.load(found, storage_reader=DcpReader(str(tmp_path)))
    assert_same(found, expected)
    assert_same(mc.load(str(tmp_path))["model"], expected["model"])


def _rank(rank: int, folder: Path) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if rank < 2:
        with _group(rank, 2, folder):
            dcp.save(_sharded(state_of(7), 2, 0), storage_writer=DcpWriter(str(folder), step=1))
    with _group(rank, 3, folder):
        target = _sharded(empty_state(), 3, 1)
        dcp.load(target, storage_reader=DcpReader(str(folder)))
        for name, tensor in target["model"].items():
            assert isinstance(tensor, DTensor)
            assert torch.equal(tensor.full_tensor(), state_of(7)["model"][name])


@contextlib.contextmanager
def _group(rank: int, ranks: int, folder: Path) -> Iterator[None]:
    store = dist.FileStore(str(folder / f"group-{ranks}"), ranks)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks, timeout=timedelta(seconds=120))
    try:
        yield
        dist.barrier()
    finally:
        dist.destroy_process_group()


def _sharded(state: dict[str, Any], ranks: int, dimension: int) -> dict[str, Any]:
    mesh = init_device_mesh("cpu", (ranks,))
    model = state["model"]
    placed = {
        "weight": distribute_tensor(model["weight"], mesh, [Shard(dimension)]),
        "half": distribute_tensor(model["half"], mesh, [Replicate()]),
    }
    return {**state, "model": placed}
