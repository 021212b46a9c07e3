"""Real kernels, compiled for GPUs that need not be here: one value a kernel, whole or absent."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.mithril.cache.programs import run

from mithril.cache.runs import read

# Frameworks take their time on a machine with other things to do.
pytestmark = pytest.mark.timeout(1800)

COMPILE = """
import json, sys, triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

@triton.jit
def add(x, y, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    tl.store(out + at, tl.load(x + at, mask=mask) + tl.load(y + at, mask=mask), mask=mask)

source = ASTSource(add, {"x": "*fp32", "y": "*fp32", "out": "*fp32", "n": "i32", "BLOCK": "constexpr"}, {"BLOCK": 128})
compiled = triton.compile(source, GPUTarget("cuda", 80, 32))
print(json.dumps({"cubin": compiled.asm["cubin"].hex(), "parts": sorted(compiled.asm)}))
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    """Code that runs the program from a file: Triton reads a kernel's source there."""
    file = tmp_path / "kernel.py"
    file.write_text(COMPILE)
    return f"import runpy; runpy.run_path({str(file)!r})"


def outcomes(root: Path) -> list[str]:
    """The outcomes of the newest run's requests for kernels."""
    return [event["outcome"] for event in read(root)[-1].of("get") if event["kind"] == "kernel"]


def test_a_kernel_is_compiled_once_for_all(program: str, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    expected: Any = run(program, "--root", str(tmp_path / "one"), "--url", str(shared))
    assert outcomes(tmp_path / "one") == ["miss"]
    (stored,) = (shared / "default" / "triton" / "kernel").rglob("*/*")
    assert stored.is_file()
    assert run(program, "--root", str(tmp_path / "other"), "--url", str(shared)) == expected
    assert outcomes(tmp_path / "other") == ["shared"]
    # A group with a file missing is no group; the cache still has it whole.
    (cubin,) = (tmp_path / "other" / "triton").rglob("*.cubin")
    cubin.unlink()
    assert run(program, "--root", str(tmp_path / "other"), "--url", str(shared)) == expected
    assert outcomes(tmp_path / "other") == ["local"]
    # A copied folder of Triton's own names the files of the old place.
    shutil.copytree(tmp_path / "other", tmp_path / "moved")
    shutil.rmtree(tmp_path / "other")
    assert run(program, "--root", str(tmp_path / "moved"), "--url", "ygg://127.0.0.1:1/x") == expected
    assert outcomes(tmp_path / "moved") == ["local"]
