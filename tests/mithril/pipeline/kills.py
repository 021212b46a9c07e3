"""Kills of a run: whenever it is killed, it goes on with the next batch, and nothing of it is left.

    python -m tests.mithril.pipeline.kills [--rounds 100] [--seed N]

A child writes the hash of each batch and the state behind it as one line. It is killed after some lines, and started
again with another number of workers, until all batches have come. They are those of a run that nobody killed.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from tests.wire import eventually

from mithril.pipeline import Pipeline

SAMPLES = 6000
# Share of the runs whose functions are called in other processes.
_PROCESSES = 0.3


def _tokens(number: int) -> np.ndarray[Any, Any]:
    return np.arange(number, number + number % 37, dtype=np.int32)


def pipeline(workers: int, processes: bool) -> Pipeline:
    """Shuffle, filter, packing and batches, by threads or processes."""
    made = Pipeline(range(SAMPLES), seed=5).shuffle(300).filter(lambda number: number % 3 != 0)
    return made.map(_tokens, workers=workers, processes=processes).pack(64).batch(8)


def _hash(batch: np.ndarray[Any, Any]) -> str:
    return hashlib.blake2b(batch.tobytes(), digest_size=8).hexdigest()


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file; the child may be within the next one."""
    data = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]


def child(path: Path, workers: int, processes: bool) -> None:
    """Goes on where the file ends."""
    lines = _lines(path)
    running = pipeline(workers, processes)
    if lines:
        running.load_state_dict(lines[-1]["state"])
    with path.open("r+b" if path.exists() else "wb") as file:
        file.truncate(path.read_bytes().rfind(b"\n") + 1)
        file.seek(0, os.SEEK_END)
        for batch in running:
            file.write(json.dumps({"hash": _hash(batch), "state": running.state_dict()}).encode() + b"\n")
            file.flush()


def _family(parent: int) -> list[int]:
    """The children of a process."""
    try:
        return [int(number) for number in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    except OSError:
        return []


def check(rounds: int, seed: int, folder: Path) -> int:
    """Kills so many times, over as many runs as that takes. Gives the number of batches that were compared."""
    chance = random.Random(seed)
    expected = [_hash(batch) for batch in pipeline(2, processes=False)]
    path = folder / "batches"
    compared = kills = 0
    processes = chance.random() < _PROCESSES
    while kills < rounds:
        done = len(_lines(path))
        goal = min(done + chance.randrange(12), len(expected))
        command = [sys.executable, "-m", "tests.mithril.pipeline.kills", "--child", str(path)]
        command += ["--workers", str(chance.randint(1, 4)), *(["--processes"] if processes else [])]
        process = subprocess.Popen(command)
        eventually(lambda: len(_lines(path)) >= goal or process.poll() is not None)  # noqa: B023 (waited for here)
        family = _family(process.pid)
        process.kill()
        process.wait()
        kills += 1
        eventually(lambda: not any(map(_lives, family)))  # noqa: B023
        found = [line["hash"] for line in _lines(path)]
        assert found == expected[: len(found)], f"seed {seed}: batch differs after kill {kills}"
        compared += len(found) - done
        if len(found) == len(expected):
            path.unlink()
            processes = chance.random() < _PROCESSES
    return compared


def _lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--child", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--processes", action="store_true")
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.workers, arguments.processes)
        return
    sys.stdout.write(f"seed {arguments.seed}\n")
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        compared = check(arguments.rounds, arguments.seed, Path(folder))
    sys.stdout.write(f"{arguments.rounds} kills, {compared} batches as they should be, no process left\n")


if __name__ == "__main__":
    main()
