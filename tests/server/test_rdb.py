"""Files of Redis in and out: `yggdrasil import`, `yggdrasil export`, and SYNC for `redis-cli --rdb`."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.node import command, environment, free_port
from tests.peer import PeerMissingError, peer_command, peers_root
from tests.server.rdb_values import LATER_MS, everything, fill
from tests.wire import Error, Wire, eventually

import yggdrasil


def _run(*arguments: str | Path) -> tuple[int, str, str]:
    run = subprocess.run(
        [*command(), *map(str, arguments)], env=environment(), capture_output=True, text=True, check=False
    )
    return run.returncode, run.stdout, run.stderr


def _client(node: yggdrasil.Node) -> Wire:
    return Wire(node.host, node.port)


def _url(node: yggdrasil.Node) -> str:
    return f"redis://{node.host}:{node.port}"


@contextmanager
def _peer(program: str, file: Path | None) -> Iterator[tuple[Wire, Path]]:
    """A server of another make that begins with a file, and where it writes one."""
    directory = peers_root() / "tmp" / f"rdb-{free_port()}"
    try:
        peer_command(program)
    except PeerMissingError as missing:
        pytest.skip(str(missing))
    directory.mkdir()
    try:
        if file is not None:
            shutil.copy(file, directory / "dump.rdb")
        port = free_port()
        arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", f"/tmp/{directory.name}"]
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(peer_command(program, *arguments), stdout=log, stderr=log)

        def answers() -> bool:
            assert process.poll() is None, (directory / "log").read_text()
            try:
                with Wire("127.0.0.1", port) as c:
                    return bool(c("PING") == "PONG")
            except OSError:
                return False

        try:
            eventually(answers)
            with Wire("127.0.0.1", port) as c:
                yield c, directory / "dump.rdb"
        finally:
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(directory)


@pytest.mark.parametrize("shards", [1, 3])
def test_redis_loads_what_is_exported(tmp_path: Path, shards: int) -> None:
    with yggdrasil.Node(shards) as node, _client(node) as c:
        fill(c)
        status, told, error = _run("export", tmp_path / "dump.rdb", "--url", _url(node))
        assert (status, told.split(" ")[0]) == (0, "exported"), error
        before = everything(c)
    with _peer("redis-server", tmp_path / "dump.rdb") as (c, _):
        assert everything(c) == before


@pytest.mark.parametrize("program", ["redis-server", "valkey-server"])
def test_what_others_write_is_imported(tmp_path: Path, program: str) -> None:
    times = program == "redis-server"
    with _peer(program, None) as (c, file):
        fill(c, with_field_times=times)
        assert c("SAVE") == "OK"
        before = everything(c, with_field_times=times)
        with yggdrasil.Node(2) as node, _client(node) as ours:
            status, told, error = _run("import", file, "--url", _url(node))
            assert status == 0, told + error
            assert everything(ours, with_field_times=times) == before
            status, told, _ = _run("import", file, "--url", _url(node))
            assert status == 1
            assert "BUSYKEY" in told
            assert _run("import", file, "--url", _url(node), "--replace")[0] == 0
            assert everything(ours, with_field_times=times) == before


def test_a_directory_is_filled_and_read_without_a_running_node(tmp_path: Path) -> None:
    with yggdrasil.Node(1) as node, _client(node) as c:
        fill(c)
        assert _run("export", tmp_path / "dump.rdb", "--url", _url(node))[0] == 0
        before = everything(c)
    status, told, error = _run("import", tmp_path / "dump.rdb", "--dir", tmp_path / "node", "--shards", "2")
    assert status == 0, told + error
    assert f"imported {len(before) - 1} keys and 1 libraries of functions" in told
    assert _run("export", tmp_path / "again.rdb", "--dir", tmp_path / "node")[0] == 0
    with yggdrasil.Node(3, directory=tmp_path / "node") as node, _client(node) as c:
        assert everything(c) == before
    assert _run("import", tmp_path / "again.rdb", "--dir", tmp_path / "other", "--shards", "1")[0] == 0
    with yggdrasil.Node(1, directory=tmp_path / "other") as node, _client(node) as c:
        assert everything(c) == before


@pytest.mark.parametrize("only_functions", [False, True])
def test_redis_cli_takes_a_file(only_functions: bool) -> None:
    with yggdrasil.Node(2) as node, _client(node) as c, _peer("redis-server", None) as (_, file):
        fill(c)
        before = everything(c)
        flag = "--functions-rdb" if only_functions else "--rdb"
        place = f"/tmp/{file.parent.name}/taken.rdb"
        arguments = ["-p", str(node.port), flag, place]
        run = subprocess.run(peer_command("redis-cli", *arguments), capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        taken = file.with_name("taken.rdb")
        if only_functions:
            before = {"functions": before["functions"]}
        with _peer("redis-server", taken) as (loaded, _):
            assert everything(loaded) == before
        assert not list(node.dir.glob(".export-*"))


def test_who_would_follow_is_refused() -> None:
    with yggdrasil.Node(1) as node, _client(node) as c:
        assert c("REPLCONF", "listening-port", "1", "capa", "eof") == "OK"
        assert c("REPLCONF", "rdb-only") == Error("ERR syntax error")
        assert c("REPLCONF", "nonsense", "1") == Error("ERR Unrecognized REPLCONF option: nonsense")
        refused = c("PSYNC", "?", "-1")
        assert isinstance(refused, Error)
        assert refused.text.startswith("ERR PSYNC is not available")
        assert c("REPLCONF", "rdb-only", "1") == "OK"
        assert c("PSYNC", "?", "-1").startswith("FULLRESYNC ")


def _file(*parts: bytes) -> bytes:
    """A file without a checksum."""
    return b"REDIS0009" + b"".join(parts) + b"\xff" + bytes(8)


def _text(value: bytes) -> bytes:
    return bytes([len(value)]) + value


MODULE_VALUE = (
    b"\x07" + _text(b"of a module") + b"\x81" + (0x5E6D8F << 10).to_bytes(8, "big") + b"\x02\x05\x05\x01x\x00"
)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"REDIS0009", "the file ends too early"),
        (b"REDIX0009\xff", "no file of Redis begins like this"),
        (b"REDIS0099\xff", "it is of version 99"),
        (_file(b"\x63" + _text(b"key")), "no entry has the type 99"),
        (_file()[:-8] + b"\x01" * 8, "the checksum of the file is wrong"),
        (_file() + b"more", "bytes follow behind the end"),
        (_file(b"\xfe\x40\x63"), "100 databases"),
        (_file(b"\x00" + _text(b"key") + b"\x81" + b"\x7f" * 8), "and up to"),
    ],
)
def test_what_is_no_file_of_redis_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "dump.rdb").write_bytes(content)
    with yggdrasil.Node(1) as node:
        status, _, error = _run("import", tmp_path / "dump.rdb", "--url", _url(node))
    assert status == 2
    assert told in error


def test_what_cannot_be_asked_for_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "dump.rdb"
    refused: list[tuple[list[str | Path], str]] = [
        (["import", file], f"'{file}' does not exist"),
        (["import", tmp_path], "is a directory"),
        (["export", file, "--url", "nowhere"], "nowhere is no node: Redis URL must specify"),
        (["export", file, "--dir", tmp_path / "absent"], f"{tmp_path / 'absent'} is of no node"),
    ]
    for arguments, told in refused:
        status, _, error = _run(*arguments)
        assert (status, told in error) == (2, True), error
    file.write_bytes(_file())
    status, _, error = _run("import", file, "--shards", "2")
    assert (status, "--shards is for a new node in --dir" in error) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["dump.rdb"]


def test_what_cannot_be_used_is_listed(tmp_path: Path) -> None:
    entries = (
        b"\xfa" + _text(b"redis-ver") + _text(b"6.0.0"),
        b"\xfb\x05\x02",
        b"\xfc" + (1000).to_bytes(8, "little") + b"\x00" + _text(b"expired") + _text(b"1"),
        b"\xfd" + (LATER_MS // 1000 - 2**32).to_bytes(4, "little", signed=True) + b"\x00" + _text(b"old") + _text(b"1"),
        b"\xfc" + LATER_MS.to_bytes(8, "little") + b"\x00" + _text(b"later") + _text(b"1"),
        b"\xf8\x05\x00" + _text(b"idle") + _text(b"1"),
        b"\xf9\x07\x00" + _text(b"used") + _text(b"1"),
        MODULE_VALUE,
        b"\x02" + _text(b"damaged") + b"\x02" + _text(b"a") + _text(b"a"),
        b"\x03" + _text(b"scores") + b"\x02" + _text(b"a") + _text(b"1.5") + _text(b"b") + b"\xfe",
    )
    (tmp_path / "dump.rdb").write_bytes(_file(*entries))
    with yggdrasil.Node(1) as node, _client(node) as c:
        status, told, _ = _run("import", tmp_path / "dump.rdb", "--url", _url(node))
        assert status == 1
        lines = told.splitlines()
        assert lines[0] == "imported 4 keys and 0 libraries of functions"
        assert lines[1] == "left out 2 keys that have expired"
        assert lines[2].startswith("skipped: key 'of a module' of database 0: of module type ")
        assert lines[3] == "failed: key 'damaged' of database 0: Bad data format"
        assert c("PEXPIRETIME", "later") == LATER_MS
        assert c("OBJECT", "IDLETIME", "idle") >= 5
        assert c("ZRANGE", "scores", 0, -1, "WITHSCORES") == [b"a", b"1.5", b"b", b"inf"]
