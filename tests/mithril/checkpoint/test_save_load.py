"""States come back bit for bit, whole, in place and by slices."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.mithril.checkpoint.states import assert_same, bits, trained, training_state

import mithril.checkpoint as mc
from mithril.checkpoint.objects import Objects
from mithril.core.errors import DamagedError, ExistsError, MithrilError, NotFoundError

TORCH_TYPES = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32,
    torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128,
    torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz,
)  # fmt: skip


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(tmp_path / "run")


def test_a_training_state_comes_back_exactly(url: str) -> None:
    state = training_state()
    report = mc.save(state, url, step=10, metadata={"commit": "abc"})
    assert report.written_bytes < report.raw_bytes
    assert_same(mc.load(url), state)
    with mc.Checkpoint.open(url) as checkpoint:
        assert (checkpoint.step, dict(checkpoint.metadata)) == (10, {"commit": "abc"})


@pytest.mark.parametrize("dtype", TORCH_TYPES, ids=str)
def test_every_bit_pattern_of_every_type_comes_back(dtype: torch.dtype, url: str) -> None:
    width = torch.empty(0, dtype=dtype).element_size()
    count = 70_000
    noise = np.random.default_rng(5).integers(0, 256, count * width, np.uint8)
    if dtype == torch.bool:
        noise &= 1
    elif width == 2:
        noise[: 2 * 65536] = np.arange(65536, dtype=np.uint16).view(np.uint8)
    raw = torch.from_numpy(noise)
    tensor = (
        raw.view(torch.float32 if width == 8 else torch.float64).view(dtype) if dtype.is_complex else raw.view(dtype)
    )
    state = {"all": tensor, "empty": tensor[:0], "scalar": tensor[5].clone()}
    mc.save(state, url, step=1)
    assert_same(mc.load(url), state)


def test_floats_and_other_values_keep_their_types(url: str) -> None:
    state: dict[str, Any] = {
        "values": [1, True, None, "x", 0.1, -0.0, math.inf, 10**30, b"\x00"],
        "nested": ({}, [], (), {1: {"a/b~c": torch.ones(2)}}),
    }
    mc.save(state, url, step=1)
    assert_same(mc.load(url), state)
    mc.save({"nan": math.nan}, url, step=2)
    assert math.isnan(mc.load(url)["nan"])


def test_strided_and_shared_tensors_come_back(url: str) -> None:
    base = torch.randn(400, 500)
    state = {
        "t": base.t(),
        "every": base[::2, ::3],
        "column": base[:, 7],
        "whole": base,
        "again": base,
        "one": base[3:4],
    }
    report = mc.save(state, url, step=1)
    # `whole` and `again` are stored once.
    assert report.written_bytes < report.raw_bytes - base.nbytes
    assert_same(mc.load(url), {name: tensor.contiguous() for name, tensor in state.items()})


def test_equal_tensors_are_stored_once_whichever_thread_has_them(url: str) -> None:
    tensor = torch.randn(400, 500)
    state = {f"layer{number}": tensor.clone() for number in range(32)}
    report = mc.save(state, url, step=1, threads=8)
    assert report.written_bytes < 2 * tensor.nbytes


def test_numpy_arrays_in_any_order_come_back(url: str) -> None:
    array = np.random.default_rng(1).normal(size=(30, 40))
    state: dict[str, Any] = {
        "c": array,
        "f": np.asfortranarray(array),
        "big": array.astype(">f8"),
        "scalar": np.float32(3),
    }
    mc.save(state, url, step=1)
    found = mc.load(url)
    for name, array in state.items():
        assert np.array_equal(found[name], array)


def test_into_fills_the_given_tensors_without_replacing_them(url: str) -> None:
    state = training_state()
    mc.save(state, url, step=1)
    target = training_state(seed=9)
    target["model"]["layer1.weight"] = torch.zeros(300, 300, dtype=torch.bfloat16).t()
    kept = target["model"]["layer0.weight"]
    found = mc.load(url, into=target)
    assert found["model"]["layer0.weight"] is kept
    assert_same(found, state)


def test_into_that_does_not_fit_is_refused_before_anything_is_written(url: str) -> None:
    mc.save({"a": torch.ones(3), "b": torch.ones(4)}, url, step=1)
    target = {"a": torch.zeros(3), "b": torch.zeros(5)}
    with pytest.raises(MithrilError, match=r"b: `into` has float32\[5\], the checkpoint float32\[4\]"):
        mc.load(url, into=target)
    with pytest.raises(MithrilError, match="not in `into`: b"):
        mc.load(url, into={"a": torch.zeros(3)})
    assert target["a"].sum() == 0


def test_frameworks_can_be_exchanged(url: str) -> None:
    mc.save({"a": torch.arange(6).reshape(2, 3)}, url, step=1)
    found = mc.load(url, framework="numpy")["a"]
    assert isinstance(found, np.ndarray)
    assert found.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_jax_arrays_come_back_as_jax_arrays(url: str) -> None:
    jnp = pytest.importorskip("jax.numpy", reason="jax is not installed")
    array = jnp.arange(1000, dtype=jnp.bfloat16).reshape(10, 100)
    mc.save({"a": array, "s": jnp.float32(2.5)}, url, step=1)
    found = mc.load(url)
    assert found["a"].dtype == jnp.bfloat16
    assert bool((found["a"] == array).all())
    assert float(found["s"]) == 2.5
    assert bits(mc.load(url, framework="torch")["a"]) == np.asarray(array).tobytes()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "model/x: a value of type object cannot be stored"),
        (torch.ones(2).to_sparse(), "model/x: sparse"),
        (1j, "a value of type complex cannot be stored"),
        ({(1, 2): 3}, "keys are strings or integers"),
    ],
)
def test_what_cannot_be_stored_is_named(value: Any, message: str, url: str) -> None:
    with pytest.raises(MithrilError, match=message):
        mc.save({"model": {"x": value}}, url, step=1)
    assert mc.latest(url) is None


def test_a_step_is_written_once(url: str) -> None:
    mc.save({"a": 1}, url, step=1)
    with pytest.raises(ExistsError, match="step 1 has a checkpoint already"):
        mc.save({"a": 2}, url, step=1)
    assert mc.load(url) == {"a": 1}


def test_steps_that_are_not_there_are_told(url: str) -> None:
    with pytest.raises(NotFoundError, match="there is no checkpoint"):
        mc.load(url)
    mc.save({}, url, step=3)
    with pytest.raises(NotFoundError, match="there are 3"):
        mc.load(url, step=4)


INDICES = st.tuples(
    *[st.one_of(st.integers(-n, n - 1), st.slices(n).filter(lambda s: (s.step or 1) > 0)) for n in (7, 90, 50)]
)


@settings(deadline=None, max_examples=60)
@given(index=INDICES)
def test_slices_are_those_of_the_tensor(index: Any, saved: tuple[mc.Checkpoint, torch.Tensor]) -> None:
    checkpoint, tensor = saved
    assert torch.equal(checkpoint.get_slice("a")[index], tensor[index])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[mc.Checkpoint, torch.Tensor]:
    url = str(tmp_path_factory.mktemp("run"))
    tensor = torch.randn(7, 90, 50)
    patch = pytest.MonkeyPatch()
    patch.setenv("MITHRIL_CHECKPOINT_BLOCK_BYTES", "4096")
    patch.setenv("MITHRIL_CHECKPOINT_CHUNK_BYTES", "32768")
    mc.save({"a": tensor}, url, step=1)
    mc.save({"a": tensor + 1e-6}, url, step=2)
    patch.undo()
    return mc.Checkpoint.open(url), tensor + 1e-6


def test_slices_of_other_forms(saved: tuple[mc.Checkpoint, torch.Tensor]) -> None:
    checkpoint, tensor = saved
    view = checkpoint.get_slice("a")
    assert (view.get_shape(), view.get_dtype()) == ([7, 90, 50], "F32")
    assert torch.equal(view[...], tensor)
    assert torch.equal(view[..., 3], tensor[..., 3])
    assert torch.equal(view[2:], tensor[2:])
    assert torch.equal(view[5:2], tensor[5:2])
    for wrong in (9, (0, 0, 0, 0), (Ellipsis, Ellipsis), "x", slice(None, None, -1)):
        with pytest.raises(MithrilError, match="index"):
            view[wrong]


def test_a_slice_reads_little_of_the_store(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = torch.randn(2048, 2048)
    mc.save({"a": tensor}, url, step=1)
    read: list[int] = []
    original = Objects.read

    def counted(self: Any, address: str, start: int, length: int) -> bytes:
        read.append(length)
        return original(self, address, start, length)

    monkeypatch.setattr(Objects, "read", counted)
    with mc.Checkpoint.open(url) as checkpoint:
        assert torch.equal(checkpoint.get_slice("a")[1000:1010], tensor[1000:1010])
    assert sum(read) < tensor.nbytes * 0.04


def test_unchanged_chunks_are_not_written_again(url: str) -> None:
    state = training_state()
    first = mc.save(state, url, step=1)
    second = mc.save(state, url, step=2)
    assert second.base_step == 1
    assert second.written_bytes < first.written_bytes * 0.02
    assert_same(mc.load(url), state)


def test_deltas_are_smaller_exact_and_bounded_in_number(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MITHRIL_CHECKPOINT_CHAIN_MAX", "2")
    state = training_state()
    states = {}
    written = {}
    for step in range(1, 8):
        states[step] = state
        written[step] = mc.save(state, url, step=step).written_bytes
        state = trained(state, seed=step)
    assert written[2] < written[1] / 4
    # Two deltas, then the full chunks again.
    depths = [max(ref.depth for ref in mc.Checkpoint.open(url, step=step).manifest.refs()) for step in states]
    assert depths == [0, 1, 2, 0, 1, 2, 0]
    for step, expected in states.items():
        assert_same(mc.load(url, step=step), expected)


def test_a_save_without_base_is_full(url: str) -> None:
    state = training_state()
    mc.save(state, url, step=1)
    mc.save(trained(state), url, step=2, base=None)
    with mc.Checkpoint.open(url) as checkpoint:
        assert all(ref.base is None for ref in checkpoint.manifest.refs())


def test_removing_the_base_keeps_the_delta_whole(url: str) -> None:
    state = training_state()
    later = trained(state)
    mc.save(state, url, step=1)
    mc.save(later, url, step=2)
    kept = mc.retain(url, last=1, grace_s=0)
    assert (kept.kept, kept.removed) == ([2], [1])
    assert_same(mc.load(url), later)


def test_retain_keeps_the_last_and_every_nth_and_deletes_the_rest(url: str) -> None:
    for step in range(1, 8):
        mc.save({"a": torch.full((300, 300), float(step)).normal_()}, url, step=step, base=None)
    kept = mc.retain(url, last=2, every=3, grace_s=0)
    assert kept.kept == [3, 6, 7]
    assert kept.objects == 4
    assert [info.step for info in mc.list_steps(url)] == [3, 6, 7]
    for step in kept.kept:
        mc.load(url, step=step)
    with pytest.raises(MithrilError, match="say what to keep"):
        mc.retain(url)


def test_young_objects_survive_the_collection(url: str) -> None:
    mc.save({"a": torch.randn(300, 300)}, url, step=1)
    mc.save({"a": torch.randn(300, 300)}, url, step=2, base=None)
    assert mc.retain(url, last=1).objects == 0


@pytest.mark.parametrize("bits_wanted", [8, 4])
def test_quantization_is_by_name_and_bound(bits_wanted: Any, url: str) -> None:
    state = training_state()
    bound = {8: 0.006, 4: 0.08}[bits_wanted]
    wanted = mc.Quantize(names=("optimizer/*exp_avg",), bits=bits_wanted, error_max=bound)
    mc.save(state, url, step=1, quantize=wanted)
    found = mc.load(url)
    assert_same(found["model"], state["model"])
    before, after = (s["optimizer"]["state"][0]["exp_avg"] for s in (state, found))
    assert not torch.equal(before, after)
    with mc.Checkpoint.open(url) as checkpoint:
        stored = checkpoint.entry("optimizer/state/0/exp_avg").quantized
        assert stored is not None
        assert (before - after).abs().max().item() <= stored.error_max
        part = checkpoint.get_slice("optimizer/state/0/exp_avg")[10:20, 5]
        assert torch.equal(part, after[10:20, 5])


def test_a_tensor_beyond_the_bound_is_stored_exactly(url: str) -> None:
    state = {"a": torch.randn(100, 100), "b": torch.tensor([1.0, math.nan])}
    report = mc.save(state, url, step=1, quantize=mc.Quantize(names=("*",), bits=4, error_max=1e-6))
    assert report.not_quantized == ("a", "b")
    assert_same(mc.load(url), state)


def test_any_damage_is_an_error_and_never_other_data(url: str) -> None:
    state = {"a": torch.randn(200, 200), "b": torch.arange(1000)}
    mc.save(state, url, step=1)
    generator = np.random.default_rng(3)
    for file in [path for path in Path(url).rglob("*") if path.is_file()]:
        whole = file.read_bytes()
        for position in generator.integers(0, len(whole), 40).tolist():
            damaged = bytearray(whole)
            damaged[position] ^= int(generator.integers(1, 256))
            file.write_bytes(damaged)
            with pytest.raises((DamagedError, MithrilError)):
                mc.load(url)
        for length in (0, 3, len(whole) // 2, len(whole) - 1):
            file.write_bytes(whole[:length])
            with pytest.raises(MithrilError):
                mc.load(url)
        file.write_bytes(whole)
    assert_same(mc.load(url), state)


def test_a_missing_object_is_an_error(url: str) -> None:
    mc.save({"a": torch.randn(200, 200)}, url, step=1)
    next(path for path in (Path(url) / "objects").rglob("*") if path.is_file()).unlink()
    with pytest.raises(NotFoundError, match="an object of the checkpoint is missing"):
        mc.load(url)
