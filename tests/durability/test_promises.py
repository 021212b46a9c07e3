"""What the reply to a write promises, by namespace and connection."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from io import RawIOBase
from pathlib import Path

import pytest
from tests.durability.test_recovery import readyz, serving
from tests.node import HOST, Node, wait_until_gone
from tests.wire import OK, SYNTAX, Error, Wire, eventually, pairs

MARK_BYTES = 64


def syncs(c: Wire) -> int:
    return int(info(c)["log_syncs"])


def info(c: Wire) -> dict[str, str]:
    lines = c("INFO", "persistence").decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[tuple[Node, Wire]]:
    """A node of one shard that flushes by itself once in a minute."""
    with serving(tmp_path, shards=1, flush_interval=60_000, namespaces="sync%3A sync low%3A sync+ no%3A none") as both:
        yield both


def is_durable(c: Wire) -> bool:
    """Whether nothing is written that is not durable, but a mark of how far it is."""
    return int(info(c)["log_unflushed_bytes"]) <= MARK_BYTES


def is_durable_or_not(c: Wire, promise: int) -> bool:
    return is_durable(c) == bool(promise)


def test_sync_writes_are_durable_when_they_are_answered_and_fast_ones_later(slow: tuple[Node, Wire]) -> None:
    _, c = slow
    for number in range(5):
        assert c("SET", f"fast:{number}", "x" * 1000) == OK
    eventually(lambda: not is_durable(c))
    assert c("SET", "sync:1", "x" * 1000) == OK
    eventually(lambda: is_durable(c))


def test_a_pipeline_of_sync_writes_shares_its_syncs(slow: tuple[Node, Wire]) -> None:
    _, c = slow
    replies = c.pipeline([*[("SET", f"sync:{n}", n) for n in range(500)], ("GET", "sync:7"), ("PING",)])
    assert replies == [OK] * 500 + [b"7", "PONG"]
    eventually(lambda: 1 <= syncs(c) < 100)


def test_long_values_leave_behind_a_gate(slow: tuple[Node, Wire]) -> None:
    _, c = slow
    value = b"x" * 3_000_000
    assert c("SET", "sync:long", value) == OK
    replies = c.pipeline(
        [("GETSET", "sync:long", "short"), ("SET", "fast", value), ("GET", "fast"), ("GETDEL", "fast")]
    )
    assert replies == [value, OK, value, value]


def test_a_connection_asks_for_more_and_for_less_only_where_that_is_allowed(slow: tuple[Node, Wire]) -> None:
    _, c = slow
    assert c("CLIENT", "ACK", "loud") == SYNTAX
    for key, promises in {"sync:a": (1, 1, 1), "low:a": (1, 0, 1), "fast:a": (0, 0, 1)}.items():
        for ack, promise in zip(("DEFAULT", "FAST", "SYNC"), promises, strict=True):
            assert c("WAITAOF", 1, 0, 0) == [1, 0]
            eventually(lambda: is_durable(c))
            assert c("CLIENT", "ACK", ack) == OK
            assert c("SET", key, "x" * 1000) == OK
            eventually(partial(is_durable_or_not, c, promise))


def test_what_is_written_and_not_durable_has_a_limit_and_writers_wait_for_that(tmp_path: Path) -> None:
    values = [("SET", f"key:{number}", str(number) * 50_000) for number in range(100, 200)]
    limits: dict[str, str | int] = {"flush_interval": 60_000, "log_unflushed_max": "1mb", "log_segment_size": "1mb"}
    with serving(tmp_path, shards=2, **limits) as (node, c):
        with Wire(HOST, node.worker_ports[1]) as other:
            for number, value in enumerate(values):
                (other if number % 2 else c).send(*value)
            assert [c.read() for _ in values[::2]] == [OK] * 50
            assert [other.read() for _ in values[::2]] == [OK] * 50
        # Nobody has asked for a flush.
        eventually(lambda: int(info(c)["log_unflushed_bytes"]) <= 2 << 20)
        pids = node.all_pids()
        node.kill()
        wait_until_gone(pids)
    with serving(tmp_path, shards=2) as (_, c):
        assert c("MGET", *[key for _, key, _ in values]) == [value.encode() for *_, value in values]


def test_what_none_is_promised_for_is_gone(tmp_path: Path) -> None:
    namespaces = "no%3A none no%3Abut%3A fast"
    with serving(tmp_path, namespaces=namespaces) as (_, c):
        assert c("MSET", "no:1", 1, "no:but:1", 2, "yes", 3) == OK
    with serving(tmp_path, namespaces=namespaces) as (_, c):
        assert c("MGET", "no:1", "no:but:1", "yes") == [None, b"2", b"3"]


def test_namespaces_are_set_at_run_time_and_kept(tmp_path: Path) -> None:
    def listed(c: Wire) -> list[dict[bytes, object]]:
        return [pairs(row) for row in c("NAMESPACE", "LIST")]

    otherwise = {b"prefix": b"", b"ack": b"fast", b"lower": 1}
    orders = {b"prefix": b"orders: ", b"ack": b"sync", b"lower": 1}
    with serving(tmp_path) as (_, c):
        assert listed(c) == [otherwise]
        assert c("NAMESPACE", "SET", "orders: ", "SYNC", "LOWER") == OK
        assert c("NAMESPACE", "SET", "x", "NONE") == OK
        assert pairs(c("NAMESPACE", "GET", "orders: 5")) == orders
        assert pairs(c("NAMESPACE", "GET", "order")) == otherwise
        assert c("NAMESPACE", "SET", "y", "strong") == Error(
            "ERR strong needs replicas, of which there are none yet: use fast or sync"
        )
        assert c("NAMESPACE", "SET", "y", "sync", "HIGHER") == SYNTAX
        assert c("NAMESPACE", "SET", "x", "DEFAULT") == OK
    with serving(tmp_path) as (_, c):
        assert listed(c) == [otherwise, orders]
        assert c("CONFIG", "GET", "namespaces") == [b"namespaces", b"orders%3A%20 sync+"]


def test_namespaces_set_at_run_time_hold_instead_of_those_of_the_file_and_that_is_said(tmp_path: Path) -> None:
    with serving(tmp_path, shards=1, namespaces="a none") as (_, c):
        assert c("NAMESPACE", "SET", "b", "SYNC") == OK
    for configured in ("a none", "a none b sync"):
        with serving(tmp_path, shards=1, namespaces=configured) as (node, c):
            assert c("CONFIG", "GET", "namespaces") == [b"namespaces", b"a none b sync"]
            assert node.log().count("remove namespaces.txt") == 1
    (tmp_path / "namespaces.txt").unlink()
    with serving(tmp_path, shards=1, namespaces="a none") as (_, c):
        assert c("CONFIG", "GET", "namespaces") == [b"namespaces", b"a none"]


def test_namespaces_that_are_set_at_once_are_all_kept(tmp_path: Path) -> None:
    wanted = {f"p{number}:".encode(): b"sync" for number in range(24)}
    with serving(tmp_path, shards=3) as (node, _), ExitStack() as opened:
        clients = [opened.enter_context(Wire(HOST, node.worker_ports[number % 3])) for number in range(len(wanted))]
        for c, prefix in zip(clients, wanted, strict=True):
            c.send("NAMESPACE", "SET", prefix, "SYNC")
        assert [c.read() for c in clients] == [OK] * len(wanted)
        assert promises(clients[0]) == wanted
    with serving(tmp_path, shards=3) as (_, c):
        assert promises(c) == wanted


def promises(c: Wire) -> dict[bytes, bytes]:
    """What is promised by prefix, without the one of all other keys."""
    rows = [pairs(row) for row in c("NAMESPACE", "LIST")]
    return {row[b"prefix"]: row[b"ack"] for row in rows if row[b"prefix"]}


def test_a_namespace_that_cannot_be_kept_is_told_and_harms_nobody(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, c):
        # A directory cannot be replaced by a file.
        (tmp_path / "namespaces.txt").mkdir()
        assert c("NAMESPACE", "SET", "x", "sync") == Error(
            "ERR the change is made, but would not survive a restart: Is a directory"
        )
        assert promises(c) == {b"x": b"sync"}
        (tmp_path / "namespaces.txt").rmdir()
        assert c("NAMESPACE", "SET", "x", "fast") == OK
    with serving(tmp_path) as (_, c):
        assert promises(c) == {b"x": b"fast"}


def test_a_node_without_a_log_promises_nothing_at_run_time(node: Node) -> None:
    with Wire(HOST, node.port) as c:
        refusal = c("NAMESPACE", "SET", "x", "sync")
        assert isinstance(refusal, Error)
        assert "this node keeps no log from its start on" in refusal.text
        assert c("WAITAOF", 1, 0, 0) == Error(
            "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."
        )
        assert c("WAITAOF", 0, 0, 0) == [0, 0]


def test_tables_of_the_file_are_namespaces(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(
        '[[namespace]]\nprefix = "a b"\nack = "sync"\nlower = true\n[[namespace]]\nprefix = "c"\nack = "none"\n'
    )
    with serving(tmp_path, shards=1, config=str(file)) as (_, c):
        assert c("CONFIG", "GET", "namespaces") == [b"namespaces", b"a%20b sync+ c none"]


@pytest.mark.parametrize("ack", ["fast", "sync"])
def test_a_full_disk_refuses_writes_that_are_kept_and_nothing_else(tmp_path: Path, ack: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted")
    try:
        with serving(disk, shards=1, ack=ack, namespaces="no%3A none") as (node, c):
            filler = disk / "filler"
            full = None
            kept = 0
            while full is None:
                reply = c("SET", f"key:{kept}", "x" * 100_000)
                if isinstance(reply, Error):
                    full = reply
                else:
                    kept += 1
                if kept == 3:
                    with filler.open("wb", buffering=0) as file:
                        fill_up(file)
            assert full == Error("MISCONF Errors writing to the log: No space left on device (os error 28)")
            assert c("GET", "key:0") == b"x" * 100_000
            assert c("SET", "no:1", "x") == OK
            assert isinstance(c("DEL", "key:0"), Error)
            eventually(lambda: b"refuses writes: its log cannot be written: No space left" in readyz(node))
            filler.unlink()
            eventually(lambda: c("SET", "key:new", "y" * 100_000) == OK)
            eventually(lambda: readyz(node) == b"ready\n")
        with serving(disk, shards=1, ack=ack, namespaces="no%3A none") as (_, c):
            assert c("DBSIZE") == kept + 1
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def fill_up(file: RawIOBase) -> None:
    """Takes all room of a file system."""
    for size in (1 << 16, 1 << 12):
        with suppress(OSError):
            while True:
                file.write(b"x" * size)
