"""A program that is killed while it saves leaves the earlier steps whole, and no part of the later one in sight."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mithril.checkpoint as mc

# Ends the process without any cleaning up at a write to the store: before it, or when it is half done.
PROGRAM = """
import os, sys
import numpy as np
import mithril.checkpoint as mc
from mithril.core import file_store

url, fatal, moment = sys.argv[1], int(sys.argv[2]), sys.argv[3]
calls = 0
original = file_store._FileWriter.write

def write(self, data):
    global calls
    calls += 1
    if calls == fatal:
        if moment == "half":
            original(self, memoryview(data)[: len(data) // 2])
        os._exit(9)
    original(self, data)

file_store._FileWriter.write = write
mc.save({"a": np.random.default_rng(2).normal(size=(400, 400)), "b": np.arange(1, 10)}, url, step=2, threads=1)
os._exit(0)
"""


@pytest.mark.parametrize("moment", ["before", "half"])
@pytest.mark.parametrize("fatal", [1, 2, 3])
def test_a_killed_save_leaves_the_earlier_step(fatal: int, moment: str, tmp_path: Path) -> None:
    url = str(tmp_path / "run")
    state = {"a": np.random.default_rng(1).normal(size=(400, 400)), "b": np.arange(9)}
    mc.save(state, url, step=1)
    done = subprocess.run([sys.executable, "-c", PROGRAM, url, str(fatal), moment], check=False)
    assert done.returncode == 9
    assert [info.step for info in mc.list_steps(url)] == [1]
    assert np.array_equal(mc.load(url)["a"], state["a"])
    assert mc.verify(url).problems == []
    mc.save(state, url, step=2)
    assert np.array_equal(mc.load(url, step=2)["a"], state["a"])
