"""Snapshots of a node: taken while it serves, and what it begins with after a restart."""

import os
import shutil
import signal
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.node import Node, NodeError, free_port
from tests.wire import ConnectionEndedError, Error, Wire, eventually, pairs, text_of

import yggdrasil


def _client(node: yggdrasil.Node) -> Wire:
    return Wire("127.0.0.1", node.port)


def _fill(client: Wire, count: int) -> None:
    for number in range(count):
        client("SET", f"key:{number}", f"value {number} " * 5)
    client("SET", "soon", "1", "PX", "1")
    client("SET", "later", "1", "EX", "1000")
    client("SELECT", "3")
    client("SET", "elsewhere", b"\x00\xff" * 100_000)
    client("SELECT", "0")


def _check(client: Wire, count: int) -> None:
    eventually(lambda: client("DBSIZE") == count + 1)
    assert client("GET", "key:7") == b"value 7 " * 5
    assert client("GET", "soon") is None
    assert 900 < client("TTL", "later") <= 1000
    client("SELECT", "3")
    assert client("GET", "elsewhere") == b"\x00\xff" * 100_000
    client("SELECT", "0")


@pytest.mark.parametrize("shards", [1, 3])
def test_a_node_without_a_log_begins_with_its_last_snapshot(tmp_path: Path, shards: int) -> None:
    with yggdrasil.Node(shards, directory=tmp_path, ack="none") as node, _client(node) as client:
        _fill(client, 300)
        assert client("SAVE") == "OK"
        client("SET", "lost", "1")
    with yggdrasil.Node(shards, directory=tmp_path, ack="none") as node, _client(node) as client:
        _check(client, 300)
        # Numbers go on, so that a snapshot knows what has changed.
        client("SET", "another", "1")
        assert client("SAVE") == "OK"
    with yggdrasil.Node(shards, directory=tmp_path, ack="none") as node, _client(node) as client:
        assert client("GET", "another") == b"1"
        assert client("GET", "lost") is None


@pytest.mark.parametrize("shards", [1, 3])
def test_a_log_goes_on_where_a_snapshot_ends(tmp_path: Path, shards: int) -> None:
    options: dict[str, Any] = {"directory": tmp_path, "ack": "fast", "log_segment_size": "1mb"}
    with yggdrasil.Node(shards, **options) as node, _client(node) as client:
        _fill(client, 300)
        for number in range(160):
            client("SET", f"long:{number}", b"x" * 100_000)
        before = len(list(tmp_path.glob("log/**/*.log")))
        assert client("SAVE") == "OK"
        assert len(list(tmp_path.glob("log/**/*.log"))) < before, "the snapshot has what was in the others"
        assert client("MSET", "one", "1", "two", "2", "three", "3") == "OK"
        client("DEL", *[f"long:{number}" for number in range(1, 160)])
        client("APPEND", "long:0", "+")
        assert client("SAVE") == "OK"
        assert pairs(client("SNAPSHOT", "LIST")[-1])[b"base"] is not None, "the log tells what has changed"
        client("SET", "last", "1")
        node.kill()
    with yggdrasil.Node(shards, **options) as node, _client(node) as client:
        assert client("MGET", "one", "two", "three", "last") == [b"1", b"2", b"3", b"1"]
        assert client("GET", "long:0") == b"x" * 100_000 + b"+"
        client("DEL", "one", "two", "three", "last", "long:0")
        _check(client, 300)


def test_a_worker_that_dies_comes_back_with_snapshot_and_log(tmp_path: Path) -> None:
    with yggdrasil.Node(2, directory=tmp_path, ack="fast") as node, _client(node) as client:
        for number in range(200):
            client("SET", f"key:{number}", "x")
        assert client("SAVE") == "OK"
        client("SET", "later", "1")
        pids = [int(line.split("pid=")[1].split(",")[0]) for line in _shards(client)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: _keys(node) == 201)


def _shards(client: Wire) -> list[str]:
    return [line for line in text_of(client("INFO", "shards")).splitlines() if line.startswith("shard")]


def _keys(node: yggdrasil.Node) -> int:
    try:
        with _client(node) as client:
            found = client("DBSIZE")
    except (OSError, ConnectionEndedError):
        return -1
    return found if isinstance(found, int) else -1


def test_keys_that_no_log_has_are_in_no_snapshot(tmp_path: Path) -> None:
    options: dict[str, Any] = {"directory": tmp_path, "ack": "fast", "namespaces": "cache: none"}
    with yggdrasil.Node(2, **options) as node, _client(node) as client:
        client("MSET", "cache:1", "a", "kept", "b")
        assert client("SAVE") == "OK"
    with yggdrasil.Node(2, **options) as node, _client(node) as client:
        assert client("MGET", "cache:1", "kept") == [None, b"b"]


def _pinned(client: Wire, key: str) -> str:
    """What is pinned of a prefix, as the refusal of one more pin tells it."""
    assert client("CONFIG", "SET", "maxpinned-prefixes", "key: 1") == "OK"
    refused = client("PIN", key)
    assert isinstance(refused, Error)
    assert refused.text.startswith("PINLIMIT ")
    return refused.text


@pytest.mark.parametrize("ack", ["none", "fast"])
def test_pins_outlive_the_run(tmp_path: Path, ack: str) -> None:
    """What prefixes may pin goes by them then, too. Some are in the snapshot, and some in the log behind it."""
    options: dict[str, Any] = {"directory": tmp_path, "ack": ack}
    with yggdrasil.Node(2, **options) as node, _client(node) as client:
        for number in range(500):
            client("SET", f"key:{number}", "x")
            client("PIN", f"key:{number}", "EX", "1000")
            if number == 250 and ack == "fast":
                assert client("SAVE") == "OK"
        client("UNPIN", "key:7")
        pinned = _pinned(client, "key:7")
        if ack == "none":
            assert client("SAVE") == "OK"
        node.kill()
    for shards in (2, 3):
        with yggdrasil.Node(shards, **options) as node, _client(node) as client:
            assert client("PINTTL", "key:7") == -1
            assert 800 < client("PINTTL", "key:499") <= 1000
            assert client("DBSIZE") == 500
            assert _pinned(client, "key:7") == pinned


def test_lastsave_and_info_tell_of_the_last_snapshot() -> None:
    with Node(2) as node, _client(node) as client:
        started = client("LASTSAVE")
        assert _persistence(client)["rdb_saves"] == "0"
        client("SET", "a", "1")
        assert client("BGSAVE") == "Background saving started"
        eventually(lambda: _persistence(client)["rdb_saves"] == "1")
        info = _persistence(client)
        assert info["rdb_last_bgsave_status"] == "ok"
        assert client("LASTSAVE") >= started
        assert info["rdb_bgsave_in_progress"] == "0"
        assert info["snapshot_last_keys"] == "1"
        assert (info["current_save_keys_total"], info["current_fork_perc"]) == ("0", "0.00")
        assert info["aof_rewrites"] == "0"
        assert client("BGSAVE", "NOW") == Error("ERR syntax error")


def test_a_snapshot_counts_as_a_rewrite_where_there_is_a_log(tmp_path: Path) -> None:
    with Node(1, directory=tmp_path, ack="fast", snapshot_rate="1mb") as node, _client(node) as client:
        assert _persistence(client)["aof_last_rewrite_time_sec"] == "-1"
        client("SET", "key", os.urandom(2 << 20))
        assert client("BGREWRITEAOF") == "Background append only file rewriting started"
        eventually(lambda: _persistence(client)["aof_rewrite_in_progress"] == "1")
        assert _persistence(client)["aof_rewrites"] == "0"
        eventually(lambda: _persistence(client)["aof_rewrite_in_progress"] == "0")
        info = _persistence(client)
        assert (info["aof_rewrites"], info["aof_last_bgrewrite_status"]) == ("1", "ok")
        assert int(info["aof_last_rewrite_time_sec"]) >= 0


def _persistence(client: Wire) -> dict[str, str]:
    lines = text_of(client("INFO", "persistence")).splitlines()[1:]
    return dict(line.split(":", 1) for line in lines)


def test_snapshots_are_listed_and_old_ones_removed() -> None:
    with Node(2, snapshot_keep=3) as node, _client(node) as client:
        ids = []
        for number in range(5):
            client("SET", f"key:{number}", "x")
            ids.append(pairs(client("SNAPSHOT", "CREATE"))[b"id"])
        rows = [pairs(row) for row in client("SNAPSHOT", "LIST")]
        assert [row[b"id"] for row in rows] == ids[2:]
        assert [row[b"keys"] for row in rows] == [3, 4, 5]
        assert client("SNAPSHOT", "PRUNE", "1") == 2
        assert len(client("SNAPSHOT", "LIST")) == 1
        assert client("SNAPSHOT", "PRUNE", "0") == Error("ERR the newest snapshot is always kept: at least 1")
        assert client("SNAPSHOT", "CREATE", "HALF") == Error("ERR syntax error")


def test_damage_is_found_and_stops_a_start(tmp_path: Path) -> None:
    port = free_port()
    with yggdrasil.Node(1, directory=tmp_path, admin_port=port) as node, _client(node) as client:
        client("SET", "a", "x" * 1000)
        client("SAVE")
        (chunk,) = (tmp_path / "snapshots" / "chunks").iterdir()
        data = bytearray(chunk.read_bytes())
        data[-1] ^= 1
        chunk.write_bytes(data)
        verdict = pairs(client("SNAPSHOT", "CHECK"))
        (damage,) = map(pairs, verdict[b"damage"])
        assert verdict[b"whole"] == []
        assert damage[b"object"] == f"chunks/{chunk.name}".encode()
        assert _metric(port, "yggdrasil_snapshot_damaged_objects") == 1
    with pytest.raises(NodeError, match=r"chunks/\w+ is damaged"), yggdrasil.Node(1, directory=tmp_path):
        pass


def _metric(port: int, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith(f"{name} ")))


def test_a_schedule_takes_snapshots_when_something_has_changed() -> None:
    with Node(1, snapshot_interval=1) as node, _client(node) as client:
        client("SET", "a", "1")
        eventually(lambda: _persistence(client)["rdb_saves"] == "1")
        assert client("CONFIG", "SET", "snapshot-interval", "0") == "OK"


def _fill_types(client: Wire) -> None:
    client("HSET", "hash", "a", "1", "b", "2")
    client("HSET", "large", *[part for number in range(1000) for part in (f"field:{number}", "x" * 50)])
    client("RPUSH", "list", "1", "2", "3")
    client("SADD", "set", "a", "b")
    client("ZADD", "sorted", "1", "a", "2", "b")
    client("XADD", "stream", "1-1", "a", "1")


def _has_keys(client: Wire, count: int) -> bool:
    return bool(client("DBSIZE") == count)


def _types(client: Wire) -> list[Any]:
    return [
        client("HGET", "hash", "b"),
        client("HLEN", "large"),
        client("LRANGE", "list", "0", "-1"),
        sorted(client("SMEMBERS", "set")),
        client("ZRANGE", "sorted", "0", "-1"),
        client("XLEN", "stream"),
    ]


@pytest.mark.parametrize("ack", ["none", "fast"])
def test_another_number_of_shards_begins_with_the_snapshot(tmp_path: Path, ack: str) -> None:
    """The log behind it and pins included, again and again, and without a snapshot of the shards in between."""
    options: dict[str, Any] = {"directory": tmp_path, "ack": ack, "log_segment_size": "1mb"}
    with yggdrasil.Node(2, **options) as node, _client(node) as client:
        _fill(client, 300)
        _fill_types(client)
        client("PIN", "key:7", "EX", "1000")
        client("APPEND", "key:8", "+")
        assert client("SAVE") == "OK"
        if ack == "fast":
            client("APPEND", "key:8", "+")
            client("DEL", "key:9")
            client("RPUSH", "list", "4")
            assert client("MSET", "one", "1", "two", "2", "three", "3") == "OK"
            assert client("SAVE") == "OK"
            client("APPEND", "key:8", "+")
            client("RPUSH", "new", "1", "2")
            client("SELECT", "3")
            client("SET", "last", "1")
            client("SWAPDB", "3", "4")
            client("SELECT", "0")
        # All but the one that has expired, which is counted until it is found.
        keys = 310 if ack == "fast" else 307
        before = (_types(client), client("GET", "key:8"))
    for shards in (3, 1, 2):
        with yggdrasil.Node(shards, **options) as node, _client(node) as client:
            eventually(partial(_has_keys, client, keys))
            assert (_types(client), client("GET", "key:8")) == before
            assert 900 < client("PINTTL", "key:7") <= 1000
            if ack == "fast":
                assert client("MGET", "one", "two", "three", "key:9") == [b"1", b"2", b"3", None]
                assert client("LRANGE", "new", "0", "-1") == [b"1", b"2"]
                client("SELECT", "4")
                assert client("MGET", "last", "elsewhere") == [b"1", b"\x00\xff" * 100_000]
                client("SELECT", "0")
            client("APPEND", "key:8", str(shards))
            client("RPUSH", "list", "5")
            if shards == 3 or ack == "none":
                assert client("SAVE") == "OK"
            before = (_types(client), client("GET", "key:8"))


def test_the_state_outlives_the_steward() -> None:
    with Node(1) as node, _client(node) as client:
        client("SET", "a", "1")
        client("SAVE")
        last = _persistence(client)["snapshot_last_id"]
        pid = node.pids()["steward"]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: node.pids().get("steward", pid) != pid)
        eventually(lambda: not isinstance(client("SNAPSHOT", "LIST"), Error))
        assert _persistence(client)["snapshot_last_id"] == last


def test_a_place_that_cannot_be_read_stops_a_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(NodeError, match=r"snapshots cannot be found: .*; see option snapshot-url"),
        Node(1, snapshot_url=str(tmp_path / "file" / "below")),
    ):
        pass
    with pytest.raises(NodeError, match="is no place for snapshots"), Node(1, snapshot_url="ftp://host/path"):
        pass


def test_a_place_that_cannot_be_written_fails_the_snapshot_alone(tmp_path: Path) -> None:
    with Node(1, snapshot_url=str(tmp_path / "below")) as node, _client(node) as client:
        client("SET", "a", "1")
        (tmp_path / "below").touch()
        refused = client("SAVE")
        assert isinstance(refused, Error)
        assert "Not a directory" in refused.text
        assert client("GET", "a") == b"1"
        assert _persistence(client)["rdb_last_bgsave_status"] == "err"


@pytest.mark.parametrize(
    ("options", "request_", "is_kept"),
    [
        ({}, None, False),
        ({"snapshot_at_shutdown": "yes"}, None, True),
        ({"snapshot_interval": 3600}, None, True),
        ({"snapshot_interval": 3600, "snapshot_at_shutdown": "no"}, None, False),
        ({}, "SAVE", True),
        ({"snapshot_at_shutdown": "yes"}, "NOSAVE", False),
    ],
)
def test_a_snapshot_is_taken_at_the_end_where_that_is_wanted(
    tmp_path: Path, options: dict[str, Any], request_: str | None, is_kept: bool
) -> None:
    with yggdrasil.Node(2, directory=tmp_path, ack="none", **options) as node, _client(node) as client:
        client("HSET", "large", *[part for number in range(2000) for part in (f"field:{number}", "x")])
        client("SET", "a", "1")
        if request_ is not None:
            with pytest.raises(ConnectionEndedError):
                client("SHUTDOWN", request_)
            node.process.wait()
    with yggdrasil.Node(2, directory=tmp_path, ack="none") as node, _client(node) as client:
        assert client("GET", "a") == (b"1" if is_kept else None)
        assert client("HLEN", "large") == (2000 if is_kept else 0)


def test_a_node_goes_on_where_no_snapshot_can_be_taken_at_its_end(tmp_path: Path) -> None:
    with Node(1, snapshot_url=str(tmp_path / "below")) as node, _client(node) as client:
        client("SET", "a", "1")
        (tmp_path / "below").touch()
        assert client("SHUTDOWN", "SAVE") == Error("ERR Errors trying to SHUTDOWN. Check logs.")
        assert client("GET", "a") == b"1"
        (tmp_path / "below").unlink()


def test_damage_of_a_log_is_found_while_the_node_runs(tmp_path: Path) -> None:
    port = free_port()
    options: dict[str, Any] = {"directory": tmp_path, "ack": "fast", "log_segment_size": "1mb", "admin_port": port}
    with yggdrasil.Node(1, **options) as node, _client(node) as client:
        for number in range(50):
            client("SET", f"key:{number}", "x" * 100_000)
        client("SNAPSHOT", "CHECK")
        assert _metric(port, "yggdrasil_log_damaged_segments") == 0
        segment = min(tmp_path.glob("log/**/*.log"))
        content = bytearray(segment.read_bytes())
        content[5000] ^= 1
        segment.write_bytes(content)
        client("SNAPSHOT", "CHECK")
        assert _metric(port, "yggdrasil_log_damaged_segments") == 1


@pytest.mark.parametrize("what", ["log", "snapshot"])
def test_what_is_found_damaged_in_the_background_is_replaced(tmp_path: Path, what: str) -> None:
    options: dict[str, Any] = {"directory": tmp_path, "ack": "fast", "log_segment_size": "1mb"}
    with yggdrasil.Node(1, **options, snapshot_check_interval=1) as node, _client(node) as client:
        for number in range(50):
            client("SET", f"key:{number}", f"{number:100000}")
        assert client("SAVE") == "OK"
        for number in range(50):
            client("SET", f"key:{number}", f"{number + 1:100000}")
        damaged = min(tmp_path.glob("log/**/*.log" if what == "log" else "snapshots/chunks/*"))
        content = bytearray(damaged.read_bytes())
        content[len(content) // 2] ^= 1
        damaged.write_bytes(content)
        name = "log_damaged_segments" if what == "log" else "snapshot_damaged_objects"
        eventually(lambda: int(_persistence(client)["rdb_saves"]) >= 2)
        assert "is damaged" in node.log()
        if what == "log":
            eventually(lambda: _persistence(client)[name] == "0")
        else:
            # The older one stays as it is.
            assert pairs(client("SNAPSHOT", "CHECK"))[b"whole"] == [_persistence(client)["snapshot_last_id"].encode()]
        assert int(_persistence(client)["snapshot_checked_time"]) > 0
        node.kill()
    with yggdrasil.Node(1, **options) as node, _client(node) as client:
        assert client("DBSIZE") == 50
        assert client("GET", "key:49") == f"{50:100000}".encode()


def test_a_snapshot_that_is_taken_during_a_check_is_not_taken_for_damaged() -> None:
    with Node(2, snapshot_check_rate="100kb") as node, _client(node) as client:

        def checked() -> int:
            return int(_persistence(client)["snapshot_checked_time"])

        # Each is a chunk, and the second one is read for seconds.
        for key, length in (("{b}", 50_000), ("{a}", 500_000)):
            assert client("SET", key, os.urandom(length)) == "OK"
        assert client("SAVE") == "OK"
        assert client("CONFIG", "SET", "snapshot-check-interval", "1") == "OK"
        eventually(lambda: _metric(node.admin_port, "yggdrasil_snapshot_checked_bytes_total") > 0)
        assert client("SET", "later", "1") == "OK"
        assert client("SAVE") == "OK"
        assert client("CONFIG", "SET", "snapshot-check-rate", "1gb") == "OK"
        first = eventually(checked)
        # What a check has led to is done before the next one.
        eventually(lambda: checked() > first)
        assert _persistence(client)["rdb_saves"] == "2"


def test_large_collections_are_copied_in_steps_while_they_change(tmp_path: Path) -> None:
    with yggdrasil.Node(2, directory=tmp_path, ack="fast") as node, _client(node) as client:
        numbers = range(30_000)
        for key, build in (
            ("set", lambda number: ("SADD", f"member:{number}")),
            ("list", lambda number: ("RPUSH", f"element:{number}")),
            ("sorted", lambda number: ("ZADD", number, f"member:{number}")),
            ("hash", lambda number: ("HSET", f"field:{number}", number)),
        ):
            name = build(0)[0]
            client(name, key, *[part for number in numbers for part in build(number)[1:]])
        for number in range(1, 3000):
            client("XADD", "stream", f"{number}-1", "field", "x" * 100)
        client("XGROUP", "CREATE", "stream", "group", "0")
        client("XREADGROUP", "GROUP", "group", "consumer", "COUNT", "10", "STREAMS", "stream", ">")
        assert client("BGSAVE") == "Background saving started"
        for number in numbers[:300]:
            client("SREM", "set", f"member:{number}")
            client("LPOP", "list")
        client("DEL", "hash")
        eventually(lambda: _persistence(client)["rdb_saves"] == "1")
        # Old ones are being removed still.
        eventually(lambda: client("SAVE") == "OK")
    (log,) = tmp_path.glob("log/generation-1")
    shutil.rmtree(log)
    (tmp_path / "log" / "layout.json").unlink()
    with yggdrasil.Node(3, directory=tmp_path, ack="fast") as node, _client(node) as client:
        assert client("SCARD", "set") == client("LLEN", "list") == len(numbers) - 300
        assert client("LINDEX", "list", 0) == b"element:300"
        assert client("LINDEX", "list", -1) == b"element:29999"
        assert client("ZRANGE", "sorted", 29_998, -1) == [b"member:29998", b"member:29999"]
        assert client("EXISTS", "hash") == 0
        assert client("XLEN", "stream") == 2999
        assert len(client("XPENDING", "stream", "group", "-", "+", 100)) == 10
