"""Contents are kept once, checked when read, and removed when nothing refers to them."""

import multiprocessing
from pathlib import Path

import pytest

from mithril.core.content import ContentStore
from mithril.core.errors import KeyNameError
from mithril.core.store import Store


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    """An empty content store in a folder."""
    return ContentStore(Store.open(str(tmp_path)))


def test_content_is_kept_once_under_its_hash(content: ContentStore) -> None:
    digest = content.put(b"hello")
    assert content.put(bytearray(b"hello")) == digest
    assert content.get(digest) == b"hello"
    assert content.has(digest)
    assert [info.size for info in content.store.list("objects")] == [5]


def test_what_is_not_there_is_none(content: ContentStore) -> None:
    assert content.get("0" * 64) is None
    assert content.get_many(["0" * 64]) == {}
    with pytest.raises(KeyNameError, match="64 hexadecimal"):
        content.get("../../etc/passwd")


def test_a_damaged_object_is_set_aside_and_a_miss(content: ContentStore, tmp_path: Path) -> None:
    digest = content.put(b"hello")
    (tmp_path / "objects" / digest[:2] / digest).write_bytes(b"hellO")
    assert content.get(digest) is None
    assert not content.has(digest)
    assert (tmp_path / "damaged" / digest).read_bytes() == b"hellO"
    content.put(b"hello")
    assert content.get(digest) == b"hello"


def test_what_a_name_refers_to_outlives_a_collection(content: ContentStore) -> None:
    kept, garbage = content.put(b"kept"), content.put(b"garbage")
    content.refer("models/a", [kept])
    collected = content.collect(grace=0)
    assert (collected.kept, collected.removed, collected.removed_bytes) == (1, 1, 7)
    assert content.has(kept)
    assert not content.has(garbage)
    content.forget("models/a")
    assert content.collect(grace=0).removed == 1


def test_a_young_object_may_get_its_reference_yet(content: ContentStore) -> None:
    digest = content.put(b"just written")
    assert content.collect().removed == 0
    assert content.has(digest)


def test_shrinking_removes_the_oldest_without_a_reference(content: ContentStore) -> None:
    digests = [content.put(bytes([number]) * 100) for number in range(5)]
    content.refer("first", digests[:1])
    collected = content.shrink(250)
    assert collected.removed == 3
    assert [content.has(digest) for digest in digests] == [True, False, False, False, True]


def test_a_scan_tells_what_is_damaged_and_what_is_missing(content: ContentStore, tmp_path: Path) -> None:
    whole, broken, gone = (content.put(data) for data in (b"whole", b"broken", b"gone"))
    content.refer("all", [whole, broken, gone])
    (tmp_path / "objects" / broken[:2] / broken).write_bytes(b"")
    content.delete(gone)
    scanned = content.scan()
    assert (scanned.objects, scanned.size) == (1, 5)
    assert scanned.damaged == (broken,)
    assert set(scanned.missing) == {broken, gone}


def _put_all(folder: str, amount: int) -> None:
    content = ContentStore(Store.open(folder))
    for number in range(amount):
        content.put(str(number).encode() * 50)


def test_several_processes_use_one_folder(content: ContentStore, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_put_all, args=(str(tmp_path), 50)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    scanned = content.scan()
    assert (scanned.objects, scanned.damaged) == (50, ())
