"""Django's own tests of its cache on Redis and of sessions in it, from its source distribution."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import django
import pytest

pytestmark = [pytest.mark.all_servers, pytest.mark.long]

TESTS = ("cache.tests.RedisCacheTests", "cache.tests_async", "sessions_tests.tests.CacheSessionTests")
SETTINGS = """
CACHES = {{"default": {{"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "{url}"}}}}
DATABASES = {{name: {{"ENGINE": "django.db.backends.sqlite3"}} for name in ("default", "other")}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SECRET_KEY = "x"
USE_TZ = False
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Django's sources of the version that is installed."""
    directory = tmp_path_factory.mktemp("django")
    wanted = f"django=={django.get_version()}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "django", wanted]
    subprocess.run([*command, "--dest", str(directory)], check=True, timeout=250)
    (archive,) = directory.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(directory, filter="data")
    return directory / archive.name.removesuffix(".tar.gz")


def test_its_own_tests(url: str, sources: Path, tmp_path: Path) -> None:
    (tmp_path / "node_settings.py").write_text(SETTINGS.format(url=url))
    command = [sys.executable, "runtests.py", *TESTS, "--settings=node_settings", "--parallel", "1"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        cwd=sources / "tests",
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ran " in done.stderr
