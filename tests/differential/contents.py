"""All that a server keeps, in one form for servers that keep the same."""

from typing import Any

from tests.differential.replies import CLOCK_MS, ID_NOW
from tests.wire import Wire, encode

DATABASES = (0, 1, 2, 15)
Contents = dict[tuple[int, bytes], "Key"]

_READS: dict[str, list[tuple[bytes, ...]]] = {
    "string": [(b"GET", b"@")],
    "list": [(b"LRANGE", b"@", b"0", b"-1")],
    "set": [(b"SMEMBERS", b"@")],
    "zset": [(b"ZRANGE", b"@", b"0", b"-1", b"WITHSCORES"), (b"ZREVRANGE", b"@", b"0", b"-1")],
    "hash": [(b"HGETALL", b"@")],
    "stream": [(b"XRANGE", b"@", b"-", b"+"), (b"XINFO", b"STREAM", b"@"), (b"XINFO", b"GROUPS", b"@")],
}


# Encodings in one piece, which Redis leaves for good where a request might have made a large value, or where SORT and
# some others have looked at it.
_PACKED = {b"listpack", b"listpackex", b"intset"}
# The last moment at which a key can expire here.
_LAST_MS = (1 << 48) - 1


class Key:
    """A key: type, encoding, moment of expiry, contents."""

    def __init__(self, kind: str, encoding: Any, expires: int, value: Any, *, times: Any = None) -> None:
        self.kind = kind
        self.encoding = encoding
        self.expires = expires
        self.value = value
        self.times = times

    def __repr__(self) -> str:
        return f"{self.kind} as {self.encoding!r} until {self.expires}: {self.value!r} {self.times or ''}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Key):
            return False
        same = (self.kind, self.value) == (other.kind, other.value)
        return same and _near(self.expires, other.expires) and _near_all(self.times, other.times)

    def is_packed_as(self, redis: "Key") -> bool:
        """Whether it is in one piece where Redis has that."""
        goes_by_the_past = self.kind in ("list", "set")
        return goes_by_the_past or self.encoding in _PACKED or redis.encoding not in _PACKED

    __hash__ = None  # type: ignore[assignment]


def _near(one: int, two: int) -> bool:
    one, two = min(one, _LAST_MS), min(two, _LAST_MS)
    return one == two or (one > 0 and two > 0 and abs(one - two) <= CLOCK_MS)


def _near_all(one: Any, two: Any) -> bool:
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_near(one[name], two[name]) for name in one)
    return bool(one == two)


def _asked(c: Wire, requests: list[tuple[bytes, ...]]) -> list[Any]:
    return c.exchange(b"".join(encode(*request) for request in requests), len(requests))


def hidden(reply: Any) -> Any:
    """The reply with one word for all ids by the clock."""
    if isinstance(reply, list):
        return [hidden(part) for part in reply]
    return b"now" if isinstance(reply, bytes) and ID_NOW.match(reply) else reply


def contents(c: Wire) -> Contents:
    """What the server keeps. The connection speaks RESP2."""
    found: Contents = {}
    for database in DATABASES:
        _, keys = _asked(c, [(b"SELECT", b"%d" % database), (b"KEYS", b"*")])
        for key in keys:
            found[database, key] = _key(c, key)
    _asked(c, [(b"SELECT", b"0")])
    return found


def _key(c: Wire, key: bytes) -> Key:
    kind, encoding, expires = _asked(c, [(b"TYPE", key), (b"OBJECT", b"ENCODING", key), (b"PEXPIRETIME", key)])
    reads = [tuple(key if word == b"@" else word for word in request) for request in _READS.get(kind, [])]
    replies = _asked(c, reads)
    if kind == "set":
        return Key(kind, encoding, expires, sorted(replies[0]))
    if kind == "hash":
        fields = dict(zip(replies[0][::2], replies[0][1::2], strict=True))
        names = sorted(fields)
        (times,) = _asked(c, [(b"HPEXPIRETIME", key, b"FIELDS", b"%d" % len(names), *names)]) if names else [None]
        return Key(kind, encoding, expires, fields, times=dict(zip(names, times, strict=True)) if times else times)
    if kind == "zset":
        replies = [[b"0" if part == b"-0" else part for part in reply] for reply in replies]
    if kind == "stream":
        replies = hidden(replies)
        # How the entries lie in nodes is nobody's business; all else is.
        about = dict(zip(replies[1][::2], replies[1][1::2], strict=True))
        del about[b"radix-tree-keys"], about[b"radix-tree-nodes"]
        replies[1] = sorted(about.items())
    return Key(kind, encoding, expires, replies)


def dumps(c: Wire, keys: Contents) -> dict[bytes, bytes]:
    """The dump of each key, by database and name in one."""
    made: dict[bytes, bytes] = {}
    for database, key in keys:
        _, dump = _asked(c, [(b"SELECT", b"%d" % database), (b"DUMP", key)])
        if dump is not None:
            made[b"%d:%s" % (database, key)] = dump
    _asked(c, [(b"SELECT", b"0")])
    return made


def restored(c: Wire, made: dict[bytes, bytes]) -> Contents:
    """What the server keeps after these dumps alone were restored."""
    _asked(c, [(b"FLUSHALL",)])
    replies = _asked(c, [(b"RESTORE", key, b"0", dump) for key, dump in made.items()])
    for key, reply in zip(made, replies, strict=True):
        assert reply == "OK", f"RESTORE of {key!r}: {reply}, the dump {made[key]!r}"
    return contents(c)
