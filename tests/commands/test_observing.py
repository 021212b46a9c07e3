"""SLOWLOG, LATENCY, MEMORY, MONITOR, DEBUG."""

import re
import time
from collections.abc import Callable

import pytest
from tests.targets import Target, configured
from tests.wire import (
    OK,
    QUEUED,
    Error,
    MapReply,
    Verbatim,
    Wire,
    arity,
    eventually,
    expect,
    pairs,
    text_of,
)

pytestmark = pytest.mark.all_servers

HELP = "<subcommand> [<arg> [value] [opt] ...]. Subcommands are:"


# SLOWLOG


def test_slowlog_keeps_what_was_slow(c: Wire, connect: Callable[[], Wire]) -> None:
    other = connect()
    assert other("CLIENT", "SETNAME", "slow one") != OK
    assert other("CLIENT", "SETNAME", "slow-one") == OK
    assert c("SLOWLOG", "RESET") == OK
    begin = time.time()
    with configured(c, slowlog_log_slower_than=0):
        assert other("SET", "k", "v") == OK
        assert c("SLOWLOG", "LEN") >= 1
    entries = [entry for entry in c("SLOWLOG", "GET", -1) if entry[3] == [b"SET", b"k", b"v"]]
    assert len(entries) == 1
    number, at, microseconds, _, address, name = entries[0]
    assert number >= 0
    assert begin - 1 <= at <= time.time() + 1
    assert microseconds >= 0
    assert address == other.address.encode()
    assert name == b"slow-one"
    with configured(c, slowlog_log_slower_than=-1):
        assert c("SLOWLOG", "RESET") == OK
        assert c("SLOWLOG", "LEN") == 0


def test_slowlog_newest_first_and_counted(c: Wire) -> None:
    assert c("SLOWLOG", "RESET") == OK
    with configured(c, slowlog_log_slower_than=0):
        for i in range(20):
            assert c("SET", f"k{i}", "v") == OK
    entries = [entry for entry in c("SLOWLOG", "GET", 100) if entry[3][0] == b"SET"]
    assert [entry[3][1] for entry in entries] == [f"k{i}".encode() for i in reversed(range(20))]
    assert len({entry[0] for entry in entries}) == 20
    assert len(c("SLOWLOG", "GET")) == 10
    assert len(c("SLOWLOG", "GET", 3)) == 3
    assert c("SLOWLOG", "GET", 0) == []
    with configured(c, slowlog_log_slower_than=-1):
        assert len(c("SLOWLOG", "GET", -1)) == c("SLOWLOG", "LEN")


def test_slowlog_ids_rise_whichever_worker_logs(c: Wire, connect: Callable[[], Wire]) -> None:
    assert c("SLOWLOG", "RESET") == OK
    connections = [connect() for _ in range(12)]
    with configured(c, slowlog_log_slower_than=0):
        for number, connection in enumerate(connections):
            assert connection("ECHO", str(number)) == str(number).encode()
    entries = [entry for entry in c("SLOWLOG", "GET", -1) if entry[3][0] == b"ECHO"]
    assert [entry[3][1] for entry in entries] == [str(number).encode() for number in reversed(range(12))]
    ids = [entry[0] for entry in entries]
    assert ids == sorted(set(ids), reverse=True)


def test_slowlog_length_is_bounded(c: Wire) -> None:
    with configured(c, slowlog_log_slower_than=0, slowlog_max_len=5):
        for i in range(50):
            assert c("SET", f"k{i}", "v") == OK
        assert c("SLOWLOG", "LEN") == 5
    assert c("SLOWLOG", "RESET") == OK


def test_slowlog_cuts_long_requests(c: Wire) -> None:
    assert c("SLOWLOG", "RESET") == OK
    with configured(c, slowlog_log_slower_than=0):
        assert c("SET", "k", "x" * 1000) == OK
        c("DEL", *[f"key{i}" for i in range(100)])
    entries = {entry[3][0]: entry[3] for entry in c("SLOWLOG", "GET", -1)}
    assert entries[b"SET"] == [b"SET", b"k", b"x" * 128 + b"... (872 more bytes)"]
    assert len(entries[b"DEL"]) == 32
    assert entries[b"DEL"][-1] == b"... (70 more arguments)"


def test_slowlog_is_off_at_minus_one(c: Wire) -> None:
    with configured(c, slowlog_log_slower_than=-1):
        assert c("SLOWLOG", "RESET") == OK
        assert c("SET", "k", "v") == OK
        assert c("SLOWLOG", "LEN") == 0


def test_slowlog_shows_no_password(c: Wire) -> None:
    assert c("SLOWLOG", "RESET") == OK
    with configured(c, slowlog_log_slower_than=0):
        c("AUTH", "default", "very secret")
        c("HELLO", c.resp, "AUTH", "default", "very secret")
    assert b"very secret" not in repr(c("SLOWLOG", "GET", -1)).encode()
    assert c("SLOWLOG", "RESET") == OK


# LATENCY


def test_latency_events(c: Wire) -> None:
    begin = time.time()
    with configured(c, latency_monitor_threshold=5):
        c("LATENCY", "RESET")
        assert c("DEBUG", "SLEEP", "0.02") == OK
        eventually(lambda: c("LATENCY", "LATEST"))
        assert "command" in text_of(c("LATENCY", "DOCTOR"))
    # Whatever is slow, LATENCY itself too, is an event: no more of them from here on.
    events = {entry[0]: entry for entry in c("LATENCY", "LATEST")}
    assert b"command" in events
    _, at, latest, highest = events[b"command"][:4]
    assert begin - 1 <= at <= time.time() + 1
    assert highest >= 15
    assert 5 <= latest <= highest
    history = c("LATENCY", "HISTORY", "command")
    assert history[-1] == [at, latest]
    assert max(milliseconds for _, milliseconds in history) == highest
    assert "command - high" in text_of(c("LATENCY", "GRAPH", "command"))
    assert c("LATENCY", "RESET", "command", "nosuch") == 1
    assert c("LATENCY", "HISTORY", "command") == []


@pytest.mark.both_protocols
def test_latency_histogram(c: Wire, resp: int) -> None:
    assert c("CONFIG", "RESETSTAT") == OK
    assert pairs(c("LATENCY", "HISTOGRAM", "set")) == {}
    for i in range(10):
        assert c("SET", f"k{i}", "v") == OK
    reply = c("LATENCY", "HISTOGRAM", "set", "nosuch")
    assert isinstance(reply, list if resp == 2 else MapReply)
    entry = pairs(pairs(reply)[b"set"])
    assert entry[b"calls"] == 10
    buckets = pairs(entry[b"histogram_usec"])
    assert list(buckets) == sorted(buckets)
    assert list(buckets.values()) == sorted(buckets.values()), "counts are cumulative"
    assert list(buckets.values())[-1] == 10
    c("CLIENT", "ID")
    assert b"client|id" in pairs(c("LATENCY", "HISTOGRAM", "client"))
    assert {b"set", b"client|id"} <= set(pairs(c("LATENCY", "HISTOGRAM")))


def test_latency_histogram_can_be_off(c: Wire) -> None:
    with configured(c, latency_tracking="no"):
        assert c("CONFIG", "RESETSTAT") == OK
        assert c("SET", "k", "v") == OK
        assert pairs(c("LATENCY", "HISTOGRAM", "set")) == {}


@pytest.mark.parametrize("length", [0, 10, 1000, 100_000, 5_000_000])
def test_memory_usage_is_near_the_size(c: Wire, length: int) -> None:
    assert c("SET", "key", bytes(length)) == OK
    usage = c("MEMORY", "USAGE", "key")
    assert length + 3 <= usage <= length * 1.3 + 200
    assert c("MEMORY", "USAGE", "key", "SAMPLES", 0) == usage


# MEMORY


@pytest.mark.both_protocols
def test_memory_stats_and_doctor(c: Wire, resp: int) -> None:
    assert c("MSET", "a", 1, "b", 2) == OK
    reply = c("MEMORY", "STATS")
    assert isinstance(reply, list if resp == 2 else MapReply)
    stats = pairs(reply)
    for name in (b"peak.allocated", b"total.allocated", b"startup.allocated", b"overhead.total", b"dataset.bytes"):
        assert isinstance(stats[name], int), name
    assert stats[b"keys.count"] == 2
    doctor = c("MEMORY", "DOCTOR")
    assert isinstance(doctor, bytes if resp == 2 else Verbatim)
    assert len(text_of(doctor)) > 20


# MONITOR


def lines_until(monitor: Wire, last: str) -> list[str]:
    lines: list[str] = []
    while not lines or last not in lines[-1]:
        lines.append(monitor.read())
    return lines


def test_monitor_shows_every_request(c: Wire, connect: Callable[[], Wire]) -> None:
    monitor, other = connect(), connect()
    assert monitor("MONITOR") == OK
    assert other("SELECT", 3) == OK
    assert other("set", "k", 'quote " back \\ \n \x01') == OK
    assert c("GET", "k") is None
    address = other.address
    lines = [monitor.read() for _ in range(3)]
    mine = [line for line in lines if address in line]
    assert len(mine) == 2
    assert re.fullmatch(rf'\d+\.\d{{6}} \[[03] {address}\] "SELECT" "3"', mine[0])
    assert mine[1].endswith(f'[3 {address}] "set" "k" "quote \\" back \\\\ \\n \\x01"')
    assert sum('"GET" "k"' in line for line in lines) == 1


def test_monitor_hears_every_worker(c: Wire, connect: Callable[[], Wire]) -> None:
    monitor = connect()
    assert monitor("MONITOR") == OK
    for i in range(24):
        assert connect()("ECHO", f"from {i}") == f"from {i}".encode()
    heard = [monitor.read() for _ in range(24 if c.resp == 2 else 48)]
    assert sorted(line.split('"')[3] for line in heard if '"ECHO"' in line) == sorted(f"from {i}" for i in range(24))


def test_monitor_shows_transactions_when_they_run(c: Wire, connect: Callable[[], Wire]) -> None:
    monitor = connect()
    assert monitor("MONITOR") == OK
    assert c.pipeline([("MULTI",), ("SET", "k", "v"), ("EXEC",)]) == [OK, QUEUED, [OK]]
    assert c("PING") == "PONG"
    words = [line.split('"')[1] for line in lines_until(monitor, "PING")]
    assert words == ["MULTI", "SET", "EXEC", "PING"]


def test_monitor_hides_secrets_and_ends_by_reset(c: Wire, connect: Callable[[], Wire]) -> None:
    monitor = connect()
    assert monitor("MONITOR") == OK
    c("AUTH", "default", "very secret")
    c("HELLO", c.resp, "AUTH", "default", "very secret")
    c("PING")
    assert "very secret" not in "".join(lines_until(monitor, "PING"))
    assert monitor("RESET") == "RESET"
    c("PING")
    assert monitor("GET", "k") is None
    assert monitor("QUIT") == OK


def test_a_monitor_that_left_does_no_harm(c: Wire, connect: Callable[[], Wire]) -> None:
    for _ in range(5):
        monitor = connect()
        assert monitor("MONITOR") == OK
        monitor.reset_connection()
    for i in range(50):
        assert c("SET", f"k{i}", "v") == OK


# DEBUG


def test_debug(c: Wire) -> None:
    assert c("SET", "k", "v") == OK
    text = c("DEBUG", "OBJECT", "k")
    assert "encoding:embstr" in text
    assert "refcount:1" in text
    begin = time.monotonic()
    assert c("DEBUG", "SLEEP", "0.03") == OK
    assert time.monotonic() - begin >= 0.03
    wrong = "ERR unknown subcommand or wrong number of arguments for '{}'. Try DEBUG HELP."
    expect(
        c,
        ("DEBUG OBJECT absent", Error("ERR no such key")),
        ("DEBUG", arity("debug")),
        ("DEBUG FOO", Error(wrong.format("FOO"))),
        ("DEBUG SLEEP", Error(wrong.format("SLEEP"))),
        ("DEBUG SLEEP 0", OK),
    )


def test_debug_is_off_unless_configured(servers_without_debug: Target, resp: int) -> None:
    c = servers_without_debug.connect(resp)
    reply = c("DEBUG", "SLEEP", "0")
    assert isinstance(reply, Error)
    assert reply.text.startswith("ERR DEBUG command not allowed.")


def test_the_doctor_says_something_when_nothing_is_watched(c: Wire) -> None:
    assert len(text_of(c("LATENCY", "DOCTOR"))) > 20
