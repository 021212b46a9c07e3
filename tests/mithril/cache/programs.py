"""Programs of the tests, run in processes of their own as a user would."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# Variables that would change what a program asks for.
_FOREIGN = ("MITHRIL_", "TORCH", "TRITON", "JAX_", "ATEN_")

TRAIN = """
import json, torch
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.GELU(), torch.nn.Linear(16, 4))
step = torch.compile(net)
out = torch.nn.functional.softmax(step(torch.randn(4, 8)), -1)
out.square().sum().backward()
from torch._dynamo.utils import counters
print(json.dumps({
    "out": [float(x).hex() for x in out.flatten().tolist()],
    "grad": [float(x).hex() for x in net[0].weight.grad.flatten().tolist()],
    "counters": {name: dict(value) for name, value in counters.items() if name in ("inductor", "aot_autograd")},
}))
"""
# The second shape makes torch compile again, for any length; what it has learned is for the next run.
SHAPES = """
import json, torch
from torch._dynamo.utils import counters
step = torch.compile(lambda x: (x.sin() + 1).sum(-1))
sums = [step(torch.arange(float(length * 3)).reshape(length, 3)).sum().item().hex() for length in (4, 8)]
print(json.dumps({"sums": sums, "compiled": counters["stats"]["unique_graphs"]}))
"""

# The part of torch that keeps the choice of an autotuner, without the GPU that it would be measured on.
AUTOTUNE = """
import json, sys, torch
from torch._inductor.runtime.autotune_cache import AutotuneCache
from torch._inductor.runtime.triton_compat import Config
options = {"autotune_local_cache": False, "autotune_remote_cache": True, "backend_hash": "b", "is_fbcode": False}
cache = AutotuneCache.create(options, "/any/folder/ckernel.py", "c")
configs = [Config({"BLOCK": size}, num_warps=4, num_stages=1) for size in (64, 128)]
best = cache.read_best(options, configs)
cache.save(configs[1], 5_000_000)
print(json.dumps(best and best.kwargs))
"""

# One thread a program, and limits that a busy machine keeps as well.
_PATIENT = {
    "OMP_NUM_THREADS": "1",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    "MITHRIL_CACHE_TIMEOUT_S": "60",
    "MITHRIL_CACHE_BUDGET_S": "600",
    "MITHRIL_CACHE_FLUSH_S": "120",
}


def environment(**variables: str) -> dict[str, str]:
    """The environment of a program without what the tests' own has set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return kept | _PATIENT | variables


def run(code: str, *arguments: str, cwd: Path | None = None, **variables: str) -> Any:
    """The last line that a program prints under `mithril cache run`, which is JSON."""
    done = run_plain(
        [sys.executable, "-m", "mithril", "cache", "run", *arguments, "--", sys.executable, "-c", code],
        cwd,
        **variables,
    )
    return json.loads(done.stdout.splitlines()[-1])


def run_plain(command: list[str], cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command that has to succeed."""
    done = subprocess.run(
        command, env=environment(**variables), cwd=cwd, capture_output=True, text=True, check=False, timeout=1200
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done
