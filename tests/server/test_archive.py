"""Archived logs: a node as it was at a time, or at a change."""

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from tests.node import command, environment
from tests.wire import Wire, eventually, info

import yggdrasil

OPTIONS: dict[str, Any] = {
    "ack": "fast",
    "log_segment_size": "1mb",
    "snapshot_archive": "yes",
    "snapshot_archive_interval": 1,
}


def _run(*arguments: str | Path) -> tuple[int, str, str]:
    run = subprocess.run(
        [*command(), *map(str, arguments)], env=environment(), capture_output=True, text=True, check=False
    )
    return run.returncode, run.stdout, run.stderr


def _client(node: yggdrasil.Node) -> Wire:
    return Wire(node.host, node.port)


def _restored(url: Path, directory: Path, *arguments: str) -> str:
    status, told, error = _run("snapshot", "restore", url, directory, *arguments)
    assert status == 0, error
    return told


def _archives(c: Wire) -> int:
    return int(info(c, "persistence")["log_archives"])


def _archive(c: Wire) -> None:
    """Waits until all that was written is archived: the next but one began after it."""
    before = _archives(c)
    eventually(lambda: _archives(c) >= before + 2)


def _write(c: Wire, name: str, count: int) -> None:
    for number in range(count):
        c("SET", f"{name}:{number}", f"{name} {number} " * 100)
        c("INCR", "count")
        c("RPUSH", "list", name)
    assert c("MSET", *[part for number in range(30) for part in (f"together:{number}", name)]) == "OK"


@pytest.mark.parametrize("with_snapshot", [False, True])
def test_a_node_goes_back_to_a_time(tmp_path: Path, with_snapshot: bool) -> None:
    url = tmp_path / "snapshots"
    times: dict[str, float] = {}
    with yggdrasil.Node(2, directory=tmp_path, **OPTIONS) as node, _client(node) as c:
        for name in ("first", "second", "third"):
            _write(c, name, 300)
            if with_snapshot and name != "third":
                assert c("SAVE") == "OK"
            _archive(c)
            times[name] = time.time()
        assert c("FLUSHALL") == "OK"
        _archive(c)
    for shards, (name, at) in zip((2, 3, 1), times.items(), strict=True):
        directory = tmp_path / f"restored-{name}"
        told = _restored(url, directory, "--until", f"{at:.3f}")
        assert ("snapshot" in told) == with_snapshot
        with yggdrasil.Node(shards, directory=directory, ack="fast") as node, _client(node) as c:
            written = list(times)[: list(times).index(name) + 1]
            assert c("GET", "count") == str(300 * len(written)).encode()
            assert c("LLEN", "list") == 300 * len(written)
            assert c("MGET", *[f"together:{number}" for number in range(30)]) == [name.encode()] * 30
            assert c("DBSIZE") == 300 * len(written) + 30 + 2
            # It goes on as another history, beside that of the first.
            assert c("SET", "another", "1") == "OK"
            assert c("SAVE") == "OK"
    status, told, _ = _run("snapshot", "verify", tmp_path)
    assert status == 0, told
    directory = tmp_path / "all"
    _restored(url, directory, "--until", "latest")
    with yggdrasil.Node(2, directory=directory, ack="fast") as node, _client(node) as c:
        assert c("DBSIZE") == 0


def test_a_node_goes_back_to_a_change(tmp_path: Path) -> None:
    url = tmp_path / "snapshots"
    with yggdrasil.Node(1, directory=tmp_path, **OPTIONS) as node, _client(node) as c:
        for number in range(100):
            c("SET", "key", number)
        _archive(c)
    beyond = tmp_path / "beyond"
    status, told, warning = _run("snapshot", "restore", url, beyond, "--until-change", "0:101")
    assert (status, "up to changes 0:100;" in told) == (0, True)
    assert "the archived log of shard 0 ends with change 100, before 101" in warning
    status, _, warning = _run("snapshot", "restore", url, tmp_path / "later", "--until", "2100-01-01")
    assert (status, "no later moment is archived before 2100-01-01" in warning) == (0, True)
    for change in (1, 50, 100):
        directory = tmp_path / str(change)
        status, told, warning = _run("snapshot", "restore", url, directory, "--until-change", f"0:{change}")
        assert (status, f"up to changes 0:{change};" in told, warning) == (0, True, "")
        with yggdrasil.Node(1, directory=directory) as node, _client(node) as c:
            assert c("GET", "key") == str(change - 1).encode()


def test_what_is_not_archived_is_said(tmp_path: Path) -> None:
    with yggdrasil.Node(1, directory=tmp_path, **OPTIONS) as node, _client(node) as c:
        c("SET", "key", 1)
        _archive(c)
        assert info(c, "persistence")["log_archive_last_status"] == "ok"
    url, other = tmp_path / "snapshots", tmp_path / "other"
    for arguments, error in (
        (["--until", "1000"], "nothing is archived from before that time"),
        (["--until", "yesterday"], "is no time"),
        *((["--until", text], "is no time") for text in ("nan", "inf", "1e30", "-0.001", "0001-01-01")),
        (["--until-change", "1:7"], "there is no shard 1 of 1"),
        (["--until-change", "7"], "write SHARD:NUMBER"),
        (["--until", "latest", "--node", "x"], "nothing there is of node x"),
        (["--until", "latest", "--id", "x"], "--id is for a snapshot alone"),
    ):
        status, _, told = _run("snapshot", "restore", url, other, *arguments)
        assert (status, error in told) == (2, True), told
    (tail,) = (url / "tails").iterdir()
    content = bytearray(tail.read_bytes())
    content[-40] ^= 1
    tail.write_bytes(content)
    status, _, told = _run("snapshot", "restore", url, other, "--until", "latest")
    assert (status, "is damaged: its checksum is wrong" in told) == (2, True)
    status, told, _ = _run("snapshot", "verify", tmp_path)
    assert (status, tail.name in told) == (1, True)


def test_old_segments_go_with_old_snapshots(tmp_path: Path) -> None:
    options = {**OPTIONS, "snapshot_keep": 2}
    with yggdrasil.Node(1, directory=tmp_path, **options) as node, _client(node) as c:
        for number in range(6):
            for _ in range(30):
                c("SET", f"key:{number}", "x" * 100_000)
            assert c("SAVE") == "OK"
        segments = sorted((tmp_path / "snapshots" / "segments").iterdir())
        assert segments
        assert f"-{1:016x}-" not in segments[0].name
    directory = tmp_path / "restored"
    _restored(tmp_path / "snapshots", directory, "--until", "latest")
    with yggdrasil.Node(1, directory=directory) as node, _client(node) as c:
        assert c("DBSIZE") == 6


def test_a_damaged_log_takes_nothing_from_the_archive(tmp_path: Path) -> None:
    """Neither is it archived in place of what was whole, nor is a moment noted at which a shard was not there."""
    directory = tmp_path / "node"
    directory.mkdir()
    with yggdrasil.Node(2, directory=directory, **OPTIONS) as node, _client(node) as c:
        for name in ("first", "second"):
            _write(c, name, 200)
            _archive(c)
    segment = max((directory / "log" / "generation-1" / "shard-0").glob("*.log"))
    before = segment.read_bytes()
    damaged = bytearray(before)
    damaged[5000] ^= 1
    segment.write_bytes(damaged)

    def check_restored(name: str, until: float) -> None:
        restored = tmp_path / name
        _restored(directory / "snapshots", restored, "--until", f"{until:.3f}")
        with yggdrasil.Node(2, directory=restored, ack="fast") as node, _client(node) as c:
            assert c("DBSIZE") == 2 * 200 + 30 + 2
            assert c("GET", "count") == b"400"

    with yggdrasil.Node(2, directory=directory, **OPTIONS) as node, _client(node) as c:
        eventually(lambda: info(c, "persistence")["log_archive_last_status"] == "err")
        assert "is damaged at offset" in node.log()
        until = time.time()
        check_restored("damaged", until)
        segment.write_bytes(before)
        eventually(lambda: info(c, "persistence")["log_archive_last_status"] == "ok")
    check_restored("whole", until)
