"""Memory beyond the state while saving and loading: bounded by configuration, not by the data."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MEGABYTES = 96
# What the threads may hold, and what an allocator keeps beside it.
BOUND_MB, SLACK_MB = 16, 24

PROGRAM = """
import json, os, sys
from pathlib import Path
import torch
import mithril.checkpoint as mc

url, megabytes = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
# Two rows that lie across in memory, and a tensor in one piece.
across = torch.empty((megabytes << 17) // 2, 2).t()
state = {"across": across, "straight": torch.empty(4, (megabytes << 17) // 4)}
row = torch.randn(1 << 16)
for start in range(0, state["straight"].shape[1], 1 << 16):
    state["straight"][:, start : start + (1 << 16)] = row[: state["straight"].shape[1] - start]
for start in range(0, across.shape[1], 1 << 16):
    across[:, start : start + (1 << 16)] = row[: across.shape[1] - start]

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(name + ":"))

found = {}
def peak(what, work):
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    work()
    found[what] = status("VmHWM") - before

mc.save({"first": torch.randn(1 << 18)}, url + "/warm", step=1)
mc.load(url + "/warm")
for step in range(1, 5):
    peak(f"save {step}", lambda: mc.save(state, url, step=step))
    for tensor in state.values():
        tensor[0, :: 1000] *= 1.0001
mc.save(state, url, step=5)
peak("load", lambda: mc.load(url, into=state))
with mc.Checkpoint.open(url) as checkpoint:
    half = state["straight"].shape[1] // 2
    target = state["straight"][:, :half]
    peak("columns", lambda: target.copy_(checkpoint.get_slice("straight")[:, :half]))
    found["columns"] -= megabytes // 4
print(json.dumps(found))
"""


def test_saving_and_loading_stay_within_their_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MITHRIL_CHECKPOINT_CHUNK_BYTES", str(1 << 20))
    monkeypatch.setenv("MITHRIL_CHECKPOINT_MEMORY_BYTES", str(BOUND_MB << 20))
    monkeypatch.setenv("MITHRIL_CHECKPOINT_THREADS", "64")
    monkeypatch.setenv("MITHRIL_CORE_FSYNC", "0")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(MEGABYTES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == 6
    assert all(megabytes <= BOUND_MB + SLACK_MB for megabytes in found.values()), found
