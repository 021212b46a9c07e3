"""Who may read, what they may read, and that they can only read."""

import hashlib
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.near.conftest import FREED_WITHIN_S, Near, metric, near_url
from tests.node import HOST, Node, wait_until_gone
from tests.wire import Wire, eventually, once_within

from yggdrasil.client.near import NearReader, NearRefusedError, NearUnavailableError

START = Callable[..., Near]
NOBODY = 65534


def connected(near: Near) -> tuple[socket.socket, dict[str, object], list[int]]:
    """The conversation without the library."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(f"{near.node.dir}/near.sock")
    connection.sendall(b'{"version": 1}\n')
    answer, descriptors, _, _ = socket.recv_fds(connection, 65536, 100)
    return connection, json.loads(answer), descriptors


def test_a_reader_cannot_write(near: Near) -> None:
    connection, answer, descriptors = connected(near)
    arenas = descriptors[:-1]
    assert len(arenas) == answer["shape"]["shards"]  # type: ignore[index]
    for arena in arenas:
        with pytest.raises(PermissionError):
            mmap.mmap(arena, 65536, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(arena, b"x")
        with pytest.raises(OSError, match=r"Bad file descriptor|Invalid argument|not permitted"):
            os.ftruncate(arena, 0)
        with mmap.mmap(arena, 65536, mmap.MAP_SHARED, mmap.PROT_READ) as memory, pytest.raises(TypeError):
            memory[0] = 1
    for descriptor in descriptors:
        os.close(descriptor)
    connection.close()


def test_signals_do_not_break_a_connection_off(near: Near) -> None:
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    try:
        for _ in range(50):
            assert NearReader(near_url(near.node)).get("absent") is None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_cannot_open_the_arenas_for_writing(near: Near) -> None:
    connection, _, descriptors = connected(near)
    child = os.fork()
    if child == 0:
        os.setuid(NOBODY)
        refused = 0
        for arena in descriptors[:-1]:
            try:
                os.open(f"/proc/self/fd/{arena}", os.O_RDWR)
            except PermissionError:
                refused += 1
        os._exit(0 if refused == len(descriptors) - 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    for descriptor in descriptors:
        os.close(descriptor)
    connection.close()


def read_as_nobody(node: Node) -> str:
    """What a process of another user gets."""
    code = (
        "import os, sys; from yggdrasil.client.near import NearReader, NearError\n"
        f"os.setuid({NOBODY})\n"
        "try: print(NearReader(sys.argv[1], username=sys.argv[2] or None, password=sys.argv[3] or None).get('k'))\n"
        "except NearError as error: print(type(error).__name__, error)"
    )
    return "|".join(
        subprocess.run(
            [sys.executable, "-c", code, near_url(node), *who], capture_output=True, text=True, check=True
        ).stdout.strip()
        for who in (("", ""), ("guest", "token"))
    )


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_other_users_need_leave(start_near: START) -> None:
    near = start_near()
    near.node.dir.chmod(0o755)
    near.c("SET", "k", "v")
    path = near.node.dir / "near.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_as_nobody(near.node).count("NearUnavailableError") == 2
    path.chmod(0o666)
    alone, with_token = read_as_nobody(near.node).split("|")
    assert "NearRefusedError" in alone
    assert "the user that the node runs as" in alone
    assert "wrong user or password" in with_token
    near.c("CONFIG", "SET", "near-users", "guest token *")
    alone, with_token = read_as_nobody(near.node).split("|")
    assert "NearRefusedError" in alone
    assert with_token == "b'v'"


def test_users_with_tokens_and_prefixes(start_near: START) -> None:
    near = start_near()
    digest = hashlib.sha256(b"secret").hexdigest()
    near.c("CONFIG", "SET", "near-users", f"train token a:,b: ops #{digest} *")
    near.c("MSET", "a:1", "1", "b:1", "2", "c:1", "3", "a", "4")
    url = near_url(near.node)
    for username, password in (
        (None, None),
        ("train", None),
        (None, "token"),
        ("train", "wrong"),
        ("ops", digest),
        ("ops", "#" + digest),
        ("nobody", "token"),
    ):
        with pytest.raises(NearRefusedError, match="password"):
            NearReader(url, username=username, password=password)
    train = NearReader(url, username="train", password="token")
    assert train.mget(["a:1", "b:1"]) == [b"1", b"2"]
    for refused in ("c:1", "a", ""):
        for read in (train.get, train.view, train.exists, lambda key: train.get_into(key, bytearray(9))):
            with pytest.raises(NearRefusedError, match="begin with a: or b: only"):
                read(refused)
        with pytest.raises(NearRefusedError):
            train.mget(["a:1", refused])
    assert NearReader(url, username="ops", password="secret").get("c:1") == b"3"


def test_the_password_of_the_node(start_near: START) -> None:
    near = start_near()
    near.c("SET", "k", "v")
    near.c("CONFIG", "SET", "requirepass", "word")
    url = near_url(near.node)
    assert near.reader.get("k") == b"v", "who is in stays"
    with pytest.raises(NearRefusedError):
        NearReader(url)
    with pytest.raises(NearRefusedError):
        NearReader(url, password="other")
    assert NearReader(url, password="word").get("k") == b"v"
    assert NearReader(url, username="default", password="word").get("k") == b"v"


def test_no_near_socket(tmp_path: Path) -> None:
    with Node(shards=1, near_socket="") as node:
        assert not (node.dir / "near.sock").exists()
        with pytest.raises(NearUnavailableError, match="does not answer"):
            NearReader(near_url(node))
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    with Node(shards=1, directory=deep, unixsocket="", near_socket="other.sock") as node:
        assert NearReader(f"unix://{deep}/other.sock").get("k") is None
    for url in ("", "unix://", "tcp://localhost:1"):
        with pytest.raises(ValueError, match="neither a path"):
            NearReader(url)


NONSENSE = [
    b"\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b'{"version": 2}\n',
    b'{"version": "one"}\n',
    b'{"version": 1, "username": 5}\n',
    b"[1]\n",
    b"x" * 5000,
    b"\xff\xfe\n",
    b'{"version": 1',
    b"",
]


@pytest.mark.parametrize("request_line", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_is_refused(near: Near, request_line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{near.node.dir}/near.sock")
        connection.sendall(request_line)
        connection.shutdown(socket.SHUT_WR)
        answer, descriptors, _, _ = socket.recv_fds(connection, 65536, 100)
        assert "error" in json.loads(answer)
        assert not descriptors
        assert connection.recv(1) == b""
    near.c("SET", "k", "v")
    assert near.reader.get("k") == b"v"


def test_a_restarted_node_is_found_again(start_near: START) -> None:
    near = start_near()
    near.c("SET", "k", b"old" * 50_000)
    view = near.reader.view("k")
    directory, options = near.node.dir, {"port": near.node.port, "admin_port": near.node.admin_port}
    pids = near.node.all_pids()
    near.node.kill()
    wait_until_gone(pids)
    eventually(lambda: unavailable(near.reader))
    with view:
        assert bytes(view.memory) == b"old" * 50_000, "the memory is there for as long as somebody looks at it"
    assert not view.valid, "what was released is no value any more"
    with Node(shards=3, directory=directory, **options) as again, Wire(HOST, again.port) as c:
        assert near.reader.get("k") is None
        c("SET", "k", "new")
        assert near.reader.get("k") == b"new"
        again.stop()
        assert unavailable(near.reader)
        directory.mkdir(exist_ok=True)


def unavailable(reader: NearReader) -> bool:
    try:
        reader.get("k")
    except NearUnavailableError:
        return True
    return False


def test_a_node_that_stops_in_good_order_says_so(start_near: START) -> None:
    near = start_near()
    near.node.stop()
    with pytest.raises(NearUnavailableError):
        near.reader.get("k")


def test_a_fork_reads_by_itself(near: Near) -> None:
    near.c("SET", "k", b"x" * 100_000)
    view = near.reader.view("k")
    before = metric(near.node, "near_readers")
    child = os.fork()
    if child == 0:
        # Whatever the child does, the lease of its parent stays.
        right = near.reader.get("k") == b"x" * 100_000
        with near.reader.view("k") as own:
            right = right and own.valid and not view.valid
        view.release()
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    near.c("DEL", "k")
    near.wait_until_leased(100_000)
    assert bytes(view.memory) == b"x" * 100_000
    assert view.valid
    view.release()
    near.wait_until_free()
    eventually(lambda: metric(near.node, "near_readers") == before)


def test_a_process_that_dies_before_its_fork_holds_nothing(near: Near) -> None:
    code = (
        "import os, sys, signal; from yggdrasil.client.near import NearReader\n"
        "view = NearReader(sys.argv[1]).view('k')\n"
        "if os.fork() == 0: print(os.getpid(), flush=True)\n"
        "signal.pause()"
    )

    def freed_s() -> float:
        near.c("SET", "k", b"x" * 100_000)
        with subprocess.Popen(
            [sys.executable, "-c", code, near_url(near.node)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            child = int(process.stdout.readline())
            near.c("DEL", "k")
            near.wait_until_leased(100_000)
            process.kill()
            process.wait()
            start = time.monotonic()
            near.wait_until_free()
            took_s = time.monotonic() - start
            os.kill(child, signal.SIGKILL)
        return took_s

    once_within(FREED_WITHIN_S, freed_s)


def test_threads_share_a_reader(near: Near) -> None:
    for n in range(100):
        near.c("SET", f"k{n}", f"{n}" * (10_000 if n % 10 == 0 else 1))
    wrong: list[int] = []

    def read() -> None:
        for _ in range(20):
            for n in range(100):
                if near.reader.get(f"k{n}") != f"{n}".encode() * (10_000 if n % 10 == 0 else 1):
                    wrong.append(n)
                with near.reader.view(f"k{n}") as view:
                    if not view.valid:
                        wrong.append(n)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
