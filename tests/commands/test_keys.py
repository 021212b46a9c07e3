"""Keys: existence, names, renaming, copying, databases."""

import pytest
from tests.targets import Target
from tests.wire import NO_SUCH_KEY, NOT_AN_INTEGER, OK, SYNTAX, Error, Left, Wire, expect

SAME = Error("ERR source and destination objects are the same")
DB_RANGE = Error("ERR DB index is out of range")
DB_NUMBER = Error("ERR value is out of range, value must between -2147483648 and 2147483647")


def test_del_unlink_exists_touch_count(c: Wire) -> None:
    expect(
        c,
        ("MSET a 1 b 2 c 3 d 4", OK),
        ("EXISTS a", 1),
        ("EXISTS a a b absent", 3),
        ("TOUCH a absent a", 2),
        ("DEL a a absent", 1),
        ("UNLINK b c c absent", 2),
        ("DBSIZE", 1),
        ("DEL absent", 0),
    )


def test_type(c: Wire) -> None:
    expect(c, ("SET k v", OK), ("SET n 1", OK), ("TYPE k", "string"), ("TYPE n", "string"), ("TYPE absent", "none"))


def test_rename(c: Wire) -> None:
    expect(
        c,
        ("SET a 1 EX 100", OK),
        ("SET b 2 EX 5000", OK),
        ("RENAME a b", OK),
        ("EXISTS a", 0),
        ("GET b", b"1"),
        ("TTL b", Left(100)),
        ("RENAME absent b", NO_SUCH_KEY),
        ("RENAME b b", OK),
        ("GET b", b"1"),
        ("RENAME absent absent", NO_SUCH_KEY),
        ("SET c 3", OK),
        ("SET d 4 EX 100", OK),
        ("RENAME c d", OK),
        ("TTL d", -1),
        ("GET d", b"3"),
    )


def test_renamenx(c: Wire) -> None:
    expect(
        c,
        ("MSET a 1 b 2", OK),
        ("RENAMENX a b", 0),
        ("GET b", b"2"),
        ("RENAMENX a c", 1),
        ("MGET a b c", [None, b"2", b"1"]),
        ("RENAMENX absent x", NO_SUCH_KEY),
        ("RENAMENX c c", 0),
        ("RENAMENX absent absent", NO_SUCH_KEY),
    )


def test_rename_between_many_places(c: Wire) -> None:
    """With several shards most of these names lie apart."""
    for i in range(60):
        assert c("SET", f"from:{i}", "v" * i, "EX", 1000 + 10 * i) == OK
        assert c("RENAME", f"from:{i}", f"to:{i}") == OK
        assert c("GET", f"to:{i}") == b"v" * i
        assert c("TTL", f"to:{i}") == Left(1000 + 10 * i)
        assert c("EXISTS", f"from:{i}") == 0
        assert c("COPY", f"to:{i}", f"copy:{i}") == 1
        assert c("RENAMENX", f"to:{i}", f"copy:{i}") == 0
        assert c("RENAMENX", f"to:{i}", f"again:{i}") == 1
    assert c("DBSIZE") == 120


def test_copy(c: Wire) -> None:
    expect(
        c,
        ("SET a 1 EX 100", OK),
        ("COPY a b", 1),
        ("GET b", b"1"),
        ("TTL b", Left(100)),
        ("SET a 2", OK),
        ("COPY a b", 0),
        ("GET b", b"1"),
        ("COPY a b REPLACE", 1),
        ("GET b", b"2"),
        ("TTL b", -1),
        ("COPY absent b", 0),
        ("COPY absent b REPLACE", 0),
        ("GET b", b"2"),
        ("COPY a a", SAME),
        ("COPY a a REPLACE", SAME),
        ("COPY a a DB 0", SAME),
        ("COPY a a DB 3", 1),
        ("COPY a c DB 3 REPLACE", 1),
        ("COPY a c DB 3", 0),
        ("COPY a c replace db 3", 1),
        ("COPY a c DB 16", DB_RANGE),
        ("COPY a c DB -1", DB_RANGE),
        ("COPY a c DB x", NOT_AN_INTEGER),
        ("COPY a c DB 99999999999", DB_NUMBER),
        ("COPY a c DB", SYNTAX),
        ("COPY a c FOO", SYNTAX),
        ("COPY absent absent", SAME),
        ("SELECT 3", OK),
        ("MGET a b c", [b"2", None, b"2"]),
    )


def test_move(c: Wire) -> None:
    expect(
        c,
        ("SET k v EX 100", OK),
        ("MOVE k 1", 1),
        ("EXISTS k", 0),
        ("MOVE k 1", 0),
        ("SET k w", OK),
        ("MOVE k 1", 0),
        ("GET k", b"w"),
        ("MOVE k 0", SAME),
        ("MOVE absent 0", SAME),
        ("MOVE k 16", DB_RANGE),
        ("MOVE k -1", DB_RANGE),
        ("MOVE k x", NOT_AN_INTEGER),
        ("MOVE k 99999999999", DB_NUMBER),
        ("SELECT 1", OK),
        ("GET k", b"v"),
        ("TTL k", Left(100)),
    )


def test_databases_are_apart(c: Wire) -> None:
    expect(
        c,
        ("SET k zero", OK),
        ("SELECT 9", OK),
        ("GET k", None),
        ("SET k nine", OK),
        ("DBSIZE", 1),
        ("SELECT 0", OK),
        ("GET k", b"zero"),
        ("SELECT 16", DB_RANGE),
        ("SELECT -1", DB_RANGE),
        ("SELECT x", Error("ERR value is not an integer or out of range")),
        ("SELECT 9223372036854775807", DB_NUMBER),
        ("GET k", b"zero"),
        ("SELECT 15", OK),
        ("FLUSHDB", OK),
        ("SELECT 9", OK),
        ("GET k", b"nine"),
        ("FLUSHDB", OK),
        ("DBSIZE", 0),
        ("SELECT 0", OK),
        ("DBSIZE", 1),
    )


def test_swapdb(c: Wire) -> None:
    expect(
        c,
        ("MSET a 1 b 2", OK),
        ("SELECT 1", OK),
        ("SET a one EX 100", OK),
        ("SWAPDB 0 1", OK),
        ("MGET a b", [b"1", b"2"]),
        ("DBSIZE", 2),
        ("SELECT 0", OK),
        ("MGET a b", [b"one", None]),
        ("TTL a", Left(100)),
        ("SWAPDB 1 1", OK),
        ("SWAPDB x 1", Error("ERR invalid first DB index")),
        ("SWAPDB 1 x", Error("ERR invalid second DB index")),
        ("SWAPDB 0 16", DB_RANGE),
        ("SWAPDB -1 0", DB_RANGE),
        ("SWAPDB 0 99999999999", Error("ERR invalid second DB index")),
        ("GET a", b"one"),
        ("SWAPDB 1 0", OK),
        ("GET a", b"1"),
    )


def test_swapdb_is_seen_by_other_connections(c: Wire, target: Target) -> None:
    other = target.connect()
    assert other("SELECT", 2) == OK
    assert c("SET", "k", "zero") == OK
    assert other("SET", "k", "two") == OK
    assert c("SWAPDB", 0, 2) == OK
    assert c("GET", "k") == b"two"
    assert other("GET", "k") == b"zero"


@pytest.mark.parametrize("how", ["", " ASYNC", " SYNC", " sync"])
def test_flush(c: Wire, how: str) -> None:
    for database in (0, 7):
        assert c("SELECT", database) == OK
        for i in range(50):
            assert c("SET", f"k{i}", "v") == OK
    expect(c, (f"FLUSHDB{how}", OK), ("DBSIZE", 0), ("SELECT 0", OK), ("DBSIZE", 50), (f"FLUSHALL{how}", OK))
    expect(c, ("DBSIZE", 0), ("GET k1", None), ("RANDOMKEY", None), ("SELECT 7", OK), ("SET k1 new", OK))
    expect(c, ("GET k1", b"new"), ("DBSIZE", 1))


def test_flush_refuses_other_words(c: Wire) -> None:
    expect(
        c, ("FLUSHDB x", SYNTAX), ("FLUSHALL x", SYNTAX), ("FLUSHALL SYNC ASYNC", SYNTAX), ("FLUSHDB SYNC x", SYNTAX)
    )


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", ["hallo", "hello", "hexllo", "hllo", "h[llo", "hxllo", "other"]),
        ("h?llo", ["hallo", "hello", "h[llo", "hxllo"]),
        ("h*llo", ["hallo", "hello", "hexllo", "hllo", "h[llo", "hxllo"]),
        ("h[ae]llo", ["hallo", "hello"]),
        ("h[^e]llo", ["hallo", "h[llo", "hxllo"]),
        ("h[a-e]llo", ["hallo", "hello"]),
        ("h[e-a]llo", ["hallo", "hello"]),
        (r"h\[llo", ["h[llo"]),
        ("h[", []),
        ("o**r", ["other"]),
        ("*e*o*", ["hello", "hexllo"]),
        ("?????", ["hallo", "hello", "h[llo", "hxllo", "other"]),
        ("other", ["other"]),
        ("othe", []),
        ("other?", []),
        ("other*", ["other"]),
        ("[o]*", ["other"]),
        ("", []),
        ("HELLO", []),
        ("h[[]llo", ["h[llo"]),
        (r"h[\[]llo", ["h[llo"]),
        ("h[x", []),
    ],
)
def test_keys_by_pattern(c: Wire, pattern: str, names: list[str]) -> None:
    for name in ["hallo", "hello", "hexllo", "hllo", "h[llo", "hxllo", "other"]:
        assert c("SET", name, "v") == OK
    assert sorted(c("KEYS", pattern)) == sorted(name.encode() for name in names)


def test_keys_leaves_out_other_databases_and_the_expired(c: Wire) -> None:
    expect(c, ("SELECT 4", OK), ("SET four v", OK), ("SELECT 0", OK), ("SET zero v", OK), ("SET gone v PXAT 1", OK))
    assert c("KEYS", "*") == [b"zero"]


def test_randomkey_finds_every_key(c: Wire) -> None:
    assert c("RANDOMKEY") is None
    names = {f"k{i}".encode() for i in range(5)}
    for name in names:
        assert c("SET", name, "v") == OK
    seen = {c("RANDOMKEY") for _ in range(300)}
    assert seen == names


def test_randomkey_never_gives_an_expired_key(c: Wire) -> None:
    assert c("SET", "lasting", "v") == OK
    for i in range(20):
        assert c("SET", f"gone{i}", "v", "PX", 1) == OK
    assert c("SET", "probe", "v", "PX", 3) == OK
    while c("EXISTS", "probe"):
        pass
    assert {c("RANDOMKEY") for _ in range(20)} == {b"lasting"}


def test_dbsize_follows_every_change(c: Wire) -> None:
    expect(
        c,
        ("DBSIZE", 0),
        ("MSET a 1 b 2 c 3", OK),
        ("DBSIZE", 3),
        ("SET a 2", OK),
        ("DBSIZE", 3),
        ("RENAME a d", OK),
        ("DBSIZE", 3),
        ("RENAME d b", OK),
        ("DBSIZE", 2),
        ("COPY b e", 1),
        ("DBSIZE", 3),
        ("GETDEL e", b"2"),
        ("DBSIZE", 2),
        ("EXPIRE b -1", 1),
        ("DBSIZE", 1),
    )
