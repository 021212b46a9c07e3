"""A full node: what stays, what goes, and how much memory the processes really have."""

import random
import threading
from collections.abc import Iterator

import pytest
from tests.node import Node
from tests.wire import NULL_ARRAY, OK, Error, Wire, eventually, info, pairs, text_of

from benches import processes

MIB = 1024 * 1024
LIMIT = 48 * MIB
POLICIES = ("tinylfu", "allkeys-lru", "allkeys-lfu", "allkeys-random")
BATCH = 200


class Watched:
    """The resident memory of a node beyond that of its start, watched all the time.

    Process after process is asked, so that a sum may mix moments where this one was interrupted; `most` is what two
    sums in succession have reached.
    """

    def __init__(self, node: Node) -> None:
        node.all_pids()
        self._pids = processes.tree(node.pid)
        self._start = self._resident()
        self._ended = threading.Event()
        self.most = 0
        self._thread = threading.Thread(target=self._watch)

    def _resident(self) -> int:
        return processes.memory(self._pids).kept

    def now(self) -> int:
        """What it is at this moment."""
        return self._resident() - self._start

    def _watch(self) -> None:
        before = 0
        while not self._ended.wait(0.02):
            now = self.now()
            self.most = max(self.most, min(before, now))
            before = now

    def __enter__(self) -> "Watched":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


@pytest.fixture(params=[1, 3])
def full(request: pytest.FixtureRequest) -> Iterator[Node]:
    """A node whose memory is limited."""
    with Node(shards=request.param, maxmemory=LIMIT) as node:
        yield node


def fill(c: Wire, first: int, count: int, value_bytes: int) -> None:
    """Stores `count` keys; every write succeeds."""
    for start in range(first, first + count, BATCH):
        numbers = range(start, min(start + BATCH, first + count))
        replies = c.pipeline([("SET", f"key:{number}", bytes([number % 251]) * value_bytes) for number in numbers])
        assert set(replies) == {OK}, set(map(str, replies))


def stat(c: Wire, name: str) -> int:
    """A number of INFO."""
    return int(info(c, "everything")[name])


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
def test_resident_memory_keeps_the_limit_at_any_mix_of_sizes(full: Node, policy: str) -> None:
    """Sizes from 10 bytes to 300 KB, under load: never more than 2% beyond."""
    source = random.Random(7)
    with Wire(full.host, full.port) as c, Watched(full) as watched:
        assert c("CONFIG", "SET", "maxmemory-policy", policy) == OK
        for round_number in range(130):
            sizes = [int(10 ** source.uniform(1, 4.3)) for _ in range(BATCH)] + [source.randrange(20_000, 300_000)]
            keys = [f"key:{source.randrange(200_000)}" for _ in sizes]
            replies = c.pipeline([("SET", key, b"x" * size) for key, size in zip(keys, sizes, strict=True)])
            assert set(replies) == {OK}, (round_number, set(map(str, replies)))
            c.pipeline([("GET", key) for key in keys[:50]])
            assert c("GET", keys[-1]) == b"x" * sizes[-1], "what was just written is read back"
        eventually(lambda: stat(c, "evicted_keys") > 0)
    assert watched.most <= LIMIT * 1.02, f"{watched.most / LIMIT:.3f} of the limit"


@pytest.mark.slow
def test_nothing_calcifies(full: Node) -> None:
    """Small values give way to larger ones, whether most of them were deleted or not."""
    with Wire(full.host, full.port) as c, Watched(full) as watched:
        assert c("CONFIG", "SET", "slowlog-log-slower-than", 20_000) == OK
        fill(c, 0, 300_000, 100)
        for start in range(0, 300_000, 1000):
            c("UNLINK", *(f"key:{number}" for number in range(start, start + 1000) if number % 5))
        fill(c, 300_000, 200_000, 300)
        fill(c, 500_000, 4_000, 20_000)
        fill(c, 600_000, 300_000, 100)
        fill(c, 900_000, 4_000, 20_000)
        assert c("GET", "key:903999") == bytes([903999 % 251]) * 20_000
    assert watched.most <= LIMIT * 1.1, f"{watched.most / LIMIT:.3f} of the limit"


@pytest.mark.slow
@pytest.mark.parametrize("shards", [1, 3])
def test_purging_returns_the_memory_of_deleted_keys(shards: int) -> None:
    """After deleting 90% at random, all but 1.3 of what lives."""
    count, value_bytes = 400_000, 100
    with Node(shards=shards) as node, Wire(node.host, node.port) as c:
        watched = Watched(node)
        fill(c, 0, count, value_bytes)
        numbers = list(range(count))
        random.Random(1).shuffle(numbers)
        for start in range(0, count * 9 // 10, 1000):
            c("UNLINK", *(f"key:{number}" for number in numbers[start : start + 1000]))
        assert c("DBSIZE") == count // 10
        assert c("MEMORY", "PURGE") == OK
        live = stat(c, "used_memory_dataset")
        eventually(lambda: stat(c, "allocator_resident") <= 1.3 * live, every=0.05)
        # The pages, and what the processes needed for this.
        eventually(lambda: watched.now() <= 1.3 * live + 4 * MIB, every=0.05)
        for number in numbers[-1000:]:
            assert c("GET", f"key:{number}") == bytes([number % 251]) * value_bytes


def fits(c: Wire) -> int:
    """How many values of 10 KB fit into the empty node."""
    assert c("FLUSHALL") == OK
    stored, refused = 0, 0
    while refused < BATCH:
        replies = c.pipeline([("SET", f"key:{stored + refused + place}", b"x" * 10_240) for place in range(BATCH)])
        stored += replies.count(OK)
        refused += BATCH - replies.count(OK)
    assert c("FLUSHALL") == OK
    return stored


def queue(c: Wire, count: int) -> None:
    """Leaves a transaction open with so many requests."""
    assert c("MULTI") == OK
    for _ in range(0, count, 5000):
        assert set(c.pipeline([("SET", f"queued:{number}", "v" * 20) for number in range(5000)])) == {"QUEUED"}


@pytest.mark.slow
def test_room_comes_back_after_a_long_transaction() -> None:
    with (
        Node(shards=2, maxmemory=64 * MIB, maxmemory_policy="noeviction") as node,
        Wire(node.host, node.port) as c,
    ):
        before = fits(c)
        queue(c, 100_000)
        assert c("EXEC").count(OK) == 100_000
        eventually(lambda: fits(c) >= 0.96 * before, every=0.2)


@pytest.mark.slow
def test_the_node_says_where_room_went() -> None:
    with (
        Node(shards=2, maxmemory=64 * MIB, maxmemory_policy="noeviction") as node,
        Wire(node.host, node.port) as c,
        Wire(node.host, node.port) as other,
    ):
        empty = stat(c, "maxmemory_for_keys")
        queue(other, 100_000)
        eventually(lambda: stat(c, "used_memory_heap") > 10 * MIB)

        def unexplained() -> int:
            taken = stat(c, "used_memory_heap") - stat(c, "used_memory_heap_free")
            return abs(empty - stat(c, "maxmemory_for_keys") - taken)

        eventually(lambda: unexplained() < 4 * MIB)
        assert "for clients, requests and replies" in text_of(c("MEMORY", "DOCTOR"))
        stats = pairs(c("MEMORY", "STATS"))
        assert stats[b"heap.bytes"] > 10 * MIB
        assert stats[b"maxmemory.for-keys"] < empty - 8 * MIB
        assert other("DISCARD") == OK
        eventually(lambda: stat(c, "maxmemory_for_keys") > 0.95 * empty)
        assert "for clients, requests and replies" not in text_of(c("MEMORY", "DOCTOR"))


def test_what_a_large_set_took_goes_back_to_the_system() -> None:
    with Node(shards=1) as node, Wire(node.host, node.port) as c:
        watched = Watched(node)
        for first in range(0, 300_000, 1000):
            c("SADD", "members", *range(first, first + 1000))
        grown = watched.now()
        assert grown > 3 * MIB
        assert c("UNLINK", "members") == 1
        eventually(lambda: watched.now() < grown / 3, every=0.1)


def test_lowering_maxmemory_frees_what_is_too_much(full: Node) -> None:
    with Wire(full.host, full.port) as c:
        fill(c, 0, 200_000, 100)
        assert c("CONFIG", "SET", "maxmemory", LIMIT // 4) == OK
        fill(c, 200_000, 1000, 100)
        eventually(lambda: stat(c, "allocator_resident") <= LIMIT // 4, every=0.02)
        assert 10_000 < c("DBSIZE") < 120_000
        assert c("CONFIG", "SET", "maxmemory-policy", "noeviction") == OK
        assert c("CONFIG", "SET", "maxmemory", LIMIT // 40) == OK
        assert isinstance(c("SET", "k", "v" * 1000), Error)
        assert c("GET", "absent") is None


def test_pinned_keys_survive_and_their_limit_is_a_part_of_maxmemory(full: Node) -> None:
    names = [f"pinned:{number}" for number in range(1000)]
    with Wire(full.host, full.port) as c:
        assert set(c.pipeline([("SET", name, "v" * 1000) for name in names])) == {OK}
        assert c("PIN", *names, "EX", 1000) == 1000
        fill(c, 0, 400_000, 100)
        assert c("EXISTS", *names) == 1000
        assert c("SET", "large", b"x" * (LIMIT // 8)) == OK
        assert c("PIN", "large") == 1
        assert c("SET", "larger", b"x" * (LIMIT // 7)) == OK
        refused = c("PIN", "larger")
        assert isinstance(refused, Error)
        assert refused.text.startswith("PINLIMIT ")


def test_reads_of_other_workers_count(full: Node) -> None:
    """Whoever serves a read: what is read stays, what is not goes."""
    with Wire(full.host, full.port) as c:
        assert c("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu") == OK
        hot = [f"hot:{number}" for number in range(300)]
        assert set(c.pipeline([("SET", name, "v" * 100) for name in hot])) == {OK}
        for step in range(60):
            for start in range(0, len(hot), 100):
                assert None not in c.pipeline([("GET", name) for name in hot[start : start + 100]])
            fill(c, step * 10_000, 10_000, 100)
        assert c("EXISTS", *hot) > 280


def test_evictions_are_told_to_those_who_watch(full: Node) -> None:
    with Wire(full.host, full.port) as c, Wire(full.host, full.port) as watcher:
        assert c("CONFIG", "SET", "maxmemory-policy", "allkeys-random") == OK
        assert c("SET", "watched", "v") == OK
        assert watcher("WATCH", "watched") == OK
        first = 0
        while c("EXISTS", "watched"):
            fill(c, first, 10_000, 100)
            first += 10_000
        assert watcher("MULTI") == OK
        assert watcher("SET", "watched", "w") == "QUEUED"
        assert watcher("EXEC") == NULL_ARRAY


def test_admission_is_counted(full: Node) -> None:
    with Wire(full.host, full.port) as c:
        fill(c, 0, 400_000, 100)
        eventually(lambda: stat(c, "evicted_keys") > 0)
        assert stat(c, "admission_window_bytes") > 0
        assert c("OBJECT", "FREQ", "key:399999") in range(16)
        assert isinstance(c("OBJECT", "IDLETIME", "key:399999"), Error)
