"""Batches of files: written in the background and past the page cache, and named when all is on the disk."""

import errno
import fcntl
import os
import random
import resource
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from mithril.core import file_store
from mithril.core.direct_writes import ALIGNMENT
from mithril.core.errors import FullError
from mithril.core.store import Store

MIB = 1 << 20
# Around the pages, the pieces, and the size from which a file is written past the page cache.
SIZES = (0, 1, MIB - 1, MIB, MIB + 1, 4 * MIB + 4095, 8 * MIB, 9 * MIB + 17)


def contents() -> dict[str, bytes]:
    seeded = random.Random(5)
    return {f"folder/{size}": seeded.randbytes(size) for size in SIZES}


def refused(*_: Any) -> int:
    raise OSError(errno.EINVAL, "Invalid argument")


def refuse_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fcntl.fcntl

    def without(file: int, command: int, argument: int = 0) -> int:
        return refused() if argument & os.O_DIRECT else plain(file, command, argument)

    monkeypatch.setattr(fcntl, "fcntl", without)


def refuse_second_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = os.write

    def picky(file: int, data: memoryview) -> int:
        direct = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT
        return refused() if direct and os.lseek(file, 0, os.SEEK_CUR) else plain(file, data)

    monkeypatch.setattr(os, "write", picky)


def write_short(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = os.write

    def short(file: int, data: memoryview) -> int:
        third = len(data) // 3
        return plain(file, data[: third // ALIGNMENT * ALIGNMENT or third or len(data)])

    monkeypatch.setattr(os, "write", short)


@pytest.mark.parametrize("fault", [None, refuse_flag, refuse_second_piece, write_short])
def test_files_of_all_sizes_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Any) -> None:
    store = Store.open(str(tmp_path))
    expected = contents()
    with monkeypatch.context() as patched:
        if fault is not None:
            fault(patched)
        with store.open_batch() as batch:
            for key, data in expected.items():
                batch.put(key, data)
    assert {key: store.get(key) for key in expected} == expected
    assert sorted(info.key for info in store.list()) == sorted(expected)


def test_large_files_go_past_the_page_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        os.close(os.open(tmp_path / "probe", os.O_WRONLY | os.O_CREAT | os.O_DIRECT))
    except OSError:
        pytest.skip("this file system has no writes past the page cache")
    plain = os.write
    direct_bytes = 0

    def counted(file: int, data: memoryview) -> int:
        nonlocal direct_bytes
        written = plain(file, data)
        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT:
            direct_bytes += written
        return written

    monkeypatch.setattr(os, "write", counted)
    with Store.open(str(tmp_path)).open_batch() as batch:
        batch.put("large", bytes(3 * MIB + 5))
        batch.put("small", bytes(1000))
    assert direct_bytes == 3 * MIB


def test_a_file_that_cannot_be_written_fails_the_batch(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    store.put("k", b"before")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, limit[1]))
    try:
        batch = store.open_batch()
        batch.put("other", b"x")
        batch.put("k", bytes(3 * MIB))
        with pytest.raises(FullError, match="k: the file system does not take files"), batch:
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert store.get("k") == b"before"
    assert [path.name for path in tmp_path.rglob("*")] == ["k"]


def test_a_caller_waits_while_much_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    plain = os.write

    def waiting(file: int, data: memoryview) -> int:
        assert go_on.wait(30)
        return plain(file, data)

    monkeypatch.setattr(os, "write", waiting)
    put: list[int] = []
    half = bytes(file_store._BATCH_BYTES_MAX // 2)
    with Store.open(str(tmp_path)).open_batch() as batch:

        def caller() -> None:
            for number in range(3):
                batch.put(str(number), half)
                put.append(number)

        thread = threading.Thread(target=caller)
        thread.start()
        thread.join(0.2)
        # The third has no room before one of the first is written.
        assert 2 not in put
        go_on.set()
        thread.join()
    assert put == [0, 1, 2]
