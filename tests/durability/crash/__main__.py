"""Processes of a node are killed while clients write: what was acknowledged is there afterwards, and nothing half.

`python -m tests.durability.crash --rounds 1000` prints the seed of its rounds, and keeps the directory of a node that
has failed.
"""

import argparse
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.durability.crash.rounds import Rounds
from tests.durability.crash.subjects import LostError
from tests.durability.device import Device
from tests.node import NodeError


def main() -> int:
    """Runs rounds from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--power", action="store_true", help="cut the power of a block device of our own, too")
    arguments = parser.parse_args()
    tell(f"seed {arguments.seed}")
    directory = Path(tempfile.mkdtemp(prefix="yggdrasil-crash-"))
    device = Device(directory) if arguments.power else None
    rounds = Rounds(directory, arguments.seed, device)
    began, done = time.monotonic(), 0
    try:
        while done < arguments.rounds:
            done += 1
            acknowledged = rounds.run(1)
            if done % 10 == 0 or done == arguments.rounds:
                tell(
                    f"{done} rounds in {time.monotonic() - began:.0f} s, {acknowledged} acknowledged writes, "
                    f"nothing lost; {', '.join(f'{name}: {count}' for name, count in sorted(rounds.done.items()))}"
                )
    except (LostError, NodeError) as error:
        rounds.close()
        tell(f"seed {arguments.seed}, round {done}: {error}\n{rounds.node.log()[-4000:]}")
        kept = Path(tempfile.mkdtemp(prefix="yggdrasil-crash-kept-"))
        shutil.copytree(rounds.directory, kept, ignore=shutil.ignore_patterns("*.sock"), dirs_exist_ok=True)
        tell(f"kept: {kept}")
        return 1
    finally:
        rounds.close()
        if device is not None:
            device.close()
        shutil.rmtree(directory, ignore_errors=True)
    return 0


def tell(line: str) -> None:
    """Prints a line at once."""
    print(line, flush=True)  # noqa: T201 - the output of the command


if __name__ == "__main__":
    sys.exit(main())
