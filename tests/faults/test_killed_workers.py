"""Workers that are killed: the others go on, nothing hangs, the dead one is replaced."""

import os
import signal
import time
from functools import partial

from tests.node import HOST, Node
from tests.wire import OK, ConnectionEndedError, Error, Wire, eventually, once_within

REPLACED_SECONDS = 1.0
SHARDS = 3


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
        with Wire(HOST, port) as c:
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


def test_the_others_keep_their_keys_and_the_dead_one_starts_empty(node: Node) -> None:
    names = keys_by_shard(node, 20)
    with Wire(HOST, node.worker_ports[0]) as c:

        def replaced_s() -> float:
            for shard in range(SHARDS):
                for key in names[shard]:
                    assert c("SET", key, "v") == OK
            old = kill(node, 2)
            begin = time.monotonic()
            for key in names[0] + names[1]:
                assert c("GET", key) == b"v"
                assert c("SET", key, "w") == OK
            eventually(partial(back, node, 2, old))
            took_s = time.monotonic() - begin
            eventually(lambda: c("SET", names[2][0], "new") == OK)
            assert c("MGET", *names[2]) == [b"new"] + [None] * 19
            assert c("MGET", *names[0], *names[1]) == [b"w"] * 40
            return took_s

        once_within(REPLACED_SECONDS, replaced_s)
    with Wire(HOST, node.port) as c:
        assert c("DBSIZE") == 41


def test_clients_of_the_dead_worker_get_a_closed_connection(node: Node) -> None:
    victims = [Wire(HOST, node.worker_ports[1]) for _ in range(20)]
    others = [Wire(HOST, node.worker_ports[0]) for _ in range(20)]
    for c in victims + others:
        assert c("PING") == "PONG"
    kill(node, 1)
    for c in victims:
        assert c.is_closed()
        c.close()
    for c in others:
        assert c("PING") == "PONG"
        c.close()


def test_requests_under_way_end_in_an_error(node: Node) -> None:
    """The worker is stopped first, so that requests to it are certainly waiting when it dies."""
    names = keys_by_shard(node, 3)
    waiting = [Wire(HOST, node.worker_ports[0]) for _ in range(6)]
    pid = node.all_pids()["shard-2"]
    os.kill(pid, signal.SIGSTOP)
    waiting[0].send("INCR", names[2][0])
    waiting[1].send("MSET", names[0][0], 1, names[2][1], 1)
    waiting[2].send_raw(b"MULTI\r\nINCR %b\r\nINCR %b\r\nEXEC\r\n" % (names[1][0].encode(), names[2][2].encode()))
    waiting[3].send("DEL", *names[0], *names[1], *names[2])
    waiting[4].send("FLUSHALL")
    waiting[5].send("KEYS", "*")
    for _ in range(3):
        assert waiting[2].read() in (OK, "QUEUED")
    # Its worker has read all that was sent before the first of these replies when it has sent the last.
    with Wire(HOST, node.worker_ports[0]) as later:
        for _ in range(10):
            assert later("PING") == "PONG"
    assert waiting[0].silent(0.05)
    os.kill(pid, signal.SIGKILL)
    for number, c in enumerate(waiting):
        reply = c.read()
        # The last three may have waited elsewhere, and then meet the successor.
        assert isinstance(reply, Error) or number >= 3, (number, reply)
        assert c("PING") == "PONG"
        c.close()
    with Wire(HOST, node.port) as c:
        for key in names[0] + names[1]:
            assert c("SET", key, "v") == OK, "no shard is left reserved"
        eventually(lambda: c("SET", names[2][0], "v") == OK)


def test_a_coordinator_that_dies_leaves_nothing_reserved(node: Node) -> None:
    names = keys_by_shard(node, 5)
    everything = [key for keys in names for key in keys]
    for _ in range(10):
        clients = [Wire(HOST, node.worker_ports[1]) for _ in range(8)]
        for c in clients:
            for _ in range(50):
                c.send("MSET", *[part for key in everything for part in (key, "v")])
        old = kill(node, 1)
        for c in clients:
            c.close()
        eventually(partial(back, node, 1, old))
        with Wire(HOST, node.worker_ports[0]) as c:
            eventually(partial(all_set, c, everything))
            assert c("MGET", *everything) == [b"w"] * len(everything)


def test_a_worker_whose_engine_breaks_ends_and_is_replaced() -> None:
    with Node(shards=2, enable_debug_command="yes") as node:
        old = node.all_pids()["shard-1"]
        with Wire(HOST, node.worker_ports[1]) as c:
            c.send("DEBUG", "PANIC")
            assert c.is_closed()
        eventually(partial(back, node, 1, old))
        assert "the worker was told to crash" in node.log()
        with Wire(HOST, node.port) as c:
            eventually(partial(all_set, c, [f"key:{number}" for number in range(20)]))
