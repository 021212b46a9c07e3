"""A folder and the shared store are kept in step, whole files only, and no file that is there is replaced."""

import dataclasses
import threading
from pathlib import Path

import pytest
from tests.wire import eventually

from mithril.cache.mirror import Mirror, Moved
from mithril.cache.settings import CacheSettings
from mithril.core.config import CoreSettings
from mithril.core.errors import ConfigError
from mithril.core.memory_store import MemoryStore
from mithril.core.store import Store


@pytest.fixture
def shared() -> Store:
    """The shared store."""
    return MemoryStore("memory://", CoreSettings())


def mirror(folder: Path, store: Store) -> Mirror:
    """A mirror of a new folder."""
    folder.mkdir(exist_ok=True)
    return Mirror(folder, "vllm", CacheSettings(), store)


def test_files_go_both_ways(tmp_path: Path, shared: Store) -> None:
    one, other = mirror(tmp_path / "one", shared), mirror(tmp_path / "other", shared)
    (tmp_path / "one" / "rank_0").mkdir()
    (tmp_path / "one" / "rank_0" / "graph.so").write_bytes(b"compiled")
    (tmp_path / "one" / "rank_0" / "graph.so").chmod(0o755)
    (tmp_path / "other" / "b").write_bytes(b"bee")
    assert one.step(settled=0) == Moved(sent=1)
    assert other.step(settled=0) == Moved(sent=1, received=1)
    assert one.step(settled=0) == Moved(received=1)
    received = tmp_path / "other" / "rank_0" / "graph.so"
    assert received.read_bytes() == b"compiled"
    assert received.stat().st_mode & 0o777 == 0o755
    assert other.step(settled=0) == Moved()


def test_what_is_being_written_is_left(tmp_path: Path, shared: Store) -> None:
    one = mirror(tmp_path / "one", shared)
    for name in ("x.lock", "y.tmp", ".mithril-mirror-z", "entry-atime"):
        (tmp_path / "one" / name).write_bytes(b"")
    (tmp_path / "one" / "fresh").write_bytes(b"half")
    assert one.step(settled=3600) == Moved()
    assert one.step(settled=3600, closed=frozenset({"fresh"})) == Moved(sent=1)


def test_of_two_writers_the_first_wins(tmp_path: Path, shared: Store) -> None:
    one, other = mirror(tmp_path / "one", shared), mirror(tmp_path / "other", shared)
    (tmp_path / "one" / "k").write_bytes(b"first")
    (tmp_path / "other" / "k").write_bytes(b"second")
    assert one.step(settled=0) == Moved(sent=1)
    assert other.step(settled=0) == Moved()
    assert (tmp_path / "other" / "k").read_bytes() == b"second"


@pytest.mark.parametrize("path", ["../escaped", "a/../../escaped"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    store = MemoryStore("memory://", CoreSettings())
    one = mirror(tmp_path / "one", store)
    (tmp_path / "one" / "k").write_bytes(b"x")
    one.step(settled=0)
    (held,) = store._space.objects.values()
    key = f"default/mirror/vllm/{path}"
    store._space.objects[key] = dataclasses.replace(held, info=dataclasses.replace(held.info, key=key))
    other = mirror(tmp_path / "other", store)
    assert other.step(settled=0) == Moved(received=1, refused=1)
    assert not (tmp_path / "escaped").exists()


def test_a_damaged_file_is_refused_and_asked_for_once(tmp_path: Path, shared: Store) -> None:
    shared.put("default/mirror/vllm/k", b"garbage")
    other = mirror(tmp_path / "other", shared)
    assert other.step() == Moved(refused=1)
    assert other.step() == Moved()


def test_a_running_mirror_sends_what_was_closed(tmp_path: Path, shared: Store) -> None:
    one = mirror(tmp_path / "one", shared)
    stop = threading.Event()
    reports: list[Moved] = []
    thread = threading.Thread(target=one.run, args=(0.05, stop, reports.append))
    thread.start()
    try:
        eventually(lambda: bool(reports))
        (tmp_path / "one" / "k").write_bytes(b"compiled")
        eventually(lambda: shared.exists("default/mirror/vllm/k"))
    finally:
        stop.set()
        thread.join()


def test_a_mirror_needs_a_store(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--url"):
        Mirror(tmp_path, "x", CacheSettings())
