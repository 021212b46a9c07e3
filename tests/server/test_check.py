"""The commands `yggdrasil check` and `yggdrasil snapshot`, on the directory of a node that has ended."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.node import command, environment
from tests.wire import Wire

import yggdrasil


def _run(*arguments: str | Path) -> tuple[int, str, str]:
    run = subprocess.run(
        [*command(), *map(str, arguments)], env=environment(), capture_output=True, text=True, check=False
    )
    return run.returncode, run.stdout, run.stderr


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The directory of a node with two snapshots, the second one on top of the first."""
    node_directory = tmp_path / "node"
    node_directory.mkdir()
    with yggdrasil.Node(2, directory=node_directory) as node, Wire(node.host, node.port) as client:
        for number in range(100):
            client("SET", f"key:{number}", "x" * 100)
        assert client("SAVE") == "OK"
        client("SET", "later", "1")
        assert client("SAVE") == "OK"
    return node_directory


def test_a_directory_is_checked_damaged_and_mended(directory: Path) -> None:
    status, told, _ = _run("check", directory)
    assert (status, told.splitlines()[-1]) == (0, "all is sound")
    manifest = max((directory / "snapshots" / "manifests").iterdir())
    manifest.write_bytes(manifest.read_bytes()[:-9])
    status, told, _ = _run("check", directory, "--json")
    damage = json.loads(told)["report"]["snapshots"]["damage"]
    assert (status, damage[0]["snapshots"]) == (1, [manifest.stem])
    status, told, _ = _run("check", directory, "--repair")
    assert status == 1
    assert "1 thing was damaged" in told
    assert [path.name for path in directory.glob("backup-*/snapshots/manifests/*")] == [manifest.name]
    assert _run("check", directory)[0] == 0
    with yggdrasil.Node(2, directory=directory) as node, Wire(node.host, node.port) as client:
        assert client("GET", "key:99") == b"x" * 100


def test_what_is_of_no_node_is_not_called_sound(directory: Path, tmp_path: Path) -> None:
    for arguments in (["check"], ["snapshot", "verify"], ["snapshot", "list"], ["export", tmp_path / "dump", "--dir"]):
        status, told, error = _run(*arguments, directory / "absent")
        assert (status, told) == (2, ""), arguments
        assert str(directory / "absent") in error
    (tmp_path / "empty").mkdir()
    status, told, error = _run("check", tmp_path / "empty")
    assert (status, told) == (2, "")
    assert "is of no node" in error
    assert not any((tmp_path / "empty").iterdir())
    assert not (directory / "absent").exists()


def test_a_segment_that_ends_early_is_not_called_covered(tmp_path: Path) -> None:
    options: dict[str, Any] = {"directory": tmp_path, "ack": "fast"}
    with yggdrasil.Node(1, **options) as node, Wire(node.host, node.port) as client:
        client("SET", "a", "1")
        assert client("SAVE") == "OK"
        client("SET", "b", "1")
    (segment,) = tmp_path.glob("log/*/shard-0/*.log")
    os.truncate(segment, 4096)
    status, told, _ = _run("check", tmp_path)
    assert (status, "costs nothing" in told, "changes that stood in it are lost" in told) == (1, False, True)
    status, told, _ = _run("check", tmp_path, "--repair")
    assert (status, f"dropped: what stood at the end of {segment}" in told) == (1, True)
    assert _run("check", tmp_path)[0] == 0


def test_what_cannot_be_checked_has_status_2(directory: Path) -> None:
    status, _, error = _run("check", directory / "absent")
    assert (status, error) == (2, f"yggdrasil: {directory / 'absent'} is no directory\n")
    with yggdrasil.Node(2, directory=directory) as node:
        url = f"redis://{node.host}:{node.port}"
        status, told, error = _run("snapshot", "create", "--full", url)
        assert (status, error) == (0, "")
        assert told.startswith("snapshot ")
        assert ": 101 keys, " in told
        status, _, error = _run("check", directory)
    assert status == 2
    assert "another node" in error
    assert error.endswith(f"runs on directory {directory}; stop it first\n")


def test_snapshots_are_listed_verified_pruned_and_restored(directory: Path, tmp_path: Path) -> None:
    status, told, _ = _run("snapshot", "list", directory, "--json")
    rows = json.loads(told)
    assert (status, [row["keys"] for row in rows]) == (0, [100, 101])
    assert "100 keys" in _run("snapshot", "list", directory)[1]
    status, told, _ = _run("snapshot", "verify", directory)
    assert (status, told) == (0, "2 whole, 0 damaged\n")
    other = tmp_path / "other"
    status, told, _ = _run("snapshot", "restore", directory / "snapshots", other, "--id", rows[0]["id"])
    assert status == 0, told
    with yggdrasil.Node(2, directory=other) as node, Wire(node.host, node.port) as client:
        assert client("DBSIZE") == 100
    status, _, error = _run("snapshot", "restore", directory / "snapshots", other)
    assert (status, "has data already" in error) == (2, True)
    status, told, _ = _run("snapshot", "prune", directory, "--keep", "1")
    assert (status, told.split(" and ")[0]) == (0, "removed 1 snapshots")
    assert len(json.loads(_run("snapshot", "list", directory, "--json")[1])) == 1
