"""A guest with persistent memory is killed while it writes to a log there: what it called durable comes back.

`python -m tests.durability.pmem --rounds 20` wants the `hwlab` script, named by HWLAB, whose guests have an emulated
NVDIMM that outlives them.
"""

import argparse
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HWLAB = Path(os.environ.get("HWLAB", ROOT.parent / "shared/hwlab/hwlab"))
ACKNOWLEDGED_MAX = 600
GUEST_WITHIN_S = 300
DIRECTORY = "/mnt/pmem/log"


def built() -> Path:
    """The program that runs in the guest."""
    arguments = ["--profile", "quick", "--locked", "--package", "yggdrasil-log", "--example", "acknowledged"]
    subprocess.run(["cargo", "build", "--quiet", *arguments], cwd=ROOT, check=True)
    return ROOT / "target/quick/examples/acknowledged"


def round_of(program: Path, memory: Path, durable: int, wanted: int) -> tuple[int, str]:
    """Starts a guest, lets it write so many changes, and kills it: the last one that was durable, and by what."""
    command = [sys.executable, str(HWLAB), "run", "--timeout", str(GUEST_WITHIN_S), "--pmem", str(memory), "--"]
    guest = subprocess.Popen(
        [*command, str(program), DIRECTORY], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert guest.stdout is not None
    told: list[str] = []
    persist = ""
    recovered = 0
    try:
        for line in guest.stdout:
            told.append(line)
            match line.split():
                case ["recovered", number, *name]:
                    recovered, persist = int(number), " ".join(name)
                    if recovered < durable:
                        raise AssertionError(f"{durable} was durable, and {recovered} came back")
                case [number] if persist and number.isdigit():
                    durable = int(number)
            if persist and durable >= recovered + wanted:
                break
        else:
            raise AssertionError(f"the guest ended by itself: {''.join(told[-20:])}")
    finally:
        # The guest with whoever started it: nobody can put anything in order.
        os.killpg(guest.pid, signal.SIGKILL)
        guest.wait()
        guest.stdout.close()
    return durable, persist


def main() -> int:
    """Runs rounds from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    arguments = parser.parse_args()
    tell(f"seed {arguments.seed}")
    if not HWLAB.exists():
        tell(f"{HWLAB} is not there: set HWLAB")
        return 2
    draw, program, durable, began = random.Random(arguments.seed), built(), 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for done in range(1, arguments.rounds + 1):
            wanted = draw.randint(1, ACKNOWLEDGED_MAX)
            durable, persist = round_of(program, Path(folder) / "pmem", durable, wanted)
            seconds = time.monotonic() - began
            tell(f"{done} kills in {seconds:.0f} s, {durable} changes durable by {persist}, nothing lost")
    return 0


def tell(line: str) -> None:
    """Prints a line at once."""
    print(line, flush=True)  # noqa: T201 - the output of the command


if __name__ == "__main__":
    sys.exit(main())
