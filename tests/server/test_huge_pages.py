"""Shared memory in huge pages: the same values, the same memory."""

import platform
from pathlib import Path

import pytest
from tests.node import Node
from tests.wire import OK, Wire, eventually, info

KEYS = 100_000
SETTING = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")


def can_collapse() -> bool:
    """Whether the kernel puts shared memory into huge pages when it is asked to (Linux 6.1)."""
    release = tuple(map(int, platform.release().split("-")[0].split(".")[:2]))
    return release >= (6, 1) and SETTING.exists() and "[deny]" not in SETTING.read_text()


def huge(c: Wire) -> int:
    """Bytes in huge pages, by INFO."""
    return int(info(c, "memory")["used_memory_huge_pages"])


@pytest.mark.skipif(not can_collapse(), reason="this kernel has no MADV_COLLAPSE for shared memory")
@pytest.mark.parametrize("shards", [1, 3])
def test_full_parts_are_put_into_huge_pages(shards: int) -> None:
    with Node(shards=shards) as node, Wire(node.host, node.port) as c:
        numbers = range(KEYS)
        for start in range(0, KEYS, 500):
            c("MSET", *(word for number in numbers[start : start + 500] for word in (f"k{number}", f"v{number}" * 30)))
        assert c("CONFIG", "GET", "huge-pages") in ([b"huge-pages", b"no"], {b"huge-pages": b"no"})
        assert huge(c) == 0
        assert c("CONFIG", "SET", "huge-pages", "yes") == OK
        eventually(lambda: huge(c) > 10 << 20)
        for start in range(0, KEYS, 500):
            names = [f"k{number}" for number in numbers[start : start + 500]]
            assert c("MGET", *names) == [f"v{number}".encode() * 30 for number in numbers[start : start + 500]]
        assert c("FLUSHALL") == OK
        assert c("MEMORY", "PURGE") == OK
        eventually(lambda: huge(c) == 0)
        assert c("CONFIG", "SET", "huge-pages", "no") == OK
        assert c("SET", "k", "v") == OK
