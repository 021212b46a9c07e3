"""Processes of a node are killed while clients write: what was acknowledged is there afterwards, and nothing half.

`python -m tests.durability.crash --rounds 1000` prints the seed of its rounds, and keeps the directory of a node that
has failed. With `--progress FILE` it goes on where the last run with that file was ended.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.durability.crash.progress import Progress
from tests.durability.crash.rounds import Rounds
from tests.durability.crash.subjects import LostError
from tests.durability.device import Device
from tests.node import NodeError

TOLD_EVERY_S = 30.0


def main() -> int:
    """Runs rounds from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--power", action="store_true", help="cut the power of a block device of our own, too")
    parser.add_argument("--progress", type=Path, help="a file with what is done, to continue there")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    progress = Progress.kept(arguments.progress, arguments.rounds, arguments.seed)
    tell(f"seed {progress.seed_of_rest}, {progress.done} of {progress.wanted} rounds done before")
    directory = Path(tempfile.mkdtemp(prefix="yggdrasil-crash-"))
    device = Device(directory) if arguments.power else None
    rounds = Rounds(directory, progress.seed_of_rest, device)
    try:
        go_on(rounds, progress, arguments.progress)
    except (LostError, NodeError) as error:
        rounds.close()
        tell(f"seed {rounds.seed}, round {rounds.begun}: {error}\n{rounds.node.log()[-4000:]}")
        kept = Path(tempfile.mkdtemp(prefix="yggdrasil-crash-kept-"))
        shutil.copytree(rounds.directory, kept, ignore=shutil.ignore_patterns("*.sock"), dirs_exist_ok=True)
        tell(f"kept: {kept}")
        return 1
    except KeyboardInterrupt:
        tell(f"ended: {progress}")
        return 130
    finally:
        rounds.close()
        if device is not None:
            device.close()
        shutil.rmtree(directory, ignore_errors=True)
    return 0


def go_on(rounds: Rounds, progress: Progress, file: Path | None) -> None:
    """Runs what is left, and keeps and tells how far it is."""
    before, told = (progress.acknowledged, progress.seconds, Counter(progress.kinds)), 0.0
    began = time.monotonic()
    while progress.done < progress.wanted:
        progress.acknowledged = before[0] + rounds.run(1)
        progress.done += 1
        progress.seconds = before[1] + time.monotonic() - began
        progress.kinds = before[2] + rounds.done
        progress.keep(file)
        if progress.done == progress.wanted or time.monotonic() - told > TOLD_EVERY_S:
            told = time.monotonic()
            tell(str(progress))


def tell(line: str) -> None:
    """Prints a line at once."""
    print(line, flush=True)  # noqa: T201 - the output of the command


if __name__ == "__main__":
    sys.exit(main())
