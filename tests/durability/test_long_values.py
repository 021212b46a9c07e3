"""Long values in the log: in pieces as they come, and whole or not at all."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.durability.test_recovery import serving
from tests.node import HOST, Node, wait_until_gone
from tests.wire import OK, Error, Wire, encode, eventually

LONG = bytes(range(256)) * 40_000
# More than a segment of the log.
SEGMENT = "1mb"
# Of different shards.
KEYS = [f"long:{number}" for number in range(6)]


def kill(node: Node) -> None:
    pids = node.all_pids()
    node.kill()
    wait_until_gone(pids)


def is_receiving(c: Wire, key: str) -> bool:
    """Whether the log has pieces of a value of which nothing is to be seen yet."""
    lines = c("INFO", "persistence").decode().splitlines()
    size = next(int(line.split(":")[1]) for line in lines if line.startswith("aof_current_size"))
    return size > len(LONG) // 4 and c("EXISTS", key) == 0


def test_long_values_come_back_from_many_segments(tmp_path: Path) -> None:
    with serving(tmp_path, log_segment_size=SEGMENT) as (node, c):
        for number, key in enumerate(KEYS):
            assert c("SET", key, LONG[number:]) == OK
        upload = c("PUT_STREAM", "BEGIN", "upload", "EX", 1000)
        for start in range(0, len(LONG), 3_000_000):
            c("PUT_STREAM", "APPEND", upload, LONG[start : start + 3_000_000])
        c("PUT_STREAM", "COMMIT", upload)
        assert c("APPEND", KEYS[0], "end") == len(LONG) + 3
        kill(node)
    for shards in (3, 2):
        with serving(tmp_path, shards=shards, log_segment_size=SEGMENT) as (_, c):
            assert c("GET", KEYS[0]) == LONG + b"end"
            for number, key in list(enumerate(KEYS))[1:]:
                assert c("GET", key) == LONG[number:]
            assert c("GET", "upload") == LONG
            assert 0 < c("TTL", "upload") <= 1000


@pytest.mark.parametrize("ack", ["fast", "sync"])
def test_a_value_that_has_not_come_whole_is_not_there(tmp_path: Path, ack: str) -> None:
    request = encode("SET", "half", LONG)
    with (
        serving(tmp_path, shards=1, ack=ack, log_segment_size=SEGMENT) as (node, c),
        Wire(HOST, node.port) as sender,
    ):
        sender.send_raw(request[: len(request) // 2])
        eventually(lambda: is_receiving(c, "half"))
        assert c("SET", "whole", LONG) == OK
        kill(node)
    with serving(tmp_path, shards=1, ack=ack, log_segment_size=SEGMENT) as (_, c):
        assert c("EXISTS", "half") == 0
        assert c("GET", "whole") == LONG
        assert c("SET", "half", LONG[7:]) == OK
    with serving(tmp_path, shards=1, ack=ack, log_segment_size=SEGMENT) as (_, c):
        assert c("GET", "half") == LONG[7:]


def test_what_a_client_has_not_sent_to_its_end_is_forgotten(tmp_path: Path) -> None:
    with serving(tmp_path, shards=1, log_segment_size=SEGMENT) as (node, c):
        upload = c("PUT_STREAM", "BEGIN", "upload")
        assert c("PUT_STREAM", "APPEND", upload, LONG[:100_000]) == 100_000
        with Wire(HOST, node.port) as lost:
            part = encode("PUT_STREAM", "APPEND", upload, bytes(len(LONG)))
            lost.send_raw(part[: len(part) // 2])
            eventually(lambda: is_receiving(c, "upload"))
        eventually(lambda: not isinstance(c("PUT_STREAM", "APPEND", upload, LONG[100_000:]), Error))
        c("PUT_STREAM", "COMMIT", upload)
        assert c("GET", "upload") == LONG
        kill(node)
    with serving(tmp_path, shards=1, log_segment_size=SEGMENT) as (_, c):
        assert c("GET", "upload") == LONG


def test_segments_with_pieces_stay_until_a_snapshot_has_their_value(tmp_path: Path) -> None:
    logs = tmp_path / "log" / "generation-1" / "shard-0"
    request = encode("SET", "late", LONG)
    with serving(tmp_path, shards=1, log_segment_size=SEGMENT) as (node, c):
        with Wire(HOST, node.port) as sender:
            sender.send_raw(request[: len(request) // 2])
            eventually(lambda: is_receiving(c, "late"))
            assert c("SET", "early", LONG) == OK
            assert c("SAVE") == OK
            assert (logs / f"{1:016x}.log").exists()
            sender.send_raw(request[len(request) // 2 :])
            assert sender.read() == OK
        kill(node)
    with serving(tmp_path, shards=1, log_segment_size=SEGMENT) as (_, c):
        assert c("MGET", "early", "late") == [LONG, LONG]
        # Its own segments began when nothing else was open.
        assert c("SET", "more", LONG) == OK
        assert c("SAVE") == OK
        assert not (logs / f"{1:016x}.log").exists()
    with serving(tmp_path, shards=1, log_segment_size=SEGMENT) as (_, c):
        assert c("MGET", "early", "late") == [LONG, LONG]


def test_a_snapshot_has_values_whose_pieces_are_in_the_log(tmp_path: Path) -> None:
    """An increment has what was changed during the scan from the log, pieces put together."""
    with serving(tmp_path, shards=1, log_segment_size=SEGMENT) as (_, c):
        assert c("SET", "a", "1") == OK
        assert c("SAVE") == OK
        assert c("SET", "b", LONG) == OK
        assert c("DEL", "a") == 1
        assert c("SAVE") == OK
    with serving(tmp_path, shards=1, log_segment_size=SEGMENT) as (_, c):
        assert c("MGET", "a", "b") == [None, LONG]


_HEAD = struct.Struct("<IIQQQ")


def longest_record(directory: Path) -> int:
    """Bytes of the longest record of all logs of a node that has ended."""
    longest = 0
    for segment in directory.glob("log/*/*/*.log"):
        contents = segment.read_bytes()
        at = 64
        while at + _HEAD.size <= len(contents):
            _, kind, length, _, _ = _HEAD.unpack_from(contents, at)
            if not kind:
                break
            longest = max(longest, length)
            at += -(-(_HEAD.size + length) // 8) * 8
    return longest


@pytest.mark.parametrize("shards", [1, 3])
def test_long_parts_of_values_come_in_pieces(tmp_path: Path, shards: int) -> None:
    def check(c: Wire) -> None:
        for key in KEYS[:2]:
            assert c("GET", key) == b"begin" + LONG
        assert c("GET", KEYS[2]) == b"be" + LONG
        assert c("GET", KEYS[3]) == b"be" + LONG + LONG[2:4]
        assert c("GET", KEYS[4]) == LONG
        assert c("GET", KEYS[5]) == LONG

    with serving(tmp_path, shards=shards, log_segment_size=SEGMENT) as (_, c):
        for key in KEYS[:3]:
            assert c("SET", key, "begin") == OK
        assert c("SET", KEYS[3], b"be" + LONG[2:] + LONG[:4]) == OK
        for key in KEYS[:2]:
            assert c("APPEND", key, LONG) == len(LONG) + 5
        assert c("SETRANGE", KEYS[2], 2, LONG) == len(LONG) + 2
        assert c("SETRANGE", KEYS[3], 2, LONG) == len(LONG) + 4
        assert c("APPEND", KEYS[4], LONG) == len(LONG)
        assert c("SETRANGE", KEYS[5], 0, LONG) == len(LONG)
        check(c)
    # A client is not read from that is 4 MB ahead of the log.
    assert longest_record(tmp_path) < len(LONG) // 2
    with serving(tmp_path, shards=shards, log_segment_size=SEGMENT) as (_, c):
        check(c)


@contextmanager
def not_at_owner(node: Node) -> Iterator[Wire]:
    """A client of a worker that has none of the keys, where there is more than one."""
    for port in node.worker_ports:
        with Wire(HOST, port) as c:
            if c("DBSIZE") == 0 or len(node.worker_ports) == 1:
                yield c
                return
    raise AssertionError("each worker has keys")


@pytest.mark.parametrize("shards", [1, 3])
def test_a_large_collection_gets_another_name_in_pieces(tmp_path: Path, shards: int) -> None:
    elements = [b"%07d" % number + LONG[:993] for number in range(4_000)]

    def check(c: Wire) -> None:
        assert c("EXISTS", "{a}first", "{a}moved") == 0
        for key in ("{a}second", "{a}third"):
            assert c("LRANGE", key, 0, -1) == elements
        assert c("SCARD", "{a}all") == len(elements)
        assert c("SISMEMBER", "{a}all", elements[17]) == 1
        assert c("SELECT", 3) == OK
        assert c("LRANGE", "{a}moved", 0, -1) == elements
        assert c("SELECT", 0) == OK

    with serving(tmp_path, shards=shards, log_segment_size=SEGMENT) as (node, first):
        for start in range(0, len(elements), 100):
            first("RPUSH", "{a}first", *elements[start : start + 100])
            first("SADD", "{a}some", *elements[start : start + 100])
    with serving(tmp_path, shards=shards, log_segment_size=SEGMENT) as (node, _), not_at_owner(node) as c:
        assert c("COPY", "{a}first", "{a}second") == 1
        assert c("COPY", "{a}first", "{a}moved") == 1
        assert c("RENAMENX", "{a}first", "{a}second") == 0
        assert c("RENAME", "{a}first", "{a}third") == OK
        steps = [("MULTI",), ("RENAME", "{a}third", "{a}within"), ("COPY", "{a}within", "{a}third"), ("EXEC",)]
        assert c.pipeline(steps)[-1] == [OK, 1]
        rename = "return redis.call('RENAME', KEYS[1], KEYS[2])"
        assert c("EVAL", rename, 2, "{a}within", "{a}third") == OK
        assert c("MOVE", "{a}moved", 3) == 1
        assert c("SUNIONSTORE", "{a}all", "{a}some", "{a}none") == len(elements)
        check(c)
    assert longest_record(tmp_path) < 400_000
    with serving(tmp_path, shards=shards, log_segment_size=SEGMENT) as (node, c):
        check(c)
        assert c("RENAME", "{a}third", "{a}fourth") == OK
        kill(node)
    with serving(tmp_path, shards=2, log_segment_size=SEGMENT) as (_, c):
        assert c("LRANGE", "{a}fourth", 0, -1) == elements
        assert c("EXISTS", "{a}third") == 0
