"""Runs of a node without its log between runs with it."""

from pathlib import Path

import pytest
from tests.durability.test_recovery import serving
from tests.node import Node
from tests.wire import OK


def test_a_log_goes_on_after_runs_without_it_where_those_have_kept_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "log" / "unlogged.json"
    with serving(tmp_path, shards=1) as (_, c):
        assert c("SET", "k", "kept") == OK
    for _ in range(2):
        with serving(tmp_path, shards=1, ack="none") as (node, c):
            assert c("GET", "k") is None
            assert c("SET", "k", "not kept") == OK
            assert "the log is not read" in node.log()
    assert mark.exists()
    with serving(tmp_path, shards=1) as (node, c):
        assert c("GET", "k") == b"kept"
        assert "the node has run without it since" in node.log()
    assert not mark.exists()


def test_a_snapshot_of_a_run_without_the_log_is_not_mixed_with_it(tmp_path: Path) -> None:
    with serving(tmp_path, shards=1) as (_, c):
        assert c("SET", "k", "kept") == OK
    with serving(tmp_path, shards=1, ack="none") as (_, c):
        assert c("SET", "other", "1") == OK
        assert c("SAVE") == OK
    with pytest.raises(Exception, match=r"was taken while ack was none, and the log in .* ends before that") as refusal:
        Node(1, directory=tmp_path, ack="fast").start()
    assert f"remove {tmp_path / 'log'} to start with the snapshot" in str(refusal.value)
    (tmp_path / "log").rename(tmp_path / "aside")
    with serving(tmp_path, shards=1) as (_, c):
        assert c("MGET", "k", "other") == [None, b"1"]


def test_a_damaged_mark_stops_the_start(tmp_path: Path) -> None:
    with serving(tmp_path, shards=1) as (_, c):
        assert c("SET", "k", "kept") == OK
    (tmp_path / "log" / "unlogged.json").write_text("{}")
    with pytest.raises(Exception, match=r"unlogged\.json does not say since when there was no log: \w+: Field"):
        Node(1, directory=tmp_path, ack="fast").start()
