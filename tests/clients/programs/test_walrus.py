"""walrus: its own tests, as the package brings them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import walrus.tests
from tests.targets import Target

pytestmark = pytest.mark.all_servers

TESTS = Path(walrus.tests.__file__).parent


def test_its_own_tests(target: Target, tmp_path: Path) -> None:
    files = [str(path) for path in sorted(TESTS.glob("[a-z]*.py")) if path.stem != "base"]
    environment = os.environ | {"WALRUS_REDIS_HOST": target.host, "WALRUS_REDIS_PORT": str(target.port)}
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "-p", "no:cacheprovider", *files]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=280, check=False, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
