"""The promises of all stores: one suite over all backends."""

import io
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from mithril.core.config import CoreSettings
from mithril.core.errors import (
    ChangedError,
    ConfigError,
    ExistsError,
    KeyNameError,
    NotFoundError,
    StoreError,
    UnavailableError,
)
from mithril.core.store import KEY_BYTES_MAX, PART_BYTES_MAX, Store

KINDS = ["file", "memory", "s3", "ygg1", "ygg3", "redis3", "redis-server", "valkey-server"]
every_store = pytest.mark.parametrize("store_url", KINDS, indirect=True)


@every_store
def test_what_is_put_is_got(store: Store) -> None:
    info = store.put("a/b", b"hello")
    assert store.get("a/b") == b"hello"
    assert (info.key, info.size) == ("a/b", 5)
    assert store.head("a/b") == info


@every_store
@pytest.mark.parametrize(
    "data", [b"", bytearray(b"\0\xff" * 5), memoryview(b"abcdef")[1:4]], ids=["bytes", "bytearray", "memoryview"]
)
def test_any_bytes_come_back(store: Store, data: bytes) -> None:
    store.put("k", data)
    assert store.get("k") == bytes(data)


@every_store
def test_a_large_object_comes_back(store: Store) -> None:
    data = bytes(range(256)) * (40 << 10)
    store.put("large", data)
    assert store.get("large") == data
    assert store.get_ranges("large", [(0, 3), (len(data) - 2, 10), (5 << 20, 4)]) == [
        b"\0\1\2",
        b"\xfe\xff",
        b"\0\1\2\3",
    ]


@every_store
def test_a_put_replaces(store: Store) -> None:
    first = store.put("k", b"one")
    second = store.put("k", b"second")
    assert store.get("k") == b"second"
    assert first.version != second.version


@every_store
def test_what_is_absent_is_an_error_with_its_url(store: Store) -> None:
    for read in (store.get, store.head, store.open_reader, lambda key: store.get_range(key, 0, 1)):
        with pytest.raises(NotFoundError) as caught:
            read("no/such")
        assert caught.value.url == f"{store.url}/no/such"
    assert not store.exists("no/such")


@every_store
def test_put_if_absent(store: Store) -> None:
    store.put("k", b"first", if_absent=True)
    with pytest.raises(ExistsError):
        store.put("k", b"second", if_absent=True)
    assert store.get("k") == b"first"


@every_store
def test_put_if_unchanged(store: Store) -> None:
    first = store.put("k", b"first")
    second = store.put("k", b"the second", if_version=first.version)
    assert store.get("k") == b"the second"
    with pytest.raises(ChangedError):
        store.put("k", b"third", if_version=first.version)
    assert store.head("k").version == second.version


@every_store
def test_put_if_unchanged_needs_the_object(store: Store) -> None:
    version = store.put("k", b"first").version
    store.delete("k")
    with pytest.raises((ChangedError, NotFoundError)):
        store.put("k", b"second", if_version=version)
    assert not store.exists("k")


@every_store
def test_of_many_writers_one_creates(store: Store) -> None:
    outcomes: list[str] = []

    def create(name: int) -> None:
        try:
            store.put("k", str(name).encode(), if_absent=True)
            outcomes.append(str(name))
        except ExistsError:
            pass

    threads = [threading.Thread(target=create, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.get("k").decode()] == outcomes


@every_store
def test_ranges_end_with_the_object(store: Store) -> None:
    store.put("k", b"0123456789")
    assert store.get_range("k", 8, 100) == b"89"
    assert store.get_range("k", 3, 0) == b""
    assert store.get_ranges("k", [(0, 1), (9, 1), (4, 3)]) == [b"0", b"9", b"456"]
    assert store.get_range("k", 10, 5) == b""
    with pytest.raises(ValueError, match="at least 0"):
        store.get_range("k", -1, 2)


@every_store
def test_ranges_of_a_version_that_is_gone_are_refused(store: Store) -> None:
    version = store.put("k", b"first").version
    assert store.get_ranges("k", [(0, 2)], version) == [b"fi"]
    store.put("k", b"another")
    with pytest.raises(ChangedError):
        store.get_ranges("k", [(0, 2)], version)


@every_store
def test_many_objects_at_once(store: Store) -> None:
    store.put("a", b"1")
    store.put("b/c", b"2")
    assert store.get_many(["a", "no", "b/c"]) == {"a": b"1", "b/c": b"2"}
    assert store.get_many([]) == {}


@every_store
def test_a_list_holds_what_is_below_a_folder(store: Store) -> None:
    for key in ("a/1", "a/b/2", "ab", "c*d/3"):
        store.put(key, key.encode())
    assert {info.key: info.size for info in store.list()} == {"a/1": 3, "a/b/2": 5, "ab": 2, "c*d/3": 5}
    assert {info.key for info in store.list("a")} == {"a/1", "a/b/2"}
    assert list(store.list("nothing")) == []


@every_store
def test_a_deleted_object_is_gone(store: Store) -> None:
    store.put("a", b"1")
    store.put("b", b"2")
    store.delete("a", "b", "never-there")
    assert list(store.list()) == []


@every_store
def test_a_writer_commits_with_its_block(store: Store) -> None:
    with store.open_writer("k") as writer:
        writer.write(b"one ")
        assert not store.exists("k")
        writer.write(memoryview(b"two"))
    assert store.get("k") == b"one two"
    assert writer.info == store.head("k")


@every_store
def test_an_error_leaves_the_object_as_it_was(store: Store) -> None:
    store.put("k", b"before")

    def parts() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        store.put("k", parts())
    assert store.get("k") == b"before"
    assert [info.key for info in store.list()] == ["k"]


@every_store
def test_parts_become_one_object_with_its_condition(store: Store) -> None:
    store.put("k", (part for part in (b"a", b"", b"bc")), if_absent=True)
    with pytest.raises(ExistsError):
        store.put("k", iter([b"x"]), if_absent=True)
    assert store.get("k") == b"abc"


@every_store
def test_a_large_stream_comes_back(store: Store) -> None:
    part = bytes(range(256)) * 4096
    store.put("k", (part for _ in range(11)))
    assert store.head("k").size == 11 * len(part)
    assert store.get_range("k", 10 * len(part), 2 * len(part)) == part


@every_store
def test_a_batch_is_there_when_it_is_committed(store: Store) -> None:
    store.put("c", b"before")
    with store.open_batch() as batch:
        threads = [threading.Thread(target=batch.put, args=(f"a/{n}", bytes([n]) * 100)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        batch.put("c", memoryview(b"after"))
    assert store.get("c") == b"after"
    assert {info.key: info.size for info in store.list("a")} == {f"a/{n}": 100 for n in range(8)}
    assert store.get("a/7") == b"\7" * 100
    with pytest.raises(KeyNameError):
        store.open_batch().put("../x", b"")


@every_store
def test_a_reader_seeks_and_reads_one_version(store: Store) -> None:
    store.put("k", b"0123456789")
    with store.open_reader("k") as reader:
        assert reader.info.size == 10
        assert reader.read(3) == b"012"
        reader.seek(-2, io.SEEK_END)
        assert reader.read() == b"89"
        reader.seek(4)
        assert reader.read(1 << 60) == b"456789"
        assert reader.read(1) == b""
        store.put("k", b"other bytes")
        reader.seek(0)
        try:
            assert reader.read(4) == b"0123"
        except ChangedError:
            assert not store.url.startswith("file")


@every_store
@pytest.mark.parametrize(
    "key", ["", "/a", "a//b", "a/../b", ".", "a\n", "a\\b", ".mithril-tmp-x", "a/" + "x" * (PART_BYTES_MAX + 1)]
)
def test_a_key_that_no_store_can_hold_is_refused(store: Store, key: str) -> None:
    with pytest.raises(KeyNameError):
        store.put(key, b"x")


@every_store
def test_keys_may_be_long_and_in_any_script(store: Store) -> None:
    long = "/".join(["y" * (PART_BYTES_MAX - 50)] * 5)
    assert len(long) <= KEY_BYTES_MAX
    for key in (long, "größe/数据 %41+.bin"):
        store.put(key, b"1")
        assert store.get(key) == b"1"
        assert key in {info.key for info in store.list()}


@every_store
async def test_the_same_awaited(store: Store) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    await store.put_async("k", b"1", if_absent=True)
    with pytest.raises(ExistsError):
        await store.put_async("k", b"2", if_absent=True)
    info = await store.put_async("s", parts())
    assert await store.head_async("s") == info
    assert await store.get_async("s") == b"ab"
    assert await store.get_range_async("s", 1, 1) == b"b"
    assert await store.get_many_async(["k", "s"]) == {"k": b"1", "s": b"ab"}
    assert {found.key async for found in store.list_async()} == {"k", "s"}
    await store.delete_async("k", "s")
    assert not store.exists("k")


async def _broken() -> AsyncIterator[bytes]:
    yield b"half"
    raise RuntimeError("the source broke")


@every_store
async def test_an_awaited_error_leaves_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError, match="the source broke"):
        await store.put_async("k", _broken())
    assert not store.exists("k")


@pytest.mark.parametrize("url", ["ygg://127.0.0.1:1/p", "redis://127.0.0.1:1/0/p", "s3://mithril/p"])
def test_a_server_that_is_not_there_is_unavailable(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    settings = CoreSettings(
        timeout_s=2, connect_timeout_s=0.5, retries=0, s3_endpoint="http://127.0.0.1:1", s3_allow_http=True
    )
    with Store.open(url, settings) as store, pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1|mithril"):
        store.get("k")


@pytest.mark.parametrize(
    ("url", "problem"),
    [("ftp://x/y", "scheme ftp"), ("file://host/x", "file:///"), ("ygg://h/p?db=x", "number of a database")],
)
def test_a_url_that_names_no_store_is_refused(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Store.open(url)


def test_the_password_is_in_no_message() -> None:
    with Store.open("redis://me:secret@127.0.0.1:1/0", CoreSettings(retries=0)) as store:
        with pytest.raises(StoreError) as caught:
            store.get("k")
        assert "secret" not in str(caught.value)
