"""What is looked at stays as it is, and nobody can hold on to it for ever."""

import gc
import mmap
import os
import random
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from tests.near.conftest import FREED_WITHIN_S, Near, metric, near_url
from tests.node import HOST
from tests.wire import OK, Error, Wire, eventually, once_within

from yggdrasil.client.near import NearError, NearReader, NearUnavailableError, NearView

BIG = 300_000
START = Callable[..., Near]


def array_of(view: NearView) -> Any:
    # numpy's types know the buffer protocol from Python 3.12 on.
    return np.frombuffer(view, dtype=np.uint8)  # type: ignore[call-overload]


def tensor_of(view: NearView) -> Any:
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given buffer is not writable", category=UserWarning)
        return torch.frombuffer(view.memory, dtype=torch.uint8)


def held_by_another(near: Near, key: str) -> subprocess.Popen[str]:
    """A process that holds a view of a key and says so."""
    code = (
        "import sys; from yggdrasil.client.near import NearReader\n"
        "view = NearReader(sys.argv[1]).view(sys.argv[2]); print(len(view), flush=True); sys.stdin.read()"
    )
    arguments = [sys.executable, "-c", code, near_url(near.node), key]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert int(process.stdout.readline()) == BIG
    return process


ENDS = {
    "overwritten": ("SET", "k", b"y" * BIG),
    "overwritten by a small one": ("SET", "k", b"y"),
    "deleted": ("DEL", "k"),
    "flushed": ("FLUSHALL",),
    "changed in the middle": ("SETRANGE", "k", 1000, b"y" * 1000),
    "appended to": ("APPEND", "k", b"y" * 1000),
    "expired": ("PEXPIRE", "k", 1),
    "renamed": ("RENAME", "k", "other"),
}


@pytest.mark.parametrize("wrap", [array_of, tensor_of])
def test_what_wraps_a_view_keeps_its_bytes(near: Near, wrap: Callable[[NearView], Any]) -> None:
    near.c("SET", "k", b"x" * BIG)
    with near.reader.view("k") as view:
        wrapped = wrap(view)
    near.c("SET", "k", b"y" * BIG)
    for n in range(20):
        near.c("SET", f"o{n}", b"z" * BIG)
    assert view.valid
    assert len(wrapped) == BIG
    assert (wrapped == ord("x")).all()
    near.wait_until_leased(BIG)
    del wrapped
    near.wait_until_free()


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_a_view_stays_whatever_becomes_of_its_key(near: Near, end: tuple[str | bytes | int, ...]) -> None:
    near.c("SET", "k", b"x" * BIG)
    with near.reader.view("k") as view:
        near.c(*end)
        eventually(lambda: near.reader.get("k") != b"x" * BIG)
        # Others come and go meanwhile.
        for n in range(20):
            near.c("SET", f"o{n}", b"z" * BIG)
            near.c("DEL", f"o{n}")
        assert bytes(view.memory) == b"x" * BIG
        assert view.valid
    near.c("FLUSHALL")
    near.wait_until_free()


def test_a_view_ends_with_the_last_that_looks_at_it(near: Near) -> None:
    near.c("SET", "k", b"x" * BIG)
    with near.reader.view("k") as view:
        memory = memoryview(view)
        part = memory[10:20]
    near.c("DEL", "k")
    near.wait_until_leased(BIG)
    assert bytes(part) == b"x" * 10
    with pytest.raises(BufferError):
        memoryview(view)
    with pytest.raises(ValueError, match="released"), view:
        pass
    memory.release()
    part.release()
    near.wait_until_free()


def test_a_view_that_is_forgotten_ends(near: Near) -> None:
    near.c("SET", "k", b"x" * BIG)
    view = near.reader.view("k")
    near.c("DEL", "k")
    near.wait_until_leased(BIG)
    del view
    gc.collect()
    near.wait_until_free()


def test_a_process_that_is_killed_holds_nothing(near: Near) -> None:
    near.c("SET", "mine", b"m" * BIG)
    with near.reader.view("mine") as mine:
        near.c("DEL", "mine")

        def freed_s() -> float:
            near.c("SET", "k", b"x" * BIG)
            with held_by_another(near, "k") as process:
                near.c("DEL", "k")
                near.wait_until_leased(2 * BIG)
                process.kill()
                process.wait()
                start = time.monotonic()
                eventually(lambda: near.leased < 2 * BIG)
                return time.monotonic() - start

        once_within(FREED_WITHIN_S, freed_s)
        assert bytes(mine.memory) == b"m" * BIG, "nothing else is touched"
        assert mine.valid
    near.wait_until_free()


def test_as_many_views_as_the_node_allows(start_near: START) -> None:
    near = start_near(near_leases_max=3)
    for n in range(4):
        near.c("SET", f"k{n}", b"x" * BIG)
    views = [near.reader.view(f"k{n}") for n in range(3)]
    again = near.reader.view("k0")
    with pytest.raises(NearError, match="3 values are looked at"):
        near.reader.view("k3")
    assert len(near.reader.view("k0")) == BIG, "the same value again needs no room"
    again.release()
    views.pop().release()
    assert len(near.reader.view("k3")) == BIG


def test_as_many_readers_as_the_node_allows(start_near: START) -> None:
    near = start_near(near_readers_max=2)
    second = NearReader(near_url(near.node))
    with pytest.raises(NearError, match="near-readers-max"):
        NearReader(near_url(near.node))
    assert metric(near.node, "near_readers") == 2
    near.c("CONFIG", "SET", "near-readers-max", 3)
    third = NearReader(near_url(near.node))
    assert third.get("none") is None
    del second, third
    eventually(lambda: metric(near.node, "near_readers") == 1)


def test_who_holds_what_is_gone_for_too_long_is_cut_off(start_near: START) -> None:
    near = start_near()
    near.c("SET", "k", b"x" * BIG)
    near.c("SET", "lasting", b"l" * BIG)
    lasting = near.reader.view("lasting")
    view = near.reader.view("k")
    near.c("DEL", "k")
    near.wait_until_leased(BIG)
    near.c("CONFIG", "SET", "near-lease-age", 1)
    near.wait_until_free()
    eventually(lambda: not view.valid)
    with pytest.raises(NearUnavailableError, match="taken the memory"), view:
        pass
    assert not lasting.valid, "a reader that is cut off holds nothing"
    eventually(lambda: "was cut off" in near.node.log())
    assert near.reader.get("lasting") == b"l" * BIG, "it connects anew"
    with near.reader.view("lasting") as fresh:
        assert fresh.valid


def test_a_value_that_is_not_gone_may_be_looked_at_for_as_long_as_one_likes(start_near: START) -> None:
    near = start_near(near_lease_age=1)
    near.c("SET", "k", b"x" * BIG)
    near.c("SET", "gone", b"x" * BIG)
    near.c("CONFIG", "SET", "near-lease-age", 100)
    with near.reader.view("k") as view, near.reader.view("gone"):
        near.c("DEL", "gone")
        near.wait_until_leased(BIG)
        assert view.valid


def test_what_is_held_counts_as_used(start_near: START) -> None:
    near = start_near(shards=1, maxmemory="16mb", maxmemory_policy="noeviction")
    assert near.c("SET", "k", b"x" * 10_000_000) == OK
    with near.reader.view("k"):
        near.c("DEL", "k")
        refused = near.c("SET", "other", b"y" * 10_000_000)
        assert isinstance(refused, Error)
        assert refused.text.startswith("OOM ")
    assert near.c("SET", "other", b"y" * 10_000_000) == OK


def test_a_worker_that_is_replaced_leaves_views_alone(start_near: START) -> None:
    near = start_near(shards=2)
    names = [f"k{n}" for n in range(8)]
    for name in names:
        near.c("SET", name, name.encode() * 50_000)
    views = {name: near.reader.view(name) for name in names}
    owners = {name: owner(near, name) for name in names}
    assert set(owners.values()) == {0, 1}
    for shard in range(2):
        os.kill(near.node.all_pids()[f"shard-{shard}"], signal.SIGKILL)
        lost = [name for name in names if owners[name] == shard]
        eventually(partial(all_missing, near, lost))
    # The connection was that of a worker that is gone.
    near.c.close()
    near.c = Wire(HOST, near.node.port)
    for n in range(50):
        near.c("SET", f"new{n}", b"z" * BIG)
    for name, view in views.items():
        assert bytes(view.memory) == name.encode() * 50_000
        assert view.valid
        view.release()
    for n in range(50):
        near.c("DEL", f"new{n}")
    near.wait_until_free()


def owner(near: Near, name: str) -> int:
    slot = int(near.c("CLUSTER", "KEYSLOT", name))
    return slot * 2 >> 14


def all_missing(near: Near, names: list[str]) -> bool:
    """Whether the successor of a worker has emptied its shard."""
    try:
        return near.reader.mget(names) == [None] * len(names)
    except NearUnavailableError:
        return False


def test_a_page_full_of_nonsense_harms_nobody(near: Near) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{near.node.dir}/near.sock")
        connection.sendall(b'{"version": 1}\n')
        _, descriptors, _, _ = socket.recv_fds(connection, 65536, 100)
        page = mmap.mmap(descriptors[-1], 0)
        chance = random.Random(7)
        for key in range(200):
            for _ in range(200):
                at = 8 * chance.randrange(1, (4096 + 8 * 4096) // 8)
                shard, first_page = chance.randrange(4), chance.randrange(200)
                word = chance.choice([chance.getrandbits(64), shard << 56 | first_page, 0, 2**64 - 1])
                page[at : at + 8] = word.to_bytes(8, "little")
            near.c("SET", f"k{key % 10}", b"x" * (BIG if key % 3 else 100))
            near.c("APPEND", f"k{key % 10}", b"y" * 1000)
            near.c("DEL", f"k{(key + 5) % 10}")
        assert near.c("SET", "still", "there") == OK
        page.close()
        for descriptor in descriptors:
            os.close(descriptor)
    near.c("FLUSHALL")
    near.wait_until_free()
    assert "Traceback" not in near.node.log()
    assert "panicked" not in near.node.log()


COPYING = """
import sys
from yggdrasil.client.near import NearReader, NearUnavailableError

reader = NearReader(sys.argv[1])
view = reader.view("gone")
target = bytearray(int(sys.argv[2]))
print("begins", flush=True)
while view.valid:
    try:
        reader.get_into("k", target)
    except NearUnavailableError:
        print("refused")
        break
    if len(set(target[:: len(target) // 100])) != 1:
        print("mixed")
        break
"""


def test_what_a_reader_copies_while_it_is_cut_off_is_whole_or_refused(start_near: START) -> None:
    near = start_near(shards=1, near_lease_age=1)
    size = 64 << 20
    end = ""
    while end != "refused":
        near.c("SET", "k", b"a" * size)
        near.c("SET", "gone", b"x" * BIG)
        arguments = [sys.executable, "-c", COPYING, near_url(near.node), str(size)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begins\n"
            # Most of the time it is in the middle of a copy.
            process.send_signal(signal.SIGSTOP)
            near.c("DEL", "gone")
            for letter in b"bcd":
                near.c("SET", "k", bytes([letter]) * size)
            near.wait_until_free()
            near.c("SET", "k", b"e" * size)
            process.send_signal(signal.SIGCONT)
            end = process.stdout.read().strip()
        assert end in ("", "refused"), "parts of two values"
