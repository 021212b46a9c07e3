"""How a node ends, and that nothing is left of it."""

import os
import signal
import time
from pathlib import Path

import pytest
from tests.node import Node, wait_until_gone
from tests.server.asking import ask, connect
from tests.wire import ConnectionEndedError, eventually, text_of


def segments() -> set[str]:
    """Memory files that any process of this machine has open or mapped under our names."""
    found: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            lines = maps.read_text().splitlines()
        except OSError:
            continue
        found.update(f"{maps} {line}" for line in lines if "memfd:yggdrasil" in line)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_node_in_good_order(node: Node, number: signal.Signals) -> None:
    pids = node.all_pids()
    with connect(node.port) as wire:
        assert wire("PING") == "PONG"
        assert node.stop(number) == 0
        assert wire.is_closed()
    wait_until_gone(pids)
    assert {path.name for path in node.dir.iterdir()} == {"node.json", "node.log"}


def test_replies_that_are_due_are_not_lost(node: Node) -> None:
    wires = [connect(port) for port in node.worker_ports for _ in range(10)]
    for wire in wires:
        for number in range(100):
            wire.send("SET", f"key-{number}", str(number))
    assert node.stop() == 0
    for wire in wires:
        # What the node had not read when it stopped gets no reply; no reply is lost in between, none is torn.
        replies = wire.read_all()
        assert replies == b"+OK\r\n" * replies.count(b"\n")
        wire.close()


def test_clients_that_wait_for_keys_do_not_hold_up_the_end() -> None:
    with Node(shards=2, shutdown_timeout=120) as node:
        # Keys of both shards, and some of both at once, waited for through either worker.
        keys = [["a"], ["b"], ["c"], ["d"], ["a", "b", "c", "d"]]
        wires = [(connect(port), names) for port in node.worker_ports for names in keys]
        for wire, names in wires:
            wire.send("BLPOP", *names, 0)
        eventually(lambda: f"blocked_clients:{len(wires)}\r\n" in text_of(ask(node.port, "INFO", "clients")))
        assert node.stop() == 0
        for wire, _ in wires:
            with pytest.raises(ConnectionEndedError):
                wire.read()
            wire.close()


def test_the_second_signal_ends_it_at_once() -> None:
    with Node(shards=3, shutdown_timeout=120) as node:
        pids = node.all_pids()
        os.kill(pids["shard-0"], signal.SIGSTOP)
        node.process.send_signal(signal.SIGTERM)
        # Until the first one is taken, the second would be none.
        eventually(lambda: "stopping" in node.log())
        with pytest.raises(TimeoutError):
            _wait_exit(node, 0.5)
        node.process.send_signal(signal.SIGTERM)
        assert _wait_exit(node, 30) == 1
        wait_until_gone(pids)
        node.process.returncode = -signal.SIGKILL  # what the block's end shall take it for


def _wait_exit(node: Node, timeout_s: float) -> int:
    deadline = time.monotonic() + timeout_s
    while (status := node.process.poll()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)
    return status


def test_children_die_with_a_killed_supervisor(node: Node) -> None:
    pids = node.all_pids()
    before = segments()
    node.kill()
    wait_until_gone(pids)
    assert not {entry for entry in segments() & before if any(f"/{pid}/" in entry for pid in pids.values())}


def test_children_that_are_stopped_die_with_a_killed_supervisor(node: Node) -> None:
    pids = node.all_pids()
    for name in ("shard-0", "steward", "spare"):
        os.kill(pids[name], signal.SIGSTOP)
    node.kill()
    wait_until_gone(pids)


def test_a_node_starts_again_after_its_supervisor_was_killed(node: Node) -> None:
    pids = node.all_pids()
    node.kill()
    wait_until_gone(pids)
    with Node(
        shards=2, directory=node.dir, port=node.port, admin_port=node.admin_port, unixsocket=node.unixsocket
    ) as again:
        assert ask(again.port, "PING") == "PONG"
        assert ask(again.unixsocket, "PING") == "PONG"


def test_a_signal_to_the_whole_group_ends_the_node_in_good_order(node: Node) -> None:
    pids = node.all_pids()
    # The supervisor comes first in the list and last here: it would end the others before they are told.
    for pid in reversed(pids.values()):
        os.kill(pid, signal.SIGINT)
    assert node.process.wait(30) == 0
    wait_until_gone(pids)


@pytest.mark.parametrize("words", [["SHUTDOWN"], ["SHUTDOWN", "NOW"]])
def test_shutdown_ends_the_node(node: Node, words: list[str]) -> None:
    pids = node.all_pids()
    with connect(node.worker_ports[1]) as wire:
        wire.send(*words)
        assert wire.is_closed()
    assert node.process.wait(30) == 0
    wait_until_gone(pids)
