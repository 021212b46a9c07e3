"""Of several processes that want the same graph one compiles, and the others take what it made."""

import multiprocessing
import os
import threading
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from mithril.cache import leases, session
from mithril.cache.artifact import Artifact
from mithril.cache.keys import CacheKey
from mithril.cache.session import Session
from mithril.cache.settings import CacheSettings
from mithril.cache.shared import SharedArtifacts

KEY = CacheKey("torch", "fx-graph-v1", "f00d")
OTHER = CacheKey("torch", "fx-graph-v1", "beef")


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Session]:
    """The session of one process."""
    made = Session(CacheSettings(root=tmp_path, program="train.py"))
    yield made
    made.close()


def _compile(root: Path, holds: Event, go_on: Event) -> None:
    other = Session(CacheSettings(root=root, program="train.py"))
    assert other.wait_for_other(KEY) is None
    holds.set()
    go_on.wait()
    other.cache.put(Artifact(KEY, {"data": b"compiled"}))
    other.cache.after_writes(lambda: other.finished(KEY))
    other.close()


def _die(root: Path, holds: Event) -> None:
    other = Session(CacheSettings(root=root, program="train.py"))
    other.wait_for_other(KEY)
    holds.set()
    # Ends without a word, as a killed process does.

    os._exit(1)


def test_a_process_waits_for_the_one_that_compiles(one: Session, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    holds, go_on = context.Event(), context.Event()
    other = context.Process(target=_compile, args=(tmp_path, holds, go_on))
    other.start()
    assert holds.wait(60)
    found: list[Artifact | None] = []
    waiting = threading.Thread(target=lambda: found.append(one.wait_for_other(KEY)))
    waiting.start()
    go_on.set()
    waiting.join()
    other.join()
    assert found[0] is not None
    assert found[0].parts == {"data": b"compiled"}


def test_a_process_that_dies_holds_nobody_up(one: Session, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    holds = context.Event()
    other = context.Process(target=_die, args=(tmp_path, holds))
    other.start()
    assert holds.wait(60)
    assert one.wait_for_other(KEY) is None
    other.join()


def test_waiting_has_an_end(one: Session, tmp_path: Path) -> None:
    impatient = Session(CacheSettings(root=tmp_path, program="train.py", wait_s=0))
    assert one.wait_for_other(KEY) is None
    assert impatient.wait_for_other(KEY) is None
    impatient.close()


def test_a_graph_that_was_never_kept_is_released_with_the_next(one: Session, tmp_path: Path) -> None:
    assert one.wait_for_other(KEY) is None
    assert one.wait_for_other(OTHER) is None
    assert one.cache.flush()
    second = Session(CacheSettings(root=tmp_path, program="train.py", wait_s=600))
    assert second.wait_for_other(KEY) is None
    second.close()


def test_a_machine_waits_for_the_one_that_compiles(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    one = Session(CacheSettings(root=tmp_path / "one", url=url, program="train.py"))
    other = Session(CacheSettings(root=tmp_path / "other", url=url, program="train.py"))
    assert one.wait_for_other(KEY) is None
    found: list[Artifact | None] = []
    waiting = threading.Thread(target=lambda: found.append(other.wait_for_other(KEY)))
    waiting.start()
    one.cache.put(Artifact(KEY, {"data": b"compiled"}))
    one.cache.after_writes(lambda: one.finished(KEY))
    waiting.join()
    assert found[0] is not None
    one.close()
    other.close()


def test_the_lease_of_a_machine_that_gave_up_is_free(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    one = Session(CacheSettings(root=tmp_path / "one", url=url, program="train.py"))
    assert one.wait_for_other(KEY) is None
    impatient = Session(CacheSettings(root=tmp_path / "other", url=url, program="train.py", wait_s=0))
    assert impatient.wait_for_other(KEY) is None
    one.close()
    third = Session(CacheSettings(root=tmp_path / "third", url=url, program="train.py"))
    assert third.wait_for_other(KEY) is None
    third.close()
    impatient.close()


def test_a_lease_ends_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE_S", 0.05)
    url = f"memory://{tmp_path.name}"
    settings = CacheSettings(root=tmp_path / "dead", url=url)
    # A lease that nobody renews, as of a machine that has died.
    assert SharedArtifacts(settings).lease(KEY.path(), 0.05) is True
    one = Session(CacheSettings(root=tmp_path / "one", url=url, program="train.py"))
    assert one.wait_for_other(KEY) is None
    one.close()


def test_what_was_asked_for_is_fetched_ahead_the_next_time(tmp_path: Path) -> None:
    url = str(tmp_path / "shared")
    first = Session(CacheSettings(root=tmp_path / "one", url=url, program="train.py"))
    first.cache.put(Artifact(KEY, {"data": b"compiled"}))
    assert first.cache.flush()
    assert first.cache.get(KEY) is not None
    first.close()
    second = Session(CacheSettings(root=tmp_path / "two", url=url, program="train.py"))
    second.begin(list)
    second.await_begin()
    assert second.cache.get(KEY) is not None
    second.close()
    (record,) = (tmp_path / "two" / "runs").iterdir()
    assert '"outcome":"prefetched"' in record.read_text()


def test_a_configuration_that_cannot_be_used_turns_the_cache_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MITHRIL_CACHE_TTL_S", "soon")
    assert session.current() is None
    assert "cache.ttl_s (MITHRIL_CACHE_TTL_S)" in caplog.text
    monkeypatch.setattr(session, "_failed", False)
