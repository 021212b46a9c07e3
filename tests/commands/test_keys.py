"""Keys: existence, names, renaming, copying, databases."""

import pytest
from tests.wire import OK, Error, Left, Wire, expect

pytestmark = pytest.mark.all_servers

SAME = Error("ERR source and destination objects are the same")
DB_RANGE = Error("ERR DB index is out of range")
DB_NUMBER = Error("ERR value is out of range, value must between -2147483648 and 2147483647")


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


@pytest.mark.parametrize("how", ["", " ASYNC", " SYNC", " sync"])
def test_flush(c: Wire, how: str) -> None:
    for database in (0, 7):
        assert c("SELECT", database) == OK
        for i in range(50):
            assert c("SET", f"k{i}", "v") == OK
    expect(c, (f"FLUSHDB{how}", OK), ("DBSIZE", 0), ("SELECT 0", OK), ("DBSIZE", 50), (f"FLUSHALL{how}", OK))
    expect(c, ("DBSIZE", 0), ("GET k1", None), ("RANDOMKEY", None), ("SELECT 7", OK), ("SET k1 new", OK))
    expect(c, ("GET k1", b"new"), ("DBSIZE", 1))


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
