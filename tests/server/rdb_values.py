"""Keys of all types and encodings, and all that can be read of them."""

from typing import Any

from tests.wire import OK, Wire, pairs

LIBRARY = "#!lua name=lib\nredis.register_function('twice', function(keys, args) return args[1] * 2 end)"
LATER_MS = 4_102_444_800_000
"""The year 2100."""


def fill(c: Wire, *, with_field_times: bool = True) -> None:
    """Sets keys of all types and encodings, in several databases, and a library of functions.

    Not every server knows of fields that expire.
    """
    texts = [b"", b"text", b"12", b"-40000", b"3000000000", bytes(range(256)) * 10, b"again and again " * 500]
    for number, value in enumerate(texts):
        assert c("SET", f"text:{number}", value) == OK
    assert c("SET", "expires", "1", "PXAT", LATER_MS) == OK
    c("RPUSH", "list", "a", "1", "-5", b"\x00\xff", "x" * 100)
    c("RPUSH", "long list", *[f"element {number}" for number in range(3000)], "y" * 20_000)
    c("SADD", "integers", *range(-10, 300))
    c("SADD", "words", "a", "b", "1")
    c("SADD", "many words", *[f"word:{number}" for number in range(1000)])
    c("ZADD", "scores", "1", "one", "2.5", "two", "inf", "most", "-inf", "least", "1e300", "large")
    c("ZADD", "many scores", *[part for number in range(1000) for part in (number / 7, f"member:{number}")])
    c("HSET", "hash", "field", "value", "number", "17")
    c("HSET", "long hash", *[part for number in range(1000) for part in (f"field:{number}", "z" * (number % 90))])
    for key, fields in (("timed hash", 3), ("long timed hash", 1000)):
        c("HSET", key, *[part for number in range(fields) for part in (f"field:{number}", number)])
        if with_field_times:
            assert c("HPEXPIREAT", key, LATER_MS, "FIELDS", 2, "field:0", "field:1") == [1, 1]
    for number in range(1, 500):
        c("XADD", "stream", f"{number}-1", "field", f"value {number}", "other", number)
    c("XDEL", "stream", "7-1", "499-1")
    assert c("XGROUP", "CREATE", "stream", "group", "0") == OK
    assert c("XGROUP", "CREATE", "stream", "idle group", "$") == OK
    c("XREADGROUP", "GROUP", "group", "first", "COUNT", "5", "STREAMS", "stream", ">")
    c("XREADGROUP", "GROUP", "group", "second", "COUNT", "3", "STREAMS", "stream", ">")
    c("XACK", "stream", "group", "2-1")
    assert c("XADD", "empty stream", "1-1", "a", "b") == b"1-1"
    c("XDEL", "empty stream", "1-1")
    for db in (3, 15):
        assert c("SELECT", db) == OK
        assert c("SET", "elsewhere", db) == OK
    assert c("SELECT", 0) == OK
    assert c("FUNCTION", "LOAD", "REPLACE", LIBRARY) == b"lib"


def everything(c: Wire, *, with_field_times: bool = True) -> dict[str, Any]:
    """All that can be read, whatever the server."""
    found: dict[str, Any] = {"functions": [pairs(row)[b"library_code"] for row in c("FUNCTION", "LIST", "WITHCODE")]}
    for db in range(16):
        assert c("SELECT", db) == OK
        for key in sorted(c("KEYS", "*")):
            found[f"{db} {key!r}"] = (c("PEXPIRETIME", key), *_value(c, key, with_field_times))
    assert c("SELECT", 0) == OK
    return found


def _value(c: Wire, key: bytes, with_field_times: bool) -> tuple[str, Any]:
    kind = c("TYPE", key)
    match kind:
        case "string":
            return kind, c("GET", key)
        case "list":
            return kind, c("LRANGE", key, 0, -1)
        case "set":
            return kind, sorted(c("SMEMBERS", key))
        case "zset":
            return kind, c("ZRANGE", key, 0, -1, "WITHSCORES")
        case "hash":
            fields = sorted(c("HKEYS", key))
            times = c("HPEXPIRETIME", key, "FIELDS", len(fields), *fields) if with_field_times else None
            return kind, (fields, c("HMGET", key, *fields), times)
        case "stream":
            return kind, _stream(c, key)
    raise AssertionError(f"{key!r} is a {kind}")


def _stream(c: Wire, key: bytes) -> list[Any]:
    about = pairs(c("XINFO", "STREAM", key))
    numbers = (b"length", b"last-generated-id", b"max-deleted-entry-id", b"entries-added", b"recorded-first-entry-id")
    told: list[Any] = [about[name] for name in numbers]
    told.append(c("XRANGE", key, "-", "+"))
    for group in map(pairs, c("XINFO", "GROUPS", key)):
        name = group[b"name"]
        told.append([group[part] for part in (b"name", b"last-delivered-id", b"entries-read", b"pending", b"lag")])
        told.append(sorted(pairs(row)[b"name"] for row in c("XINFO", "CONSUMERS", key, name)))
        pending = c("XPENDING", key, name, "-", "+", 100)
        told.append([(row[0], row[1], row[3]) for row in pending])
    return told
