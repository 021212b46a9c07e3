"""Processes that die are replaced; the others go on meanwhile."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.node import Node
from tests.server.asking import ask, connect
from tests.wire import OK, eventually

REPLACED_WITHIN_S = 1.0


def replaced(node: Node, name: str, before: int) -> Callable[[], bool]:
    return lambda: node.pids().get(name, before) != before


def test_a_killed_worker_is_replaced_within_a_second(node: Node) -> None:
    before = node.all_pids()
    with connect(node.worker_ports[1]) as lost, connect(node.worker_ports[0]) as kept:
        assert lost("PING") == kept("PING") == "PONG"
        start = time.monotonic()
        os.kill(before["shard-1"], signal.SIGKILL)
        assert lost.is_closed()
        # The listening socket stayed open: the connection waits for the successor.
        assert ask(node.worker_ports[1], "PING") == "PONG"
        assert time.monotonic() - start < REPLACED_WITHIN_S
        assert kept("PING") == "PONG"
    after = node.pids()
    assert after["shard-1"] == before["spare"]
    assert {name: after[name] for name in ("shard-0", "shard-2", "steward")} == {
        name: before[name] for name in ("shard-0", "shard-2", "steward")
    }
    eventually(replaced(node, "spare", before["spare"]))


def test_a_replaced_worker_begins_with_an_empty_shard(node: Node) -> None:
    assert ask(node.worker_ports[0], "SET", "key", "value") == OK
    for shard in range(3):
        before = node.all_pids()
        os.kill(before[f"shard-{shard}"], signal.SIGKILL)
        eventually(replaced(node, f"shard-{shard}", before[f"shard-{shard}"]))
        # Until its successor has begun, the others may still read what the dead worker left.
        assert ask(node.worker_ports[shard], "PING") == "PONG"
    assert ask(node.worker_ports[0], "GET", "key") is None


@pytest.mark.parametrize("name", ["steward", "spare"])
def test_steward_and_spare_are_replaced_too(node: Node, name: str) -> None:
    before = node.all_pids()
    os.kill(before[name], signal.SIGKILL)
    eventually(replaced(node, name, before[name]))
    assert ask(node.port, "PING") == "PONG"


def test_all_workers_killed_at_once_are_replaced(node: Node) -> None:
    before = node.all_pids()
    for shard in range(3):
        os.kill(before[f"shard-{shard}"], signal.SIGKILL)
    for port in node.worker_ports:
        assert ask(port, "PING") == "PONG"


def test_a_worker_that_keeps_crashing_ends_the_node() -> None:
    with Node.start(shards=2) as node:
        for _ in range(5):
            before = node.all_pids()["shard-0"]
            os.kill(before, signal.SIGSEGV)
            eventually(lambda pid=before: node.process.poll() is not None or node.pids().get("shard-0", pid) != pid)  # type: ignore[misc]
            if node.process.poll() is None:
                assert ask(node.worker_ports[0], "PING") == "PONG"
        assert node.process.wait(10) == 1
        assert "yggdrasil: shard-0 died 5 times within 10 s of its start, last by signal SIGSEGV" in node.log()
        node.process.returncode = -signal.SIGKILL  # what the block's end shall take it for


def test_what_was_set_at_run_time_is_set_in_a_successor_and_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("# ours\ntimeout = 100\n")
    with Node.start(shards=2, config=file) as node:
        assert ask(node.worker_ports[0], "CONFIG", "SET", "timeout", "200", "requirepass", "") == OK
        before = node.all_pids()["shard-1"]
        os.kill(before, signal.SIGKILL)
        eventually(replaced(node, "shard-1", before))
        for port in node.worker_ports:
            assert ask(port, "CONFIG", "GET", "timeout") == [b"timeout", b"200"]
        assert ask(node.worker_ports[1], "CONFIG", "REWRITE") == OK
    assert file.read_text() == '# ours\ntimeout = 200\nrequirepass = ""\n'
