"""SET and all its options."""

import time

from tests.wire import OK, Error, Left, Wire, eventually, expect

EXPIRE = Error("ERR invalid expire time in 'set' command")


def test_expiry_options(c: Wire) -> None:
    expect(
        c,
        ("SET k v EX 100", OK),
        ("TTL k", Left(100)),
        ("SET k v PX 100000", OK),
        ("TTL k", Left(100)),
        ("SET k v EXAT 33177117420", OK),
        ("EXPIRETIME k", 33177117420),
        ("SET k v PXAT 33177117420001", OK),
        ("PEXPIRETIME k", 33177117420001),
        ("SET k w KEEPTTL", OK),
        ("PEXPIRETIME k", 33177117420001),
        ("SET k v", OK),
        ("TTL k", -1),
        ("SET k v KEEPTTL", OK),
        ("TTL k", -1),
        ("SET fresh v KEEPTTL", OK),
        ("TTL fresh", -1),
        ("SET k v ex 10 nx", None),
        ("TTL k", -1),
        ("SET k v XX pX 10000", OK),
        ("TTL k", Left(10)),
    )


def test_a_time_in_the_past_is_taken_and_the_key_is_gone(c: Wire) -> None:
    expect(
        c,
        ("SET k v EXAT 1", OK),
        ("GET k", None),
        ("SET k v", OK),
        ("SET k w PXAT 1 GET", b"v"),
        ("GET k", None),
    )
    eventually(lambda: c("DBSIZE") == 0)


def test_a_short_expiry_ends_the_key(c: Wire) -> None:
    assert c("SET", "k", "v", "PX", 15) == OK
    assert c("GET", "k") in (b"v", None)
    eventually(lambda: c("GET", "k") is None)
    assert c("SET", "k", "w", "NX") == OK
    assert c("TTL", "k") == -1


def test_an_expired_key_does_not_keep_its_ttl(c: Wire) -> None:
    assert c("SET", "k", "v", "PX", 1) == OK
    eventually(lambda: c("EXISTS", "k") == 0)
    assert c("SET", "k", "w", "KEEPTTL") == OK
    assert c("TTL", "k") == -1


def test_pxat_is_absolute(c: Wire) -> None:
    soon = int(time.time() * 1000) + 60_000
    assert c("SET", "k", "v", "PXAT", soon) == OK
    assert c("PEXPIRETIME", "k") == soon
    left = c("PTTL", "k")
    assert 55_000 < left <= 60_000


def test_options_may_come_twice_where_they_do_not_clash(c: Wire) -> None:
    expect(
        c,
        ("SET k v NX NX", OK),
        ("SET k v EX 10 EX 20", OK),
        ("TTL k", Left(20)),
        ("SET k w GET GET XX", b"v"),
        ("SET k x KEEPTTL KEEPTTL", OK),
        ("GET k", b"x"),
    )
