"""What a node does before it is ready, and what keeps it from starting."""

import contextlib
import re
import socket
import stat
import subprocess
import urllib.request
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from tests.node import HOST, Node, command, environment, free_port
from tests.server.asking import ask, connect
from tests.wire import OK, eventually, info


def start_fails(directory: Path, **options: object) -> str:
    """The one line of a node that does not start."""
    for _ in range(3):
        port = options.get("port") or free_port()
        flags = {"dir": directory, "worker-port-base": 0, "admin-port": 0, "shards": 1, **options, "port": port}
        ended = subprocess.run(
            command("serve", *(str(part) for name, value in flags.items() for part in (f"--{name}", value))),
            capture_output=True,
            text=True,
            env=environment(),
            timeout=60,
            check=False,
        )
        assert ended.returncode == 1
        assert ended.stdout == ""
        last = ended.stderr.splitlines()[-1]
        assert last.startswith("yggdrasil: ")
        # Another process may have taken a port that was free a moment ago.
        if "port" in options or f"port {port} is in use" not in last:
            break
    return last


def test_every_listener_answers_when_the_node_is_ready(node: Node) -> None:
    assert len(node.worker_ports) == 3
    addresses: list[int | str] = [node.port, *node.worker_ports, node.unixsocket]
    for address in addresses:
        assert ask(address, "PING") == "PONG"


def test_there_is_one_process_for_each_shard_a_steward_and_a_spare(node: Node) -> None:
    assert set(node.all_pids()) == {"supervisor", "shard-0", "shard-1", "shard-2", "steward", "spare"}


def test_processes_say_which_they_are(node: Node) -> None:
    titles = {name: Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0") for name, pid in node.all_pids().items()}
    of_node = {"supervisor", "shard-0", "shard-1", "shard-2", "steward"}
    wanted = {name: f"yggdrasil: {name} {HOST}:{node.port}".encode() for name in of_node}
    assert titles == wanted | {"spare": b"yggdrasil: spare"}


def test_a_password_of_the_command_line_is_not_shown_among_the_processes() -> None:
    with Node(shards=1, requirepass="very-secret") as node:
        for pid in node.pids().values():
            assert b"very-secret" not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_info_and_metrics_tell_the_processes(node: Node) -> None:
    pids = node.all_pids()
    workers = [pids[f"shard-{shard}"] for shard in range(3)]
    with connect(node.port) as wire:
        fields = info(wire, "server")
    assert int(fields["process_id"]) == pids["supervisor"]
    assert int(fields["steward_process_id"]) == pids["steward"]
    assert fields["worker_process_ids"] == ",".join(map(str, workers))
    with urllib.request.urlopen(f"http://{HOST}:{node.admin_port}/metrics") as response:
        page = response.read().decode()
    told = dict(re.findall(r'yggdrasil_process_id\{process="(.*)"\} (.*)', page))
    assert {name: int(float(pid)) for name, pid in told.items()} == pids


def test_only_the_steward_has_more_than_one_thread(node: Node) -> None:
    """It takes snapshots in a thread of its own; this node has no log, whose flushers are threads, too.

    The thread by which the allocator gives memory back executes nothing. When it has just begun, it has no name of its
    own yet.
    """

    def is_alone(pid: int) -> bool:
        threads = [(task / "comm").read_text().strip() for task in Path(f"/proc/{pid}/task").iterdir()]
        return len([thread for thread in threads if thread != "jemalloc_bg_thd"]) == 1

    for name, pid in node.pids().items():
        if name != "steward":
            eventually(partial(is_alone, pid))


def test_a_second_node_on_the_directory_is_refused(node: Node) -> None:
    line = start_fails(node.dir)
    assert line == (
        f"yggdrasil: another node (pid {node.pid}) runs on directory {node.dir}; stop it or choose another with --dir"
    )


def test_a_second_node_on_the_port_is_refused(node: Node, tmp_path: Path) -> None:
    line = start_fails(tmp_path, port=node.port)
    assert line == (
        f"yggdrasil: {HOST} port {node.port} is in use; stop who listens there or choose another with --port"
    )


@pytest.mark.parametrize("option", ["worker-port-base", "admin-port"])
def test_a_port_in_use_names_its_option(tmp_path: Path, option: str) -> None:
    with socket.create_server((HOST, 0)) as taken:
        line = start_fails(tmp_path, **{option: taken.getsockname()[1]})
    assert line.endswith(f"is in use; stop who listens there or choose another with --{option}")


def test_a_live_unix_socket_is_refused(node: Node, tmp_path: Path) -> None:
    line = start_fails(tmp_path, unixsocket=node.unixsocket)
    assert "is in use" in line
    assert ask(node.unixsocket, "PING") == "PONG"


def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with Node(shards=1, unixsocket=path, unixsocketperm=770):
        assert ask(path, "PING") == "PONG"
        assert stat.S_IMODE(path.stat().st_mode) == 0o770
    assert not path.exists()


def test_a_file_in_place_of_the_unix_socket_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    assert "exists and is no socket" in start_fails(tmp_path, unixsocket=path)
    assert path.read_text() == "precious"


def test_ports_that_nobody_chose_are_others_where_the_usual_ones_are_taken(tmp_path: Path) -> None:
    chosen: dict[str, int | None] = {"port": None, "worker_port_base": None, "admin_port": None}
    with ExitStack() as taken:
        # As far below a port that is taken as workers are above their node's.
        base = taken.enter_context(socket.create_server((HOST, 0))).getsockname()[1]
        chosen["port"] = base - 10_000
        with contextlib.suppress(OSError):
            taken.enter_context(socket.create_server((HOST, 9379)))
        with Node(shards=2, directory=tmp_path, **chosen) as node:
            assert node.port == base - 10_000
            assert not {base, 9379} & {node.admin_port, *node.worker_ports}
            for port in (node.port, *node.worker_ports):
                assert ask(port, "PING") == "PONG"
            assert ask(node.port, "CONFIG", "GET", "admin-port") == [b"admin-port", b"%d" % node.admin_port]
            assert ask(node.port, "CONFIG", "GET", "worker-port-base") == [b"worker-port-base", b"0"]


def test_a_node_starts_on_the_last_port() -> None:
    with Node(shards=2, port=65_535, worker_port_base=None) as node:
        assert ask(node.worker_ports[1], "PING") == "PONG"


def test_a_missing_directory_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new"
    with Node(shards=1, directory=tmp_path, dir=path):
        assert path.is_dir()


def test_a_directory_has_any_name(tmp_path: Path) -> None:
    path = tmp_path / "it's a node"
    path.mkdir()
    with Node(1, directory=path) as node:
        assert ask(node.unixsocket, "PING") == "PONG"


def test_a_directory_without_a_parent_is_an_error(tmp_path: Path) -> None:
    assert "No such file or directory; see option dir" in start_fails(tmp_path / "missing" / "new")


def test_a_node_without_tcp_listens_on_its_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "only.sock"
    with Node(shards=2, port=0, unixsocket=path) as node:
        assert node.worker_ports == []
        assert ask(path, "PING") == "PONG"


def test_nodes_side_by_side_do_not_see_each_other() -> None:
    with Node(shards=2) as one, Node(shards=2) as other:
        assert ask(one.port, "SET", "key", "one") == OK
        assert ask(other.worker_ports[0], "SET", "key", "other") == OK
        assert not set(one.pids().values()) & set(other.pids().values())
        other.stop()
        assert ask(one.port, "PING") == "PONG"


def test_all_workers_take_connections_on_the_common_port(node: Node) -> None:
    open_before = [sockets_of(node.pids()[f"shard-{shard}"]) for shard in range(3)]
    connections = [socket.create_connection((HOST, node.port)) for _ in range(60)]
    for connection in connections:
        connection.sendall(b"*1\r\n$4\r\nPING\r\n")
        assert connection.recv(64) == b"+PONG\r\n"
    more = [sockets_of(node.pids()[f"shard-{shard}"]) - open_before[shard] for shard in range(3)]
    for connection in connections:
        connection.close()
    assert sum(more) == 60
    assert min(more) > 0


def sockets_of(pid: int) -> int:
    links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    return sum(link.startswith("socket:") for link in links)
