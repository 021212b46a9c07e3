"""DUMP and RESTORE: the peer's format in both directions."""

import time

import pytest
from tests.targets import Target
from tests.wire import OK, Error, Wire, eventually

pytestmark = pytest.mark.all_servers

WRONG = Error("ERR DUMP payload version or checksum are wrong")
BUSY = Error("BUSYKEY Target key name already exists.")
VALUES = [
    b"",
    b"v",
    b"12",
    b"-129",
    b"127",
    b"128",
    b"-128",
    b"32767",
    b"32768",
    b"70000",
    b"2147483647",
    b"2147483648",
    b"-2147483648",
    b"-2147483649",
    b"9223372036854775807",
    b"007",
    b"a" * 57,
    b"abc" * 1000,
    bytes(range(256)),
    bytes(range(256)) * 80,
    b"x" * 63,
    b"y" * 64,
    b"z" * 16383,
    b"z" * 16384,
    b"q" * 70_000,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{len(value)}:{value[:12]!r}")
def test_there_and_back(c: Wire, value: bytes) -> None:
    assert c("SET", "k", value, "EX", 100) == OK
    payload = c("DUMP", "k")
    assert c("RESTORE", "copy", 0, payload) == OK
    assert c("GET", "copy") == value
    assert c("TTL", "copy") == -1


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{len(value)}:{value[:12]!r}")
def test_across_servers(c: Wire, peer: Target, value: bytes) -> None:
    """What one dumps the other restores."""
    other = peer.connect()
    assert other("SET", "across:there", value) == OK
    assert c("RESTORE", "across:back", 0, other("DUMP", "across:there")) == OK
    assert c("GET", "across:back") == value
    assert other("RESTORE", "across:again", 0, c("DUMP", "across:back")) == OK
    assert other("GET", "across:again") == value
    assert other("OBJECT", "ENCODING", "across:again") == c("OBJECT", "ENCODING", "across:back")


def test_ttl_options(c: Wire) -> None:
    assert c("SET", "k", "v") == OK
    payload = c("DUMP", "k")
    assert c("RESTORE", "a", 100_000, payload) == OK
    assert 90_000 < c("PTTL", "a") <= 100_000
    assert c("RESTORE", "b", 33177117420123, payload, "ABSTTL") == OK
    assert c("PEXPIRETIME", "b") == 33177117420123
    assert c("RESTORE", "d", int(time.time() * 1000) - 5000, payload, "ABSTTL") == OK
    assert c("EXISTS", "d") == 0
    assert c("RESTORE", "e", 0, payload, "ABSTTL") == OK
    assert c("TTL", "e") == -1
    assert c("RESTORE", "f", 1, payload) == OK
    eventually(lambda: c("EXISTS", "f") == 0)


def test_restore_asking_does_what_restore_does(c: Wire) -> None:
    assert c("SET", "k", "value") == OK
    dump = c("DUMP", "k")
    assert c("RESTORE-ASKING", "k", 0, dump) == BUSY
    assert c("RESTORE-ASKING", "k", 0, dump, "REPLACE") == OK
    assert c("RESTORE-ASKING", "other", 0, dump) == OK
    assert c("GET", "other") == b"value"
