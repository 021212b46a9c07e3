"""DUMP and RESTORE: the peer's format in both directions."""

import time

import pytest
from tests.targets import Target
from tests.wire import NOT_AN_INTEGER, OK, SYNTAX, Error, Wire, eventually, expect

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


def test_known_payloads(c: Wire) -> None:
    """The payloads that Redis 8 writes for short values; others may be packed differently."""
    expect(
        c,
        ("SET k v", OK),
        ("DUMP k", b"\x00\x01v\x0c\x00Z~\xfar\xe3\x12\x14\x87"),
        ("SET k 12", OK),
        ("DUMP k", b'\x00\xc0\x0c\x0c\x00\xf7\\\xcc\x91\xa6."\x9c'),
        ("SET k -129", OK),
        ("DUMP k", b"\x00\xc1\x7f\xff\x0c\x00\xdc\x16\xb6\xe8\xae\xaa\x1a\xc9"),
        ("SET k 70000", OK),
        ("DUMP k", b"\x00\xc2p\x11\x01\x00\x0c\x00\xca\xd2<>o\x1a\x0b\xec"),
        ("SET k ''", OK),
        ("DUMP k", b"\x00\x00\x0c\x00\x96\xedh\x80\xf5U<\x93"),
        ("DUMP absent", None),
    )


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


def test_replace_and_other_options(c: Wire) -> None:
    assert c("SET", "k", "v") == OK
    payload = c("DUMP", "k")
    assert c("SET", "k", "other", "EX", 100) == OK
    assert c("RESTORE", "k", 0, payload) == BUSY
    assert c("RESTORE", "k", 0, payload, "replace") == OK
    assert c("GET", "k") == b"v"
    assert c("TTL", "k") == -1
    assert c("RESTORE", "k", 5000, payload, "REPLACE", "ABSTTL") == OK
    assert c("EXISTS", "k") == 0
    assert c("RESTORE", "k", 0, payload, "IDLETIME", 1000) == OK
    assert c("OBJECT", "IDLETIME", "k") in range(999, 1010)
    assert c("RESTORE", "k", 0, payload, "FREQ", 5, "REPLACE") == OK


def test_wrong_arguments_in_their_order(c: Wire) -> None:
    assert c("SET", "k", "v") == OK
    expect(
        c,
        ("RESTORE k 0 junk", BUSY),
        ("RESTORE k -1 junk", BUSY),
        ("RESTORE k x junk", BUSY),
        ("RESTORE k 0 junk FOO", SYNTAX),
        ("RESTORE x -1 junk", Error("ERR Invalid TTL value, must be >= 0")),
        ("RESTORE x x junk", NOT_AN_INTEGER),
        ("RESTORE x 0 junk", WRONG),
        ("RESTORE x 0 ''", WRONG),
        ("RESTORE x 0 junk REPLACE", WRONG),
        ("RESTORE x 0 junk FOO", SYNTAX),
        ("RESTORE x 0 junk IDLETIME", SYNTAX),
        ("RESTORE x 0 junk IDLETIME -1", Error("ERR Invalid IDLETIME value, must be >= 0")),
        ("RESTORE x 0 junk IDLETIME x", NOT_AN_INTEGER),
        ("RESTORE x 0 junk FREQ 256", Error("ERR Invalid FREQ value, must be >= 0 and <= 255")),
        ("RESTORE x 0 junk FREQ -1", Error("ERR Invalid FREQ value, must be >= 0 and <= 255")),
        ("RESTORE x 0 junk FREQ x", NOT_AN_INTEGER),
        ("RESTORE x 0 junk FREQ 5 IDLETIME 5", SYNTAX),
        ("EXISTS x", 0),
    )


def test_restore_asking_does_what_restore_does(c: Wire) -> None:
    assert c("SET", "k", "value") == OK
    dump = c("DUMP", "k")
    assert c("RESTORE-ASKING", "k", 0, dump) == BUSY
    assert c("RESTORE-ASKING", "k", 0, dump, "REPLACE") == OK
    assert c("RESTORE-ASKING", "other", 0, dump) == OK
    assert c("GET", "other") == b"value"


def test_every_flipped_bit_is_noticed(c: Wire) -> None:
    assert c("SET", "k", "some value") == OK
    payload = c("DUMP", "k")
    for position in range(len(payload)):
        for bit in range(8):
            broken = bytearray(payload)
            broken[position] ^= 1 << bit
            assert c("RESTORE", "x", 0, bytes(broken)) == WRONG, (position, bit)
    for length in range(len(payload)):
        assert c("RESTORE", "x", 0, payload[:length]) == WRONG
    assert c("RESTORE", "x", 0, payload + b"\0") == WRONG
    assert c("EXISTS", "x") == 0
