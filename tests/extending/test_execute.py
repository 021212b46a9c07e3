"""Commands in Python that execute requests, on one shard and on three."""

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.node import HOST, Node
from tests.wire import OK, Error, Wire, eventually, expect

PROBES = Path(__file__).parent / "probes.py"
KEYS = [f"key{number}" for number in range(12)]


@pytest.fixture(scope="module", params=[1, 3], ids=["node1", "node3"])
def probed(request: pytest.FixtureRequest) -> Iterator[Node]:
    """A node that has the probes."""
    with Node(shards=request.param, command_modules=PROBES) as node:
        yield node


@pytest.fixture
def c(probed: Node) -> Iterator[Wire]:
    """A connection to it, without keys."""
    with Wire(HOST, probed.port) as connection:
        connection.hello(3)
        connection("FLUSHALL")
        yield connection


def test_a_key_of_any_shard_is_written_and_read(c: Wire) -> None:
    for key in KEYS:
        expect(
            c,
            (f"PROBE.RUN SET {key} v", OK),
            (f"PROBE.RUN GET {key}", b"v"),
            (f"GET {key}", b"v"),
            (f"PROBE.RUN DEL {key}", 1),
            (f"PROBE.RUN GET {key}", None),
        )


def test_several_keys_are_changed_and_read_together(c: Wire) -> None:
    pairs = [part for key in KEYS for part in (key, f"value of {key}")]
    assert c("PROBE.RUN", "MSET", *pairs) == OK
    assert c("PROBE.RUN", "MGET", *KEYS, "missing") == [f"value of {key}".encode() for key in KEYS] + [None]
    assert c("PROBE.RUN", "RENAME", KEYS[0], KEYS[1]) == OK
    assert c("PROBE.RUN", "COPY", KEYS[1], "copy") == 1
    assert c("PROBE.RUN", "DBSIZE") == 12
    assert set(c("PROBE.RUN", "KEYS", "*")) == {key.encode() for key in (*KEYS[1:], "copy")}
    assert c("PROBE.RUN", "RANDOMKEY") is not None
    assert c("PROBE.RUN", "FLUSHDB") == OK
    assert c("DBSIZE") == 0


def test_requests_at_once_are_all_executed(c: Wire) -> None:
    assert c("PROBE.ALL", *KEYS, *KEYS) == [1] * 12 + [2] * 12


def test_the_database_of_the_client_is_used(c: Wire) -> None:
    expect(c, ("SELECT 1", OK), ("PROBE.RUN SET k one", OK), ("SELECT 0", OK), ("PROBE.RUN GET k", None))


def test_replies_are_values_of_python(c: Wire) -> None:
    expect(
        c,
        ("PROBE.TYPES SET k 1", b"'OK'"),
        ("PROBE.TYPES GET k", b"b'1'"),
        ("PROBE.TYPES INCR k", b"2"),
        ("PROBE.TYPES GET missing", b"None"),
        ("PROBE.TYPES MGET k missing", b"[b'2', None]"),
        ("PROBE.TYPES OBJECT ENCODING k", b"b'int'"),
    )


def test_an_error_is_an_exception_and_the_reply_of_who_does_not_catch_it(c: Wire) -> None:
    not_a_number = "ERR value is not an integer or out of range"
    expect(
        c,
        ("SET k text", OK),
        ("PROBE.RUN INCR k", Error(not_a_number)),
        ("PROBE.CATCH INCR k", f"caught {not_a_number}".encode()),
        ("PROBE.RUN NOSUCH a", Error("ERR unknown command 'NOSUCH', with args beginning with: 'a' ")),
        ("PROBE.RUN GET", Error("ERR wrong number of arguments for 'get' command")),
        ("PROBE.RUN MSET a 1 b", Error("ERR wrong number of arguments for 'mset' command")),
    )


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ("PROBE.RUN GET k", "'probe.run' cannot execute 'probe.run': it is written in Python, too; call its function"),
        ("INFO", "'probe.run' cannot execute 'info': it is written in Python, too; call its function"),
        ("WAIT 0 0", "'probe.run' cannot execute 'wait': it is written in Python, too; call its function"),
        ("MULTI", "'probe.run' cannot execute 'multi': it is about a connection"),
        ("SELECT 1", "'probe.run' cannot execute 'select': it is about a connection"),
    ],
)
def test_what_has_no_keys_of_its_own_is_refused(c: Wire, request_: str, why: str) -> None:
    assert c.do(f"PROBE.RUN {request_}") == Error(f"ERR {why}")


def test_who_does_not_say_that_it_writes_cannot_write(c: Wire) -> None:
    error = c.do("PROBE.READ SET k v")
    assert isinstance(error, Error)
    assert "give the row of the command that executes it the flag 'write'" in str(error)
    expect(c, ("PROBE.READ GET k", None))


def test_inside_of_multi_requests_belong_to_the_transaction(c: Wire, probed: Node) -> None:
    """Another client never sees one half of a move."""
    c("MSET", *[part for key in KEYS for part in (key, 1000)])
    with Wire(HOST, probed.port) as reader:
        for round_ in range(30):
            c.send("MULTI")
            for source, destination in itertools.pairwise(KEYS):
                c.send("PROBE.MOVE", source, destination, round_)
            c.send("EXEC")
            reader.send("MGET", *KEYS)
            assert sum(int(value) for value in reader.read()) == 1000 * len(KEYS)
            replies = [c.read() for _ in range(len(KEYS) + 1)]
            assert len(replies[-1]) == len(KEYS) - 1


def test_an_atomic_command_is_one_transaction(c: Wire, probed: Node) -> None:
    c("MSET", *[part for key in KEYS for part in (key, 1000)])
    c("CONFIG", "RESETSTAT")
    with Wire(HOST, probed.port) as reader:
        for round_ in range(30):
            for source, destination in itertools.pairwise(KEYS):
                c.send("PROBE.SWAP", source, destination, round_)
            for _ in KEYS:
                assert sum(int(value) for value in reader("MGET", *KEYS)) == 1000 * len(KEYS)
            assert [len(c.read()) for _ in KEYS[1:]] == [2] * (len(KEYS) - 1)
    assert "cmdstat_probe.swap:calls=330," in str(getattr(stats := c("INFO", "commandstats"), "text", stats))
    expect(c, ("SET text x", OK), ("PROBE.SWAP text key1 1", Error("ERR value is not an integer or out of range")))


def test_inside_of_multi_only_shards_of_declared_keys_can_be_used(c: Wire, probed: Node) -> None:
    expect(
        c,
        ("MULTI", OK),
        ("PROBE.WITH {a}1 MSET {a}2 x {a}3 y", "QUEUED"),
        ("PROBE.WITH {a}1 RENAME {a}2 {a}4", "QUEUED"),
        ("PROBE.WITH {a}1 MGET {a}1 {a}2 {a}3 {a}4", "QUEUED"),
        ("PROBE.WITH {a}1 INCR {a}4", "QUEUED"),
        ("EXEC", [OK, OK, [None, None, b"y", b"x"], Error("ERR value is not an integer or out of range")]),
    )
    if len(probed.worker_ports) > 1:
        expect(c, ("MULTI", OK), ("PROBE.RUN SET {b}1 x", "QUEUED"))
        (error,) = c("EXEC")
        assert "only keys can be used that the row of the command that executes it declares" in str(error)


def test_a_transaction_ends_behind_what_its_command_has_left_under_way(c: Wire) -> None:
    for key in KEYS:
        expect(c, ("MULTI", OK), (f"PROBE.LEAVE {key}", "QUEUED"), ("EXEC", ["left"]), (f"GET {key}", b"1"))


def test_a_context_is_over_with_its_command(c: Wire) -> None:
    assert c("PROBE.LATE") == "kept"
    assert "await everything before it returns" in str(c("PROBE.LATE"))


def test_what_a_client_has_begun_is_done_when_it_has_left(c: Wire, probed: Node) -> None:
    with Wire(HOST, probed.port) as leaving:
        leaving.send("PROBE.ALL", *KEYS)
    eventually(lambda: c("MGET", *KEYS) == [b"1"] * len(KEYS))


def test_statistics_count_what_is_executed(c: Wire) -> None:
    c("CONFIG", "RESETSTAT")
    c("PROBE.ALL", *KEYS)
    stats = c("INFO", "commandstats")
    assert "cmdstat_incr:calls=12" in str(getattr(stats, "text", stats))


def test_a_request_to_a_killed_worker_raises_an_error() -> None:
    with Node(shards=2, command_modules=PROBES) as node, Wire(HOST, node.worker_ports[0]) as c:
        key = next(key for key in KEYS if c("CLUSTER", "KEYSLOT", key) >= 8192)
        victim = node.all_pids()["shard-1"]
        os.kill(victim, signal.SIGSTOP)
        c.send("PROBE.RUN", "INCR", key)
        os.kill(victim, signal.SIGKILL)
        assert "was restarted before it answered" in str(c.read())
        eventually(lambda: node.pids().get("shard-1", victim) != victim)
        eventually(lambda: c("PROBE.RUN", "INCR", key) == 1)
