"""Real input: every file of Python's standard library goes in under its path and comes back the same, three ways."""

import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.cluster import RedisCluster
from tests.peer import PeerMissingError, peer_command
from tests.targets import Target

LIBRARY = Path(sysconfig.get_path("stdlib"))
BATCH_BYTES = 4_000_000


def library_files() -> Iterator[Path]:
    for path in sorted(LIBRARY.rglob("*")):
        # Compiled modules may be written at any moment, by this process too.
        if path.is_file() and not {"site-packages", "__pycache__"} & set(path.parts):
            yield path


def batches(files: list[Path]) -> Iterator[list[Path]]:
    batch: list[Path] = []
    size = 0
    for path in files:
        batch.append(path)
        size += path.stat().st_size
        if size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
    yield batch


def quoted(name: str) -> bytes:
    """An argument as redis-cli reads it in a line."""
    return b'"' + b"".join(b"\\x%02x" % byte for byte in name.encode()) + b'"'


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("resp", [3], ids=["resp3"])
def test_the_standard_library(target: Target, resp: int) -> None:
    files = list(library_files())
    assert len(files) > 1000
    with redis.Redis(host=target.host, port=target.port, protocol=resp) as client:
        store(client, files)
        assert client.dbsize() == len(files)
    with redis.Redis(host=target.host, port=target.worker_ports[-1], protocol=resp) as other:
        check(other, files)
    if not target.is_peer:
        with RedisCluster(host=target.host, port=target.port, protocol=resp) as cluster:
            check(cluster, files)
    check_by_cli(target, files)


def store(client: Any, files: list[Path]) -> None:
    for batch in batches(files):
        with client.pipeline(transaction=False) as pipe:
            for path in batch:
                pipe.set(str(path), path.read_bytes())
            assert all(pipe.execute())


def check(client: Any, files: list[Path]) -> None:
    for batch in batches(files):
        with client.pipeline(transaction=False) as pipe:
            for path in batch:
                pipe.get(str(path))
            for path, value in zip(batch, pipe.execute(), strict=True):
                assert value == path.read_bytes(), path


def check_by_cli(target: Target, files: list[Path]) -> None:
    try:
        command = peer_command("redis-cli", "-h", target.host, "-p", str(target.port))
    except PeerMissingError:
        return
    for batch in batches(files):
        lines = b"".join(b"GET " + quoted(str(path)) + b"\n" for path in batch)
        output = subprocess.run(command, input=lines, capture_output=True, timeout=100, check=True).stdout
        assert output == b"".join(path.read_bytes() + b"\n" for path in batch)
