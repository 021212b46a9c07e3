"""Times to live: setting, reading, conditions, borders; what happens when the time is over."""

import time

import pytest
from tests.targets import Target
from tests.wire import OK, Error, Left, Wire, eventually, expect, info

pytestmark = pytest.mark.all_servers

CLASH = Error("ERR NX and XX, GT or LT options at the same time are not compatible")
BOTH = Error("ERR GT and LT options at the same time are not compatible")
SETTERS = ["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"]


def invalid(command: str) -> Error:
    return Error(f"ERR invalid expire time in '{command}' command")


def moment(command: str, seconds_from_now: int) -> int:
    """The argument of an EXPIRE command for a time some seconds from now."""
    base = int(time.time()) if command.endswith("AT") else 0
    return (base + seconds_from_now) * (1000 if command.startswith("P") else 1)


def test_every_setter_and_reader_agrees(c: Wire) -> None:
    for command in SETTERS:
        assert c("SET", "k", "v") == OK
        assert c(command, "absent", moment(command, 1000)) == 0
        earliest = time.time() + 999  # `moment` counts from the beginning of a second.
        assert c(command, "k", moment(command, 1000)) == 1
        latest = time.time() + 1000
        assert c("TTL", "k") == Left(1000)
        assert c("PTTL", "k") == Left(1_000_000, lost=9000)
        assert earliest <= c("PEXPIRETIME", "k") / 1000 <= latest
        assert earliest - 0.5 <= c("EXPIRETIME", "k") <= latest + 0.5
        assert c("PERSIST", "k") == 1
        assert c("PERSIST", "k") == 0
        assert c("TTL", "k") == -1
    assert c("PERSIST", "absent") == 0


def test_ttl_rounds_half_up(c: Wire) -> None:
    for milliseconds in (1900, 10_300, 10_700, 99_999_600):
        assert c("SET", "k", "v", "PX", milliseconds) == OK
        # A transaction happens at one moment.
        left, seconds = c.pipeline([("MULTI",), ("PTTL", "k"), ("TTL", "k"), ("EXEC",)])[-1]
        assert seconds == (left + 500) // 1000
    expect(c, ("SET k v PXAT 33177117420999", OK), ("EXPIRETIME k", 33177117421))
    expect(c, ("SET k v PXAT 33177117420499", OK), ("EXPIRETIME k", 33177117420))


@pytest.mark.parametrize("command", SETTERS)
def test_a_time_not_in_the_future_deletes(c: Wire, command: str) -> None:
    for value in (moment(command, -10), 0, -1, -100000):
        assert c("SET", "k", "v") == OK
        assert c(command, "k", value) == 1
        assert c("EXISTS", "k") == 0
        assert c("DBSIZE") == 0
        assert c(command, "k", value) == 0


@pytest.mark.parametrize("command", SETTERS)
def test_conditions(c: Wire, command: str) -> None:
    assert c("SET", "k", "v") == OK
    near, middle, far = (moment(command, seconds) for seconds in (100, 200, 300))
    steps = [
        (middle, "XX", 0),
        (middle, "GT", 0),
        (middle, "NX", 1),
        (far, "NX", 0),
        (near, "GT", 0),
        (far, "LT", 0),
        (far, "GT", 1),
        (middle, "lt", 1),
        (near, "XX", 1),
        (middle, "xx", 1),
    ]
    for value, condition, reply in steps:
        assert c(command, "k", value, condition) == reply, (value, condition)
    assert c("TTL", "k") == Left(200)
    assert c(command, "k", near, "XX", "LT") == 1
    assert c(command, "k", far, "XX", "LT") == 0
    assert c(command, "k", far, "GT", "XX") == 1
    assert c("PERSIST", "k") == 1
    assert c(command, "k", near, "XX", "LT") == 0
    assert c(command, "k", near, "GT") == 0
    assert c(command, "k", near, "LT") == 1
    assert c(command, "k", near, "NX") == 0
    assert c(command, "absent", near, "NX") == 0


@pytest.mark.parametrize("command", SETTERS)
def test_a_condition_also_guards_a_time_in_the_past(c: Wire, command: str) -> None:
    past = moment(command, -100)
    assert c("SET", "k", "v", "EX", 100) == OK
    assert c(command, "k", past, "GT") == 0
    assert c(command, "k", past, "NX") == 0
    assert c(command, "k", past, "LT") == 1
    assert c("EXISTS", "k") == 0


@pytest.mark.parametrize(
    "probe",
    [
        ("GET", None),
        ("EXISTS", 0),
        ("TTL", -2),
        ("PTTL", -2),
        ("TYPE", "none"),
        ("STRLEN", 0),
        ("DEL", 0),
        ("UNLINK", 0),
        ("TOUCH", 0),
        ("PERSIST", 0),
        ("INCR", 1),
        ("GETDEL", None),
        ("DUMP", None),
        ("GETEX", None),
        ("EXPIRETIME", -2),
        ("MGET", [None]),
    ],
    ids=lambda probe: str(probe[0]),
)
def test_an_expired_key_is_absent_to(c: Wire, probe: tuple[str, object]) -> None:
    command, reply = probe
    assert c("SET", "k", "5", "PX", 1) == OK
    assert c("SET", "clock", "v", "PX", 2) == OK
    eventually(lambda: c("EXISTS", "clock") == 0)
    assert c(command, "k") == reply


def test_writers_find_an_expired_key_absent(c: Wire) -> None:
    def expired(key: str) -> None:
        assert c("SET", key, "old", "PX", 1) == OK
        eventually(lambda: c("PTTL", key) == -2)

    expired("k")
    expect(c, ("SETNX k new", 1), ("TTL k", -1))
    expired("k")
    expect(c, ("SET k v XX", None))
    expired("k")
    expect(c, ("APPEND k new", 3), ("GET k", b"new"), ("TTL k", -1))
    expired("k")
    expect(c, ("SETRANGE k 1 x", 2), ("GET k", b"\0x"))
    expired("k")
    expect(c, ("MSETNX k 1 l 2", 1))
    expired("k")
    expect(c, ("RENAME k other", Error("ERR no such key")), ("COPY k other", 0), ("MOVE k 1", 0))
    expired("k")
    expect(c, ("SET src v", OK), ("RENAMENX src k", 1), ("COPY k src", 1))
    expired("src")
    expect(c, ("COPY k src", 1), ("TTL src", -1))


def test_expired_keys_leave_without_being_touched(c: Wire) -> None:
    for i in range(300):
        assert c("SET", f"k{i}", "v", "PX", 1 + i % 30) == OK
    assert c("SET", "stays", "v") == OK
    eventually(lambda: c("DBSIZE") == 1)
    assert c("KEYS", "*") == [b"stays"]


def test_keys_expire_in_the_order_of_their_times(c: Wire) -> None:
    assert c("SET", "late", "v", "PX", 60) == OK
    assert c("SET", "early", "v", "PX", 20) == OK
    eventually(lambda: c("MGET", "early", "late")[0] is None)
    late = eventually(lambda: c("EXISTS", "late") == 0)
    assert late


def test_no_key_ends_before_its_time(c: Wire) -> None:
    begin = time.monotonic()
    assert c("SET", "k", "v", "PX", 40) == OK
    while c("EXISTS", "k"):
        pass
    assert time.monotonic() - begin >= 0.039


def test_a_new_expiry_replaces_the_old_one(c: Wire) -> None:
    steps = [("MULTI",), ("SET", "k", "v", "PX", 20), ("PEXPIRE", "k", 100_000), ("EXEC",)]
    assert c.pipeline(steps)[-1] == [OK, 1]
    assert c("SET", "clock", "v", "PX", 40) == OK
    eventually(lambda: c("EXISTS", "clock") == 0)
    assert c("GET", "k") == b"v"
    assert c.pipeline([("MULTI",), ("PEXPIRE", "k", 20), ("PERSIST", "k"), ("EXEC",)])[-1] == [1, 1]
    assert c("SET", "clock", "v", "PX", 40) == OK
    eventually(lambda: c("EXISTS", "clock") == 0)
    assert c("GET", "k") == b"v"


def test_expired_keys_are_counted(c: Wire, target: Target) -> None:
    def expired_keys() -> int:
        return int(info(target.connect(), "stats")["expired_keys"])

    before = expired_keys()
    for i in range(10):
        assert c("SET", f"k{i}", "v", "PX", 1) == OK
    eventually(lambda: c("DBSIZE") == 0)
    eventually(lambda: expired_keys() >= before + 10)


def test_every_database_expires(c: Wire) -> None:
    for database in range(16):
        assert c("SELECT", database) == OK
        assert c("SET", "k", "v", "PX", 5) == OK
    for database in range(16):
        assert c("SELECT", database) == OK
        eventually(lambda: c("DBSIZE") == 0)


def test_expiry_follows_a_swapped_database(c: Wire) -> None:
    expect(c, ("SELECT 1", OK), ("SET k v PX 30", OK), ("SWAPDB 1 2", OK), ("SELECT 2", OK))
    eventually(lambda: c("DBSIZE") == 0)
    expect(c, ("GET k", None), ("SELECT 1", OK), ("DBSIZE", 0))
