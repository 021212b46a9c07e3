"""Workers that are killed: the others go on, nothing hangs, the dead one is replaced."""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest
from tests.node import HOST, Node
from tests.wire import OK, ConnectionEndedError, Error, Wire, eventually

KILLS = int(os.environ.get("YGGDRASIL_KILLS", "20"))
REPLACED_SECONDS = 1.0
SHARDS = 3


@pytest.fixture(params=[SHARDS])
def own_node(request: pytest.FixtureRequest) -> Iterator[Node]:
    with Node.start(shards=request.param) as started:
        yield started


def keys_by_shard(node: Node, count: int) -> list[list[str]]:
    """Names that lie in each shard, by the slots that the workers name."""
    with Wire(HOST, node.port) as c:
        ports = {}
        for first, last, owner in c("CLUSTER", "SLOTS"):
            for slot in range(first, last + 1):
                ports[slot] = owner[1]
        found: dict[int, list[str]] = {port: [] for port in node.worker_ports}
        number = 0
        while min(map(len, found.values())) < count:
            key = f"key:{number}"
            found[ports[c("CLUSTER", "KEYSLOT", key)]].append(key)
            number += 1
    return [found[port][:count] for port in node.worker_ports]


def answers(port: int) -> bool:
    try:
        with Wire(HOST, port, timeout=REPLACED_SECONDS) as c:
            return bool(c("PING") == "PONG")
    except (OSError, ConnectionEndedError):
        return False


def kill(node: Node, shard: int) -> int:
    """Kills the worker of a shard and returns its process id."""
    pid = node.all_pids()[f"shard-{shard}"]
    os.kill(pid, signal.SIGKILL)
    return pid


def back(node: Node, shard: int, old: int) -> bool:
    """Whether another process has the shard and answers on its port."""
    return node.pids().get(f"shard-{shard}", old) != old and answers(node.worker_ports[shard])


def all_set(c: Wire, keys: list[str]) -> bool:
    return bool(c("MSET", *[part for key in keys for part in (key, "w")]) == OK)


def test_the_others_keep_their_keys_and_the_dead_one_starts_empty(own_node: Node) -> None:
    names = keys_by_shard(own_node, 20)
    with Wire(HOST, own_node.worker_ports[0]) as c:
        for shard in range(SHARDS):
            for key in names[shard]:
                assert c("SET", key, "v") == OK
        old = kill(own_node, 2)
        begin = time.monotonic()
        for key in names[0] + names[1]:
            assert c("GET", key) == b"v"
            assert c("SET", key, "w") == OK
        eventually(partial(back, own_node, 2, old), seconds=REPLACED_SECONDS)
        assert time.monotonic() - begin < REPLACED_SECONDS
        eventually(lambda: c("SET", names[2][0], "new") == OK, seconds=REPLACED_SECONDS)
        assert c("MGET", *names[2]) == [b"new"] + [None] * 19
        assert c("MGET", *names[0], *names[1]) == [b"w"] * 40
    with Wire(HOST, own_node.port) as c:
        assert c("DBSIZE") == 41


def test_clients_of_the_dead_worker_get_a_closed_connection(own_node: Node) -> None:
    victims = [Wire(HOST, own_node.worker_ports[1]) for _ in range(20)]
    others = [Wire(HOST, own_node.worker_ports[0]) for _ in range(20)]
    for c in victims + others:
        assert c("PING") == "PONG"
    kill(own_node, 1)
    for c in victims:
        assert c.is_closed()
        c.close()
    for c in others:
        assert c("PING") == "PONG"
        c.close()


def test_requests_under_way_end_in_an_error(own_node: Node) -> None:
    """The worker is stopped first, so that requests to it are certainly waiting when it dies."""
    names = keys_by_shard(own_node, 3)
    waiting = [Wire(HOST, own_node.worker_ports[0]) for _ in range(6)]
    pid = own_node.all_pids()["shard-2"]
    os.kill(pid, signal.SIGSTOP)
    waiting[0].send("INCR", names[2][0])
    waiting[1].send("MSET", names[0][0], 1, names[2][1], 1)
    waiting[2].send_raw(b"MULTI\r\nINCR %b\r\nINCR %b\r\nEXEC\r\n" % (names[1][0].encode(), names[2][2].encode()))
    waiting[3].send("DEL", *names[0], *names[1], *names[2])
    waiting[4].send("FLUSHALL")
    waiting[5].send("KEYS", "*")
    for _ in range(3):
        assert waiting[2].read() in (OK, "QUEUED")
    assert waiting[0].silent(0.05)
    os.kill(pid, signal.SIGKILL)
    for number, c in enumerate(waiting):
        reply = c.read()
        # The last three may have waited elsewhere, and then meet the successor.
        assert isinstance(reply, Error) or number >= 3, (number, reply)
        assert c("PING") == "PONG"
        c.close()
    with Wire(HOST, own_node.port) as c:
        for key in names[0] + names[1]:
            assert c("SET", key, "v") == OK, "no shard is left reserved"
        eventually(lambda: c("SET", names[2][0], "v") == OK, seconds=REPLACED_SECONDS)


def test_a_coordinator_that_dies_leaves_nothing_reserved(own_node: Node) -> None:
    names = keys_by_shard(own_node, 5)
    everything = [key for keys in names for key in keys]
    for _ in range(10):
        clients = [Wire(HOST, own_node.worker_ports[1]) for _ in range(8)]
        for c in clients:
            for _ in range(50):
                c.send("MSET", *[part for key in everything for part in (key, "v")])
        old = kill(own_node, 1)
        for c in clients:
            c.close()
        eventually(partial(back, own_node, 1, old))
        with Wire(HOST, own_node.worker_ports[0], timeout=5) as c:
            eventually(partial(all_set, c, everything))
            assert c("MGET", *everything) == [b"w"] * len(everything)


class Load:
    """Clients that work without a pause and start anew when they are cut off."""

    def __init__(self, node: Node, clients: int) -> None:
        self.stop = threading.Event()
        self.hung: list[str] = []
        self.wrong: list[object] = []
        self.done = [0] * clients
        self.cut = 0
        self.errors = 0
        self.ports = (node.port, *node.worker_ports)
        self.threads = [threading.Thread(target=self._run, args=(i,)) for i in range(clients)]
        for thread in self.threads:
            thread.start()

    def _run(self, number: int) -> None:
        source = random.Random(number)
        port = self.ports[number % len(self.ports)]
        while not self.stop.is_set():
            try:
                with Wire(HOST, port, timeout=5.0) as c:
                    while not self.stop.is_set():
                        self._work(c, source, number)
            except TimeoutError:
                self.hung.append(f"client {number}")
                return
            except (ConnectionEndedError, OSError):
                self.cut += 1
                time.sleep(0.01)

    def _work(self, c: Wire, source: random.Random, number: int) -> None:
        keys = [f"load:{source.randrange(200)}" for _ in range(4)]
        value = f"{number}:{source.randrange(1000)}"
        requests: list[tuple[str, ...]] = [
            ("SET", keys[0], value),
            ("GET", keys[1]),
            ("MSET", keys[0], value, keys[1], value, keys[2], value),
            ("MGET", *keys),
            ("DEL", keys[3], keys[2]),
            ("MULTI",),
            ("SET", keys[0], value),
            ("SET", keys[1], value),
            ("EXEC",),
            ("DBSIZE",),
        ]
        for reply in c.pipeline(requests):
            if isinstance(reply, Error):
                self.errors += 1
            elif not isinstance(reply, str | bytes | int | list) and reply is not None:
                self.wrong.append(reply)
        self.done[number] += 1

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(10)
            if thread.is_alive():
                self.hung.append(thread.name)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_again_and_again_under_load(own_node: Node) -> None:
    source = random.Random(3)
    load = Load(own_node, 8)
    slowest = 0.0
    try:
        for turn in range(KILLS):
            shard = source.randrange(SHARDS)
            old = kill(own_node, shard)
            begin = time.monotonic()
            eventually(partial(back, own_node, shard, old), seconds=10)
            slowest = max(slowest, time.monotonic() - begin)
            for port in own_node.worker_ports:
                assert answers(port), f"turn {turn}: no answer on {port}"
            assert not load.hung, load.hung
            time.sleep(source.random() * 0.03)
    finally:
        load.end()
    assert not load.hung, load.hung
    assert not load.wrong, load.wrong[:3]
    assert slowest < REPLACED_SECONDS + 0.5, f"the slowest replacement took {slowest:.2f} s"
    assert min(load.done) > 0, load.done
    with Wire(HOST, own_node.port) as c:
        assert c("FLUSHALL") == OK
        names = keys_by_shard(own_node, 5)
        for keys in names:
            for key in keys:
                assert c("SET", key, "v") == OK
        assert c("DBSIZE") == 15
    assert set(own_node.pids()) >= {"supervisor", "steward", *(f"shard-{i}" for i in range(SHARDS))}
