"""First calls of a compiled training step: cold, warm, by torch's own remote cache, and by Mithril.

`python -m benches.mithril.compile_cache`. Every run is a process of its own; "fresh" ones begin with empty folders,
the one for precompiled headers included. All have to compute the same bits.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from tests.node import Node

_FOREIGN = ("MITHRIL_", "TORCH", "TRITON")
_PROGRAM = [sys.executable, "-m", "benches.mithril.train_step"]
_MITHRIL = [sys.executable, "-m", "mithril"]


@dataclass(frozen=True, slots=True)
class Machine:
    """The folders of a machine that has none of the others' files."""

    folder: Path

    def run(self, command: list[str], **variables: str) -> dict[str, Any]:
        """The figures that the program prints."""
        temporary = self.folder / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        environment |= {"TMPDIR": str(temporary), **variables}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(done.stderr[-3000:])
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def torch(self, *program: str, **variables: str) -> dict[str, Any]:
        """A run with torch alone."""
        return self.run([*_PROGRAM, *program], TORCHINDUCTOR_CACHE_DIR=str(self.folder / "inductor"), **variables)

    def mithril(self, url: str, *program: str) -> dict[str, Any]:
        """A run under `mithril cache run`."""
        place = ["cache", "run", "--root", str(self.folder / "root"), "--url", url, "--"]
        return self.run([*_MITHRIL, *place, *_PROGRAM, *program])


def measure(program: list[str], rounds: int, scratch: Path) -> dict[str, list[dict[str, Any]]]:
    """All runs, by what they show."""
    found: dict[str, list[dict[str, Any]]] = {}
    with Node(shards=1) as node:
        url, client = f"ygg://127.0.0.1:{node.port}/mithril", redis.Redis(port=node.port)
        remote = {
            "TORCHINDUCTOR_FX_GRAPH_REMOTE_CACHE": "1",
            "TORCHINDUCTOR_AUTOGRAD_REMOTE_CACHE": "1",
            "TORCHINDUCTOR_REDIS_URL": f"redis://127.0.0.1:{node.port}",
        }
        warm = Machine(scratch / "warm")
        found["cold"] = [warm.torch(*program)]
        found["torch's remote cache, cold"] = [Machine(scratch / "peer").torch(*program, **remote)]
        _bytes("torch's remote cache", client, "pt2:*")
        found["Mithril, cold"] = [Machine(scratch / "first").mithril(url, *program)]
        _bytes("Mithril, with the compiled kernels", client, "mithril/*")
        for number in range(rounds):
            found.setdefault("warm local folder", []).append(warm.torch(*program))
            fresh = Machine(scratch / f"fresh-{number}")
            found.setdefault("Mithril, fresh machine", []).append(fresh.mithril(url, *program))
            found.setdefault("Mithril, same machine again", []).append(fresh.mithril(url, *program))
            shutil.rmtree(fresh.folder)
        found["torch's remote cache, fresh machine"] = [Machine(scratch / "peer-2").torch(*program, **remote)]
    return found


def _bytes(name: str, client: "redis.Redis", pattern: str) -> None:
    keys = list(client.scan_iter(match=pattern, count=1000))
    print(f"{name}: {sum(client.strlen(key) for key in keys):,} bytes in {len(keys)} values", flush=True)


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--blocks", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(["--blocks", str(options.blocks)], options.rounds, Path(scratch))
    results = {(run["loss"], run["weights"]) for runs in found.values() for run in runs}
    if len(results) != 1:
        raise SystemExit(f"the runs computed different bits: {results}")
    print(f"{'run':<38} {'first call':>11} {'CPU':>8} {'import':>8}  (medians)")
    for name, runs in found.items():
        first, cpu, imported = (
            statistics.median(run[field] for run in runs) for field in ("first_call_s", "cpu_s", "import_s")
        )
        print(f"{name:<38} {first:>9.2f} s {cpu:>6.1f} s {imported:>6.2f} s")


if __name__ == "__main__":
    main()
