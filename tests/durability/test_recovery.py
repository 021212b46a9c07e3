"""A node that ends, in whatever way, is the node it was when it starts again."""

import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.node import HOST, Node, NodeError, wait_until_gone
from tests.wire import OK, Error, Wire, eventually

KEYS = [f"key:{number}" for number in range(40)]


@contextmanager
def serving(directory: Path, shards: int = 3, **options: str | int) -> Iterator[tuple[Node, Wire]]:
    """A node with a log on a directory that stays."""
    node = Node(shards, directory=directory, **{"ack": "fast", "log_segment_size": "1mb", **options}).start()
    try:
        with Wire(HOST, node.port) as c:
            yield node, c
    finally:
        if node.process.poll() is None:
            node.stop()


def fill(c: Wire) -> None:
    for key in KEYS:
        assert c("SET", key, f"value of {key}") == OK
    assert c("MSET", *[part for key in KEYS[:10] for part in (key, "several")]) == OK
    assert c.pipeline([("MULTI",), *[("INCR", f"count:{n}") for n in range(10)], ("EXEC",)])[-1] == [1] * 10
    assert c("DEL", KEYS[20], KEYS[21]) == 2
    assert c("APPEND", KEYS[30], "+") == len(f"value of {KEYS[30]}") + 1
    assert c("PEXPIRE", KEYS[31], 3_600_000) == 1
    assert c("SET", KEYS[32], "x" * 2_000_000) == OK
    assert c("SELECT", 3) == OK
    assert c("SET", "elsewhere", "3") == OK
    assert c("SWAPDB", 3, 5) == OK
    assert c("SELECT", 0) == OK


def is_ready(node: Node) -> bool:
    return readyz(node) == b"ready\n"


def readyz(node: Node) -> bytes:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{node.admin_port}/readyz") as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        return bytes(error.read())


def is_replaced(node: Node, shard: int, before: int) -> bool:
    return node.pids().get(f"shard-{shard}", before) != before


def check(c: Wire) -> None:
    expected = {key: f"value of {key}".encode() for key in KEYS} | dict.fromkeys(KEYS[:10], b"several")
    expected[KEYS[30]] += b"+"
    expected[KEYS[32]] = b"x" * 2_000_000
    del expected[KEYS[20]], expected[KEYS[21]]
    found = dict(zip(KEYS, c("MGET", *KEYS), strict=True))
    assert {key: value for key, value in found.items() if value is not None} == expected
    assert c("MGET", *[f"count:{n}" for n in range(10)]) == [b"1"] * 10
    assert 3_000_000 < c("PTTL", KEYS[31]) <= 3_600_000
    assert c("DBSIZE") == len(KEYS) - 2 + 10
    assert c("SELECT", 5) == OK
    assert c("GET", "elsewhere") == b"3"
    assert c("SELECT", 0) == OK


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_node_comes_back_with_all_its_keys(tmp_path: Path, end: signal.Signals) -> None:
    with serving(tmp_path) as (node, c):
        fill(c)
        if end is signal.SIGKILL:
            pids = node.all_pids()
            node.kill()
            wait_until_gone(pids)
    for _ in range(2):
        with serving(tmp_path) as (_, c):
            check(c)


def test_a_killed_worker_comes_back_with_its_keys_while_the_others_serve(tmp_path: Path) -> None:
    with serving(tmp_path) as (node, c):
        fill(c)
        for shard in range(3):
            before = node.all_pids()[f"shard-{shard}"]
            os.kill(before, signal.SIGKILL)
            with Wire(HOST, node.worker_ports[(shard + 1) % 3]) as other:
                assert other("PING") == "PONG"
                eventually(partial(is_replaced, node, shard, before))
                eventually(partial(is_ready, node))
            with Wire(HOST, node.port) as again:
                check(again)


def test_keys_that_expire_while_a_node_is_down_are_gone(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, c):
        assert c("SET", "short", "1", "PX", 1) == OK
        assert c("SET", "long", "1", "EX", 1000) == OK
    with serving(tmp_path) as (_, c):
        assert c("MGET", "short", "long") == [None, b"1"]
        eventually(lambda: c("DBSIZE") == 1)


def test_a_log_of_several_segments_is_read_as_a_whole(tmp_path: Path) -> None:
    with serving(tmp_path, shards=1) as (_, c):
        for number in range(60):
            assert c("SET", f"key:{number}", f"{number}" * 50_000) == OK
    assert len(list((tmp_path / "log" / "generation-1" / "shard-0").glob("*.log"))) > 3
    with serving(tmp_path, shards=1) as (_, c):
        assert [c("STRLEN", f"key:{number}") for number in (0, 10, 59)] == [50_000, 100_000, 100_000]


def test_damage_stops_the_start_and_is_named(tmp_path: Path) -> None:
    with serving(tmp_path, shards=1, ack="sync") as (_, c):
        for number in range(10):
            assert c("SET", f"key:{number}", "x" * 100) == OK
    segment = tmp_path / "log" / "generation-1" / "shard-0" / f"{1:016x}.log"
    content = bytearray(segment.read_bytes())
    content[content.index(b"x" * 100)] ^= 1
    segment.write_bytes(content)
    with pytest.raises(Exception, match=r"shard-0 could not start: .*0001\.log is damaged at offset 96") as error:
        Node(1, directory=tmp_path, ack="sync").start()
    assert "yggdrasil check" in str(error.value)


def test_damage_stops_one_shard_of_a_node_that_runs(tmp_path: Path) -> None:
    with serving(tmp_path, shards=2, ack="sync") as (node, c):
        for number in range(20):
            assert c("SET", f"key:{number}", "x" * 100) == OK
        with Wire(HOST, node.worker_ports[0]) as first:
            lost = first("KEYS", "*")[0]
        segment = tmp_path / "log" / "generation-1" / "shard-0" / f"{1:016x}.log"
        with segment.open("r+b") as file:
            at = file.read().index(b"x" * 100)
            file.seek(at)
            file.write(b"y")
        os.kill(node.pids()["shard-0"], signal.SIGKILL)
        eventually(lambda: b"shard 0 failed" in readyz(node))
        state = readyz(node)
        assert state.startswith(b"shards without a worker: 0\n")
        assert b"0001.log is damaged at offset " in state
        assert b"yggdrasil check" in state
        with Wire(HOST, node.worker_ports[1]) as other:
            kept = other("KEYS", "*")[0]
            assert other("SET", kept, "v") == OK
            refused = other("GET", lost)
            assert isinstance(refused, Error)
            assert refused.text.startswith("MISCONF shard 0 is not there: ")
        with Wire(HOST, node.worker_ports[0]) as without:
            assert without("SET", lost, "v") == refused, "who is sent there has an answer"
            assert without("GET", kept) == b"v", "and is served the other shards"


def test_a_node_without_a_log_writes_none(tmp_path: Path) -> None:
    with serving(tmp_path, shards=1, ack="none") as (_, c):
        assert c("SET", "k", "v") == OK
        assert c("CONFIG", "GET", "appendonly") == [b"appendonly", b"no"]
    assert not (tmp_path / "log").exists()


def test_readyz_answers_when_the_shards_are_there(tmp_path: Path) -> None:
    with serving(tmp_path) as (node, c):
        fill(c)
        assert readyz(node) == b"ready\n"


def test_strong_is_refused_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"ack = 'strong' .* strong needs replicas"):
        Node(1, directory=tmp_path, ack="strong").start()


def test_another_number_of_shards_has_the_same_keys(tmp_path: Path) -> None:
    with serving(tmp_path, shards=3) as (_, c):
        assert c("SELECT", 2) == OK
        assert c("MSET", *[part for key in KEYS for part in (key, "old")]) == OK
        assert c("FLUSHDB") == OK
        assert c("SET", "after", "1") == OK
        assert c("SELECT", 0) == OK
        fill(c)
    for shards in (2, 4, 1):
        for _ in range(2):
            with serving(tmp_path, shards=shards) as (_, c):
                check(c)
                assert c("SELECT", 2) == OK
                assert (c("DBSIZE"), c("GET", "after")) == (1, b"1")
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == ["generation-4", "layout.json"]


def test_what_a_transaction_has_removed_stays_away_when_its_decision_is_in_a_snapshot(tmp_path: Path) -> None:
    with serving(tmp_path, 2) as (node, c):
        slots = [c("CLUSTER", "KEYSLOT", key) for key in ("{b}", "{a}")]
        assert [slot < 8192 for slot in slots] == [True, False], "keys of the first shard, and of the second"
        assert c("SET", "{b}removed", "1") == OK
        with Wire(HOST, node.worker_ports[1]) as second:
            transaction = [("MULTI",), ("DEL", "{b}removed"), ("SET", "{a}key", "1"), ("EXEC",)]
            assert second.pipeline(transaction)[-1] == [1, OK]
        # The decision is in the log of the second shard, whose first segments a snapshot removes.
        for _ in range(30):
            assert c("SET", "{a}long", b"x" * 100_000) == OK
        assert c("SAVE") == OK
        names = [sorted(path.name for path in tmp_path.glob(f"log/*/shard-{shard}/*.log")) for shard in range(2)]
        first = f"{1:016x}.log"
        assert [first in those for those in names] == [True, False]
        node.stop(signal.SIGKILL)
    with serving(tmp_path, 2) as (_, c):
        assert c("MGET", "{b}removed", "{a}key") == [None, b"1"]


def test_a_log_whose_beginning_is_in_no_snapshot_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path, shards=1) as (_, c):
        for number in range(4):
            assert c("SET", f"long:{number}", "x" * 500_000) == OK
    first, *others = sorted((tmp_path / "log").rglob("*.log"))
    assert others
    first.rename(tmp_path / "first")
    with pytest.raises(NodeError, match=r"begins behind change \d+, and the snapshot has those up to 0"):
        Node(1, directory=tmp_path, ack="fast").start()
    (tmp_path / "first").rename(first)
    with serving(tmp_path, shards=1) as (_, c):
        assert c("DBSIZE") == 4
