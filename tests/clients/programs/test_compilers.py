"""ccache and sccache with their storage on the server: the second compilation finds what the first has left."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.clients.programs.conftest import BIN
from tests.node import free_port
from tests.targets import Target

pytestmark = pytest.mark.all_servers

SOURCE = '#include <stdio.h>\nint main(void) { puts("hello"); return %d; }\n'


@pytest.fixture
def compiler() -> str:
    found = shutil.which("gcc") or shutil.which("cc")
    if found is None:
        pytest.skip("there is no C compiler")
    return found


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=250, check=False, env=os.environ | environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def sources(directory: Path) -> list[Path]:
    made = []
    for number in range(3):
        path = directory / f"{number}.c"
        path.write_text(SOURCE % number)
        made.append(path)
    return made


def test_ccache(target: Target, compiler: str, tmp_path: Path) -> None:
    ccache = BIN / "ccache"
    for attempt in range(2):
        # Each time with an empty local cache, as on another machine.
        settings = {
            "CCACHE_DIR": str(tmp_path / f"cache-{attempt}"),
            "CCACHE_REMOTE_STORAGE": f"redis://{target.host}:{target.port}",
            "CCACHE_BASEDIR": str(tmp_path),
        }
        for source in sources(tmp_path):
            run(ccache, compiler, "-c", source, "-o", source.with_suffix(".o"), **settings)
        counts = dict(line.split("\t")[:2] for line in run(ccache, "--print-stats", **settings).splitlines())
        assert counts["remote_storage_error"] == "0"
        assert counts["remote_storage_hit"] == str(3 * attempt)
    assert target.connect()("DBSIZE") >= 3


def test_sccache(target: Target, compiler: str, tmp_path: Path) -> None:
    sccache = BIN / "sccache"
    for attempt in range(2):
        settings = {
            "SCCACHE_REDIS_ENDPOINT": f"redis://{target.host}:{target.port}",
            "SCCACHE_SERVER_PORT": str(free_port()),
            "SCCACHE_DIR": str(tmp_path / "unused"),
        }
        run(sccache, "--start-server", **settings)
        try:
            for source in sources(tmp_path):
                run(sccache, compiler, "-c", source, "-o", source.with_suffix(".o"), **settings)
            shown = run(sccache, "--show-stats", **settings)
        finally:
            run(sccache, "--stop-server", **settings)
        hits = next(line for line in shown.splitlines() if line.startswith("Cache hits  "))
        assert hits.split()[-1] == str(3 * attempt)
        assert "redis" in shown.lower()
    assert target.connect()("DBSIZE") >= 3
