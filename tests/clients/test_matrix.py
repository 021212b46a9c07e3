"""The smoke test for versions of redis-py, run with the installed one."""

import subprocess
import sys
from pathlib import Path

from tests.targets import Target

SCRIPT = Path(__file__).with_name("matrix.py")


def run(*arguments: str | int) -> str:
    command = [sys.executable, "-W", "error::ResourceWarning", str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_installed_version(target: Target) -> None:
    assert run(target.host, target.port).endswith(": ok\n")


def test_the_installed_version_with_its_cluster_client(node_target: Target) -> None:
    assert run(node_target.host, node_target.port, node_target.port).endswith(": ok\n")
