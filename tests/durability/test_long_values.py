"""Long values in the log: in pieces as they come, and whole or not at all."""

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
