"""Stores under faults: full, hanging, cut off, killed. An object is whole or absent, and errors say what is wrong."""

import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.node import Node

from mithril.core.config import CoreSettings
from mithril.core.errors import AccessError, FullError, KeyNameError, StoreError, UnavailableError
from mithril.core.file_store import FileStore
from mithril.core.store import Store

IMPATIENT = CoreSettings(timeout_s=0.2, connect_timeout_s=0.2, retries=0)


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def cutting() -> Iterator[int]:
    """The port of a server that hangs up as soon as it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(10)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize("scheme", ["ygg", "redis"])
def test_a_server_that_hangs_is_unavailable(silent: int, scheme: str) -> None:
    with Store.open(f"{scheme}://127.0.0.1:{silent}/p", IMPATIENT) as store:
        for request in (lambda: store.get("k"), lambda: store.put("k", b"x"), lambda: list(store.list())):
            with pytest.raises(UnavailableError, match=f"{scheme}://127.0.0.1:{silent}/p"):
                request()


@pytest.mark.parametrize("scheme", ["ygg", "redis"])
def test_a_connection_that_is_cut_is_unavailable(cutting: int, scheme: str) -> None:
    with Store.open(f"{scheme}://127.0.0.1:{cutting}/p", IMPATIENT) as store:
        with pytest.raises(UnavailableError):
            store.get("k")
        with pytest.raises(UnavailableError):
            store.put("k", b"x" * (9 << 20))


def test_a_node_without_memory_is_full_and_keeps_what_it_has() -> None:
    small: Any = {"maxmemory": "32mb", "maxmemory_policy": "noeviction"}
    with Node(shards=1, **small) as node, Store.open(f"ygg://127.0.0.1:{node.port}/p") as store:

        def fill() -> None:
            for number in range(100):
                store.put(f"small/{number}", b"x" * (1 << 20))

        store.put("kept", b"x" * (1 << 20))
        with pytest.raises(FullError, match="p/large"):
            store.put("large", b"x" * (64 << 20))
        with pytest.raises(FullError):
            fill()
        assert store.get("kept") == b"x" * (1 << 20)
        assert not store.exists("large")


def test_a_file_system_that_takes_no_more_is_full_and_the_object_as_it_was(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    store.put("k", b"before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        with pytest.raises(FullError, match="file://"):
            store.put("k", b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert store.get("k") == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["k"]


def test_a_batch_that_is_left_by_an_error_leaves_nothing(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    store.put("k", b"before")

    def broken() -> None:
        with store.open_batch() as batch:
            batch.put("k", b"after")
            batch.put("folder/other", b"x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert store.get("k") == b"before"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "k"]


def test_a_batch_is_named_when_all_of_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(str(tmp_path))
    calls: list[str] = []
    sync, rename = os.fsync, Path.replace

    def synced(file: int) -> None:
        name = Path(f"/proc/self/fd/{file}").readlink().name
        calls.append("sync of a file" if name.startswith(".mithril-") else f"sync of {name}")
        sync(file)

    def renamed(self: Path, target: Path) -> Path:
        calls.append(f"rename to {target.name}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    with store.open_batch() as batch:
        batch.put("folder/a", b"1")
        batch.put("folder/b", b"2")
        assert calls == []
    folders = ["sync of folder", f"sync of {tmp_path.name}"]
    assert calls == ["sync of a file"] * 2 + ["rename to a", "rename to b", *folders]


def test_a_sync_that_fails_names_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(str(tmp_path))

    def broken(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    batch = store.open_batch()
    batch.put("k", b"x")
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(UnavailableError, match="Input/output error"), batch:
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_permitted_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(str(tmp_path))

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    # Root is permitted everything, so the system's answer is given for it.
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(AccessError, match="permission denied"):
        store.put("k", b"x")


def test_an_object_is_no_folder(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    store.put("a", b"x")
    with pytest.raises(KeyNameError, match="cannot be a folder"):
        store.put("a/b", b"x")
    with pytest.raises(StoreError):
        store.get("a/b")


_WRITE_AND_DIE = """
import os, sys
from mithril.core.store import Store
store = Store.open(sys.argv[1])
step = sys.argv[2]
if step == "fsync":
    os.fsync = lambda file: os._exit(9)
if step == "rename":
    os.replace = os.rename = lambda *names: os._exit(9)
writer = store.open_writer("k")
writer.write(b"after " * 1000)
if step == "write":
    os._exit(9)
writer.commit()
os._exit(0)
"""


@pytest.mark.parametrize("step", ["write", "fsync", "rename"])
def test_a_writer_that_is_killed_leaves_the_object_as_it_was(tmp_path: Path, step: str) -> None:
    store = FileStore(str(tmp_path), CoreSettings())
    store.put("k", b"before")
    done = subprocess.run([sys.executable, "-c", _WRITE_AND_DIE, str(tmp_path), step], check=False)
    assert done.returncode == 9
    assert store.get("k") == b"before"
    assert [info.key for info in store.list()] == ["k"]
    assert store.sweep() == 0
    assert store.sweep(age=0) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["k"]


def test_a_worker_that_is_replaced_is_found_again(nodes: Callable[[int], Node]) -> None:
    node = nodes(1)
    with Store.open(f"ygg://127.0.0.1:{node.port}/replaced") as store:
        store.put("k", b"before")
        os.kill(node.all_pids()["shard-0"], signal.SIGKILL)
        # A killed worker's shard starts empty; the client's retries find the new one.
        store.put("k", b"after")
        assert store.get("k") == b"after"
