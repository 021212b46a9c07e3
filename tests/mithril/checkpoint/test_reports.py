"""Reports on checkpoints, in a program and on the command line."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from tests.mithril.checkpoint.states import trained, training_state

import mithril.checkpoint as mc
from mithril.checkpoint.commands import checkpoint
from mithril.core.errors import MithrilError


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = str(tmp_path / "run")
    state = training_state()
    mc.save(state, url, step=1, metadata={"commit": "abc"})
    mc.save(trained(state), url, step=2)
    return url


def run(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(checkpoint, arguments)
    assert result.exit_code == status, result.output
    return result.output


def test_list_shows_the_steps(url: str) -> None:
    assert [line.split()[0] for line in run("list", url).splitlines()] == ["1", "2"]


def test_a_url_without_checkpoints_is_said_to_have_none(tmp_path: Path) -> None:
    assert run("list", str(tmp_path)) == f"there is no checkpoint at {tmp_path}\n"
    result = CliRunner().invoke(checkpoint, ["verify", str(tmp_path)])
    assert isinstance(result.exception, MithrilError)
    assert "there is no checkpoint to verify" in str(result.exception)


def test_inspect_shows_sizes_ratios_and_deltas(url: str) -> None:
    found = mc.inspect(url)
    by_name = {tensor.name: tensor for tensor in found.tensors}
    assert (found.step, found.base_step) == (2, 1)
    weight = by_name["model/layer0.weight"]
    assert (weight.dtype, weight.shape, weight.raw_bytes, weight.delta_depth) == ("bfloat16", (300, 300), 180_000, 1)
    assert weight.ratio > 3
    shown = run("inspect", url, "--tensors")
    assert "step 2, based on step 1" in shown
    assert "model/layer0.weight  bfloat16[300, 300]  delta 1" in shown
    assert "commit: abc" in run("inspect", url, "--step", "1")


def test_diff_names_what_changed(url: str) -> None:
    changed = {item.name for item in mc.diff(url, 1, 2)}
    assert changed == {f"model/layer{index}.weight" for index in range(3)}
    assert "model/layer0.weight  100% of the chunks" in run("diff", url, "1", "2", status=1)
    assert run("diff", url, "1", "1") == ""


def test_diff_tells_additions_removals_and_shapes(tmp_path: Path) -> None:
    url = str(tmp_path)
    mc.save({"a": torch.ones(2), "b": torch.ones(3), "c": torch.ones(4)}, url, step=1)
    mc.save({"b": torch.ones(4), "c": torch.ones(4), "d": torch.ones(5)}, url, step=2)
    found = {item.name: item.change for item in mc.diff(url, 1, 2)}
    assert found == {"a": "removed", "b": "type or shape", "d": "added"}


def test_verify_finds_damage(url: str) -> None:
    assert "2 checkpoints" in run("verify", url)
    victim = max(
        (path for path in (Path(url) / "objects").rglob("*") if path.is_file()), key=lambda p: p.stat().st_size
    )
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    found = mc.verify(url)
    assert len(found.problems) > 0
    assert victim.name in found.problems[0]
    assert "problems" in run("verify", url, status=1)


def test_retain_removes_and_says_so(url: str) -> None:
    assert "kept 1, removed 1" in run("retain", url, "--last", "1", "--grace", "0")
    assert mc.latest(url) == 2


def test_convert_goes_both_ways(tmp_path: Path) -> None:
    plain, small, back = (str(tmp_path / name) for name in ("plain", "small", "back"))
    safetensors.torch.save_file({"a": torch.zeros(1000, 100)}, plain)
    assert "ratio" in run("convert", plain, small)
    run("convert", small, back)
    assert Path(back).read_bytes() == Path(plain).read_bytes()
    result = CliRunner().invoke(checkpoint, ["convert", plain, plain])
    assert isinstance(result.exception, MithrilError)
