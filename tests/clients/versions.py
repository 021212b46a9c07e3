"""Runs `matrix.py` with every supported version of redis-py: `make client-versions`.

Each version lives in a virtual environment of its own below .venv, made once, with hiredis and without. Our package is
taken from the working tree.
"""

import itertools
import os
import subprocess
import sys
import venv
from pathlib import Path

from tests.node import HOST, Node

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("matrix.py")
VERSIONS = (5, 6, 7, 8)
EXTRAS = ("", "[hiredis]")


def interpreter(version: int, extra: str) -> Path:
    """The Python of the environment with this version of redis-py."""
    directory = ROOT / ".venv" / f"redis-py-{version}{extra.strip('[]')}"
    python = directory / "bin" / "python"
    stamp = directory / "installed"
    if not stamp.exists():
        venv.create(directory, with_pip=True, clear=True)
        package = f"redis{extra}>={version},<{version + 1}"
        subprocess.run([python, "-m", "pip", "install", "--quiet", package], check=True)
        stamp.touch()
    return python


def main() -> None:
    """Ends with status 1 where a version fails."""
    failed = False
    with Node(shards=3) as node:
        for version, extra in itertools.product(VERSIONS, EXTRAS):
            command = [str(interpreter(version, extra)), str(SCRIPT), HOST, str(node.port), str(node.port)]
            environment = os.environ | {"PYTHONPATH": str(ROOT / "python")}
            failed |= subprocess.run(command, check=False, env=environment).returncode != 0
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
