"""The admin server, and what systemd is told."""

import contextlib
import http.client
import os
import signal
import socket
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.node import HOST, Node
from tests.server.asking import ask
from tests.wire import OK, eventually


def get(node: Node, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection(HOST, node.admin_port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def samples(node: Node) -> dict[str, float]:
    """Metrics by name and labels, as name{label=value,...}."""
    status, text = get(node, "/metrics")
    assert status == 200
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def test_metrics_count_what_workers_do(node: Node) -> None:
    for number in range(10):
        assert ask(node.worker_ports[1], "SET", f"key-{number}", "value") == OK
    found = samples(node)
    done = [value for name, value in found.items() if name.startswith("yggdrasil_commands_total{family=string,")]
    assert sum(done) >= 10
    counts = [value for name, value in found.items() if name.startswith("yggdrasil_command_seconds_count")]
    assert sum(counts) >= 10
    assert found["yggdrasil_shard_up{shard=2}"] == 1
    for name in ("connections", "keys", "ring_depth_bytes", "loop_lag_seconds", "expired_keys_total"):
        assert f"yggdrasil_{name}{{shard=0}}" in found
    assert "yggdrasil_memory_bytes{kind=index,shard=0}" in found


def test_metrics_count_restarts(node: Node) -> None:
    os.kill(node.pids()["shard-1"], signal.SIGKILL)
    assert ask(node.worker_ports[1], "PING") == "PONG"
    eventually(lambda: samples(node)["yggdrasil_shard_up{shard=1}"] == 1)
    assert samples(node)["yggdrasil_restarts_total{shard=1}"] == 1


def test_health_and_readiness(node: Node) -> None:
    assert get(node, "/healthz") == (200, "ok\n")
    assert get(node, "/readyz") == (200, "ready\n")
    assert get(node, "/readyz", "HEAD") == (200, "")
    assert get(node, "/elsewhere")[0] == 404
    assert get(node, "/metrics", "POST")[0] == 405


def test_a_node_that_stops_is_not_ready(node: Node) -> None:
    os.kill(node.pids()["shard-0"], signal.SIGSTOP)
    node.process.send_signal(signal.SIGTERM)
    eventually(lambda: get(node, "/readyz") == (503, "stopping\n"))
    os.kill(node.pids()["shard-0"], signal.SIGCONT)
    assert node.process.wait(30) == 0


def test_no_admin_server_where_there_is_no_port() -> None:
    with Node(shards=1, admin_port=0) as node:
        assert node.admin_port == 0
        assert ask(node.port, "PING") == "PONG"


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        # What is sent while the queue is full is lost, and it may be as short as ten messages: so not more often.
        monkeypatch.setenv("WATCHDOG_USEC", "2000000")
        with Node(shards=1) as node:
            assert manager.recv(4096).split(b"\n") == [b"READY=1", b"STATUS=serving 1 shards"]
            assert [manager.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3
            assert node.stop() == 0
            # The process has ended: all that it has said is there.
            manager.setblocking(False)
            told = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    told.append(manager.recv(4096))
            assert [one for one in told if one != b"WATCHDOG=1"] == [b"STOPPING=1\nSTATUS=finishing requests under way"]


def test_scrapes_need_no_process_but_the_supervisor(node: Node) -> None:
    others = [pid for name, pid in node.all_pids().items() if name != "supervisor"]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(20):
            assert samples(node)["yggdrasil_shard_up{shard=2}"] == 1
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)
