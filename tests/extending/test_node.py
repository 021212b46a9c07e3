"""`yggdrasil.Node`: what a test or a notebook starts."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.wire import eventually

import yggdrasil
from yggdrasil import Node, NodeError


def test_a_node_serves_its_clients_and_is_gone_behind_its_block() -> None:
    with Node(shards=2, maxmemory="100mb", latency_tracking=False) as node:
        client = node.client(decode_responses=True)
        assert client.set("key", "value")
        assert client.get("key") == "value"
        assert client.config_get("maxmemory", "latency-tracking") == {
            "maxmemory": str(100 * 1024**2),
            "latency-tracking": "no",
        }
        assert client.connection_pool.get_connection().port == node.port
        directory, pid = node.dir, node.pid
    assert not directory.exists()
    assert not Path(f"/proc/{pid}").exists()


async def test_a_client_for_asyncio() -> None:
    with Node() as node:
        async with node.async_client() as client:
            assert await client.set("key", "value")
            assert await client.get("key") == b"value"


def test_a_node_without_tcp_is_reached_by_its_unix_socket() -> None:
    with Node(port=0) as node:
        assert node.client().ping()


def test_its_memory_is_read_by_near_clients() -> None:
    with Node() as node:
        client = node.client(near=node.near)
        client.set("key", "value")
        assert client.get("key") == b"value"


def test_a_directory_that_is_given_stays(tmp_path: Path) -> None:
    with Node(directory=tmp_path):
        pass
    assert "stopped" in (tmp_path / "node.log").read_text()


def test_start_and_stop_do_what_a_block_does() -> None:
    node = Node().start()
    with pytest.raises(NodeError, match="the node runs already"):
        node.start()
    assert node.client().ping()
    assert node.stop() == 0
    assert node.start().client().ping()
    assert node.stop() == 0
    assert not node.dir.exists()


def test_an_error_at_the_start_has_the_end_of_the_log() -> None:
    with pytest.raises(NodeError) as raised:
        Node(maxmemory="much").start()
    first, *log = str(raised.value).splitlines()
    assert first == "the node ended with status 2 before it was ready"
    assert log[-1].startswith("yggdrasil: maxmemory = 'much' (flag --maxmemory) cannot be used; allowed is a size")
    with pytest.raises(NodeError, match="No such option"):
        Node(no_such_option=1).start()


def stop_twice(node: Node) -> None:
    """The second signal ends what the first has begun to drain."""
    with node:
        blocked = node.client().connection_pool.get_connection()
        blocked.send_command("CLIENT", "PAUSE", 60_000)
        blocked.read_response()
        blocked.send_command("SET", "key", "value")
        os.kill(node.pid, signal.SIGTERM)
        eventually(lambda: '"event": "stopping"' in node.log())
        os.kill(node.pid, signal.SIGTERM)


def test_an_error_at_the_end_has_the_end_of_the_log() -> None:
    with pytest.raises(NodeError) as raised:
        stop_twice(Node(shutdown_timeout=60))
    first, *log = str(raised.value).splitlines()
    assert first == "the node ended with status 1"
    assert any("stopping at once" in line for line in log)


def test_a_killed_node_is_no_error() -> None:
    with Node() as node:
        node.kill()


def test_an_error_of_the_block_is_not_hidden() -> None:
    def fail(node: Node) -> None:
        with node:
            raise ZeroDivisionError

    node = Node()
    with pytest.raises(ZeroDivisionError):
        fail(node)
    assert not node.dir.exists()


def test_a_node_that_is_not_stopped_ends_with_the_program() -> None:
    code = "from yggdrasil import Node; node = Node().start(); print(node.pid, node.client().ping())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    pid, answered = done.stdout.split()
    assert answered == "True"
    assert not Path(f"/proc/{pid}").exists()


def test_no_option_comes_from_the_environment_or_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "yggdrasil.toml").write_text("maxclients = 7\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YGGDRASIL_TIMEOUT", "9")
    with Node() as node:
        found = node.client(decode_responses=True).config_get("maxclients", "timeout")
        assert found == {"maxclients": "10000", "timeout": "0"}


def test_node_is_there_when_it_is_asked_for() -> None:
    assert yggdrasil.Node is Node
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = yggdrasil.Nothing
