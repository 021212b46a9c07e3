"""SCAN: its options, and its guarantees while keys come and go and the index grows."""

import random
from collections import Counter

import pytest
from tests.wire import OK, Error, Wire

pytestmark = pytest.mark.all_servers

CURSOR = Error("ERR invalid cursor")


def scan_all(c: Wire, *options: str | int) -> list[bytes]:
    """A whole iteration, with repetitions as they come."""
    found: list[bytes] = []
    cursor = b"0"
    while True:
        cursor, keys = c("SCAN", cursor, *options)
        found += keys
        if cursor == b"0":
            return found


def fill(c: Wire, names: list[str]) -> None:
    assert set(c.pipeline([("SET", name, "v") for name in names])) <= {OK}


def test_an_empty_database_is_done_at_once(c: Wire) -> None:
    assert scan_all(c) == []
    assert scan_all(c, "COUNT", 1000) == []


@pytest.mark.parametrize("size", [1, 9, 10, 11, 100, 3000])
@pytest.mark.parametrize("count", [1, 10, 1000])
def test_every_key_comes_once_when_nothing_changes(c: Wire, size: int, count: int) -> None:
    if size == 3000 and count == 1:
        pytest.skip("3,000 round trips show nothing that 100 do not")
    names = [f"key:{i}" for i in range(size)]
    fill(c, names)
    assert Counter(scan_all(c, "COUNT", count)) == Counter(name.encode() for name in names)


def test_count_is_about_what_one_call_returns(c: Wire) -> None:
    fill(c, [f"key:{i}" for i in range(2000)])
    for count in (10, 100, 500):
        cursor, keys = c("SCAN", 0, "COUNT", count)
        assert cursor != b"0"
        assert len(keys) <= 3 * count + 32
    assert len(c("SCAN", 0)[1]) < 60
    assert len(scan_all(c, "COUNT", 9223372036854775807)) == 2000


def test_match_and_type(c: Wire) -> None:
    fill(c, [f"a:{i}" for i in range(50)] + [f"b:{i}" for i in range(50)])
    assert sorted(scan_all(c, "MATCH", "a:1?")) == sorted(f"a:{i}".encode() for i in range(10, 20))
    assert len(scan_all(c, "MATCH", "b:*", "COUNT", 7)) == 50
    assert len(scan_all(c, "TYPE", "string")) == 100
    assert len(scan_all(c, "type", "STRING", "match", "*1")) == 10
    assert scan_all(c, "TYPE", "list") == []
    assert scan_all(c, "TYPE", "nosuch") == []
    assert scan_all(c, "MATCH", "c*") == []
    assert len(scan_all(c, "MATCH", "*", "MATCH", "a:1")) == 1
    assert scan_all(c, "MATCH", "a:7") == [b"a:7"]


def test_a_hash_tag_in_the_pattern_changes_nothing(c: Wire) -> None:
    fill(c, ["{tag}1", "{tag}2", "{other}1", "tag"])
    assert sorted(scan_all(c, "MATCH", "{tag}*")) == [b"{tag}1", b"{tag}2"]


def test_only_the_selected_database_is_scanned(c: Wire) -> None:
    fill(c, ["zero"])
    assert c("SELECT", 3) == OK
    fill(c, ["three"])
    assert scan_all(c) == [b"three"]


def test_expired_keys_are_left_out(c: Wire) -> None:
    fill(c, [f"stays:{i}" for i in range(20)])
    for i in range(20):
        assert c("SET", f"goes:{i}", "v", "PX", 1) == OK
    assert c("SET", "clock", "v", "PX", 3) == OK
    while c("EXISTS", "clock"):
        pass
    assert sorted(scan_all(c)) == sorted(f"stays:{i}".encode() for i in range(20))


def test_any_cursor_is_taken(c: Wire) -> None:
    """A cursor that was never given out must not harm; what it finds is open."""
    fill(c, [f"key:{i}" for i in range(100)])
    for cursor in (1, 7, 12345, 2**32, 2**48, 2**63, 2**64 - 1):
        reply = c("SCAN", cursor, "COUNT", 5)
        assert isinstance(reply, list), reply
        assert int(reply[0]) < 2**64
    assert c("PING") == "PONG"


@pytest.mark.parametrize("seed", range(4))
def test_what_stays_all_the_time_is_found_while_others_come_and_go(c: Wire, seed: int) -> None:
    random_source = random.Random(seed)
    staying = {f"stays:{i}" for i in range(400)}
    fill(c, sorted(staying))
    passing = [f"passes:{i}" for i in range(2000)]
    found: set[bytes] = set()
    cursor = b"0"
    while True:
        cursor, keys = c("SCAN", cursor, "COUNT", 20)
        found.update(keys)
        if cursor == b"0":
            break
        batch = random_source.sample(passing, 60)
        c.pipeline([("SET", name, "v") if random_source.random() < 0.6 else ("DEL", name) for name in batch])
    assert {name.encode() for name in staying} <= found
    assert all(key.startswith((b"stays:", b"passes:")) for key in found)


@pytest.mark.parametrize("direction", ["grows", "shrinks"])
def test_nothing_is_missed_while_the_index(c: Wire, direction: str) -> None:
    staying = [f"stays:{i}" for i in range(200)]
    extra = [f"extra:{i}" for i in range(12_000)]
    fill(c, staying + (extra if direction == "shrinks" else []))
    found: set[bytes] = set()
    cursor = b"0"
    position = 0
    while True:
        cursor, keys = c("SCAN", cursor, "COUNT", 10 if direction == "grows" else 40)
        found.update(keys)
        if cursor == b"0":
            break
        batch = extra[position : position + 400]
        position += 400
        if batch:
            if direction == "grows":
                fill(c, batch)
            else:
                c("DEL", *batch)
    assert position > 0
    assert {name.encode() for name in staying} <= found


def test_a_key_removed_before_the_scan_never_comes(c: Wire) -> None:
    fill(c, [f"key:{i}" for i in range(500)])
    c("DEL", *[f"key:{i}" for i in range(0, 500, 2)])
    assert sorted(scan_all(c, "COUNT", 13)) == sorted(f"key:{i}".encode() for i in range(1, 500, 2))


def test_two_scans_do_not_disturb_each_other(c: Wire) -> None:
    fill(c, [f"key:{i}" for i in range(300)])
    cursors, found = [b"0", b"0"], [set[bytes](), set[bytes]()]
    running = {0, 1}
    while running:
        for which in sorted(running):
            cursors[which], keys = c("SCAN", cursors[which], "COUNT", 10 + 10 * which)
            found[which].update(keys)
            if cursors[which] == b"0":
                running.discard(which)
    assert len(found[0]) == len(found[1]) == 300
