"""Processes that die are replaced; the others go on meanwhile."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from tests.node import Node
from tests.server.asking import ask, connect
from tests.wire import OK, eventually, once_within

from yggdrasil.server.supervisor import CRASH_AGE_S, Supervisor

REPLACED_WITHIN_S = 1.0


def replaced(node: Node, name: str, before: int) -> Callable[[], bool]:
    return lambda: node.pids().get(name, before) != before


def test_a_killed_worker_is_replaced_within_a_second(node: Node) -> None:
    with connect(node.worker_ports[0]) as kept:

        def replaced_s() -> float:
            before = node.all_pids()
            with connect(node.worker_ports[1]) as lost:
                assert lost("PING") == kept("PING") == "PONG"
                start = time.monotonic()
                os.kill(before["shard-1"], signal.SIGKILL)
                assert lost.is_closed()
                # The listening socket stayed open: the connection waits for the successor.
                assert ask(node.worker_ports[1], "PING") == "PONG"
                took_s = time.monotonic() - start
            assert kept("PING") == "PONG"
            after = node.pids()
            assert after["shard-1"] == before["spare"]
            assert {name: after[name] for name in ("shard-0", "shard-2", "steward")} == {
                name: before[name] for name in ("shard-0", "shard-2", "steward")
            }
            eventually(replaced(node, "spare", before["spare"]))
            return took_s

        once_within(REPLACED_WITHIN_S, replaced_s)


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
    with Node(shards=2) as node:
        # A crash counts only while the worker is young, which is a matter of the machine's speed too.
        for _ in range(30):
            before = node.all_pids()["shard-0"]
            os.kill(before, signal.SIGSEGV)
            eventually(lambda pid=before: node.process.poll() is not None or node.pids().get("shard-0", pid) != pid)  # type: ignore[misc]
            if node.process.poll() is not None:
                break
            assert ask(node.worker_ports[0], "PING") == "PONG"
        assert node.process.wait(30) == 1
        assert "yggdrasil: shard-0 died 5 times within 10 s of its start, last by signal SIGSEGV" in node.log()
        node.process.returncode = -signal.SIGKILL  # what the block's end shall take it for


@dataclass
class Death:
    """What the supervisor asks a dead child."""

    age_s: float = 1.0
    name: str = "shard-0"
    killed_from_outside: bool = False


DEATHS = {
    "five young ones": ([Death()] * 5, True),
    "four young ones": ([Death()] * 4, False),
    "five old ones": ([Death(CRASH_AGE_S)] * 5, False),
    "an old one among young ones": ([Death()] * 4 + [Death(CRASH_AGE_S)] + [Death()] * 4, False),
    "five young ones after an old one": ([Death(CRASH_AGE_S)] + [Death()] * 5, True),
    "killed by others": ([Death(killed_from_outside=True)] * 5, False),
    "killed by others among young ones": ([Death()] * 4 + [Death(killed_from_outside=True), Death()], True),
    "of two shards": ([Death(), Death(name="shard-1")] * 4, False),
}


@pytest.mark.parametrize(("deaths", "is_loop"), DEATHS.values(), ids=DEATHS)
def test_what_is_a_crash_loop(deaths: list[Death], is_loop: bool) -> None:
    supervisor = Supervisor.__new__(Supervisor)
    supervisor._crashes = {}
    *before, last = [supervisor._is_crash_loop(cast("Any", death)) for death in deaths]
    assert not any(before)
    assert last == is_loop


def test_what_was_set_at_run_time_is_set_in_a_successor_and_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("# ours\ntimeout = 100\n")
    with Node(shards=2, config=file) as node:
        assert ask(node.worker_ports[0], "CONFIG", "SET", "timeout", "200", "requirepass", "") == OK
        before = node.all_pids()["shard-1"]
        os.kill(before, signal.SIGKILL)
        eventually(replaced(node, "shard-1", before))
        for port in node.worker_ports:
            assert ask(port, "CONFIG", "GET", "timeout") == [b"timeout", b"200"]
        assert ask(node.worker_ports[1], "CONFIG", "REWRITE") == OK
    assert file.read_text() == '# ours\ntimeout = 200\nrequirepass = ""\n'
