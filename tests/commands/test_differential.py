"""Random sequences of commands: our replies are the peer's, byte for byte.

Where two right servers may differ, replies are brought into one form first (`normalised`):
- KEYS and SCAN come in any order: sorted. SCAN is asked for everything at once; with several shards a first page may
  have a part of the keys and a cursor for the rest;
- RANDOMKEY: only whether there is one;
- OBJECT ENCODING: what Redis names depends on what the value has been through, so any of its three names will do;
- an error that quotes an argument ends in Redis where the argument has a zero byte: only its beginning counts then;
- times left and moments of expiry that follow from the clock: within half a minute of each other.
"""

from typing import Any

import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from tests.targets import Target
from tests.wire import Wire, encode

pytestmark = pytest.mark.all_servers

Request = tuple[bytes, ...]

KEYS = st.sampled_from([b"a", b"b", b"{t}c", b"{t}d", b"e"])
TEXTS = st.sampled_from([b"", b"x", b"hello world", b"\r\n\0\xff", b"z" * 50, b"abc" * 100, b"y" * 20_000])
NUMBERS = st.sampled_from(
    [
        b"0",
        b"1",
        b"-1",
        b"2",
        b"10",
        b"-7",
        b"100",
        b"9223372036854775807",
        b"-9223372036854775808",
        b"9223372036854775808",
    ]
)
FLOATS = st.sampled_from([b"0.5", b"-1.25", b"3", b"1e3", b"3.0e2", b"0.1", b"nan", b"inf", b"x"])
VALUES = st.one_of(TEXTS, NUMBERS, FLOATS)
JUNK = st.sampled_from([b"", b"x", b"1.5", b"NX", b"EX", b"-1", b"99999999999999999999", b" 1", b"1 ", b"0x1"])
INTEGERS = st.one_of(NUMBERS, JUNK)
OFFSETS = st.sampled_from([b"0", b"1", b"5", b"-1", b"-3", b"100", b"30000", b"-30000", b"x", b"9223372036854775807"])
SECONDS = st.sampled_from([b"100", b"5000", b"1000000", b"0", b"-1", b"9223372036854775807", b"x"])
MILLISECONDS = st.sampled_from([b"100000", b"5000000", b"1000000000", b"0", b"-1", b"9223372036854775807", b"x"])
MOMENTS = st.sampled_from([b"33177117420", b"1", b"0", b"-1", b"9223372036854775807", b"x"])
DATABASES = st.sampled_from([b"0", b"1", b"2", b"15", b"16", b"-1", b"x"])
PATTERNS = st.sampled_from([b"*", b"a", b"[ab]", b"{t}*", b"?", b"", b"[^a]", b"\\*", b"*c", b"[a-", b"x*"])


def words(*names: bytes) -> SearchStrategy[bytes]:
    return st.sampled_from([form for name in names for form in (name, name.lower())])


def request(name: bytes, *arguments: SearchStrategy[bytes], rest: SearchStrategy[list[bytes]] | None = None) -> Any:
    """A command with these arguments, and more of them from `rest`."""
    more = rest if rest is not None else st.just([])
    return st.tuples(st.tuples(*arguments), more).map(lambda parts: (name, *parts[0], *parts[1]))


def options(*choices: SearchStrategy[Any], most: int = 3) -> SearchStrategy[list[bytes]]:
    """Up to `most` options; one with an argument is a tuple."""
    return st.lists(st.one_of(*choices), max_size=most).map(
        lambda parts: [word for part in parts for word in (part if isinstance(part, tuple) else (part,))]
    )


TIMES_LEFT = st.one_of(st.tuples(words(b"EX"), SECONDS), st.tuples(words(b"PX"), MILLISECONDS))
TIMES_AT = st.tuples(words(b"EXAT", b"PXAT"), MOMENTS)
SET_OPTIONS = options(words(b"NX", b"XX", b"GET", b"KEEPTTL"), TIMES_LEFT, TIMES_AT, JUNK)
GETEX_OPTIONS = options(words(b"PERSIST"), TIMES_LEFT, TIMES_AT, JUNK, most=2)
EXPIRE_OPTIONS = options(words(b"NX", b"XX", b"GT", b"LT"), JUNK, most=2)
COPY_OPTIONS = options(words(b"REPLACE"), st.tuples(words(b"DB"), DATABASES), JUNK, most=2)
LCS_OPTIONS = options(
    words(b"LEN", b"IDX", b"WITHMATCHLEN"), st.tuples(words(b"MINMATCHLEN"), st.sampled_from([b"1", b"3", b"-1", b"x"]))
)
SCAN_OPTIONS = options(
    st.tuples(words(b"MATCH"), PATTERNS),
    st.tuples(words(b"TYPE"), st.sampled_from([b"string", b"list", b"x"])),
    JUNK,
    most=2,
)
MORE_KEYS = st.lists(KEYS, max_size=5)
MORE_PAIRS = st.lists(st.tuples(KEYS, VALUES), max_size=4).map(lambda items: [part for item in items for part in item])

STRINGS = [
    request(b"GET", KEYS),
    request(b"SET", KEYS, VALUES),
    request(b"SET", KEYS, VALUES, rest=SET_OPTIONS),
    request(b"SETNX", KEYS, VALUES),
    request(b"SETEX", KEYS, SECONDS, VALUES),
    request(b"PSETEX", KEYS, MILLISECONDS, VALUES),
    request(b"GETSET", KEYS, VALUES),
    request(b"GETDEL", KEYS),
    request(b"GETEX", KEYS, rest=GETEX_OPTIONS),
    request(b"MGET", KEYS, rest=MORE_KEYS),
    request(b"MSET", KEYS, VALUES, rest=MORE_PAIRS),
    request(b"MSETNX", KEYS, VALUES, rest=MORE_PAIRS),
    request(b"APPEND", KEYS, VALUES),
    request(b"STRLEN", KEYS),
    request(b"GETRANGE", KEYS, OFFSETS, OFFSETS),
    request(b"SUBSTR", KEYS, OFFSETS, OFFSETS),
    request(b"SETRANGE", KEYS, OFFSETS, VALUES),
    request(b"INCR", KEYS),
    request(b"DECR", KEYS),
    request(b"INCRBY", KEYS, INTEGERS),
    request(b"DECRBY", KEYS, INTEGERS),
    request(b"INCRBYFLOAT", KEYS, FLOATS),
    request(b"LCS", KEYS, KEYS, rest=LCS_OPTIONS),
]
BITS = st.sampled_from([b"0", b"1", b"2", b"x"])
BIT_OFFSETS = st.sampled_from([b"0", b"1", b"7", b"8", b"63", b"64", b"100", b"30000", b"-1", b"x", b"4294967296"])
FIELD_OFFSETS = st.one_of(BIT_OFFSETS, st.sampled_from([b"#0", b"#1", b"#3", b"#-1", b"#9223372036854775807"]))
ENCODINGS_OF_FIELDS = st.sampled_from([b"u8", b"i8", b"u1", b"i5", b"u63", b"i64", b"u64", b"i65", b"u0", b"x"])
FIELD_OPERATIONS = options(
    st.tuples(words(b"GET"), ENCODINGS_OF_FIELDS, FIELD_OFFSETS),
    st.tuples(words(b"SET"), ENCODINGS_OF_FIELDS, FIELD_OFFSETS, NUMBERS),
    st.tuples(words(b"INCRBY"), ENCODINGS_OF_FIELDS, FIELD_OFFSETS, NUMBERS),
    st.tuples(words(b"OVERFLOW"), words(b"WRAP", b"SAT", b"FAIL", b"x")),
    JUNK,
    most=5,
)
UNITS = options(words(b"BYTE", b"BIT", b"x"), most=1)
BITMAPS = [
    request(b"SETBIT", KEYS, BIT_OFFSETS, BITS),
    request(b"GETBIT", KEYS, BIT_OFFSETS),
    request(b"BITCOUNT", KEYS),
    request(b"BITCOUNT", KEYS, OFFSETS, OFFSETS, rest=UNITS),
    request(b"BITPOS", KEYS, BITS),
    request(b"BITPOS", KEYS, BITS, OFFSETS),
    request(b"BITPOS", KEYS, BITS, OFFSETS, OFFSETS, rest=UNITS),
    request(b"BITOP", words(b"AND", b"OR", b"XOR", b"NOT", b"x"), KEYS, KEYS, rest=MORE_KEYS),
    request(b"BITFIELD", KEYS, rest=FIELD_OPERATIONS),
    request(b"BITFIELD_RO", KEYS, rest=FIELD_OPERATIONS),
]
HYPERLOGLOGS = [
    request(b"PFADD", KEYS, rest=st.lists(st.integers(0, 5000).map(lambda number: b"%d" % number), max_size=60)),
    request(b"PFCOUNT", KEYS, rest=MORE_KEYS),
    request(b"PFMERGE", KEYS, rest=MORE_KEYS),
    request(b"PFDEBUG", words(b"TODENSE", b"ENCODING", b"DECODE"), KEYS),
]
KEY_COMMANDS = [
    request(b"DEL", KEYS, rest=MORE_KEYS),
    request(b"UNLINK", KEYS, rest=MORE_KEYS),
    request(b"EXISTS", KEYS, rest=MORE_KEYS),
    request(b"TOUCH", KEYS, rest=MORE_KEYS),
    request(b"TYPE", KEYS),
    request(b"EXPIRE", KEYS, SECONDS, rest=EXPIRE_OPTIONS),
    request(b"PEXPIRE", KEYS, MILLISECONDS, rest=EXPIRE_OPTIONS),
    request(b"EXPIREAT", KEYS, MOMENTS, rest=EXPIRE_OPTIONS),
    request(b"PEXPIREAT", KEYS, MOMENTS, rest=EXPIRE_OPTIONS),
    request(b"TTL", KEYS),
    request(b"PTTL", KEYS),
    request(b"EXPIRETIME", KEYS),
    request(b"PEXPIRETIME", KEYS),
    request(b"PERSIST", KEYS),
    request(b"RENAME", KEYS, KEYS),
    request(b"RENAMENX", KEYS, KEYS),
    request(b"COPY", KEYS, KEYS, rest=COPY_OPTIONS),
    request(b"MOVE", KEYS, DATABASES),
    request(b"KEYS", PATTERNS),
    request(b"SCAN", st.just(b"0"), st.just(b"COUNT"), st.just(b"1000"), rest=SCAN_OPTIONS),
    request(b"RANDOMKEY"),
    request(b"OBJECT", words(b"ENCODING"), KEYS),
    request(b"DBSIZE"),
]
SESSION = [
    request(b"SELECT", DATABASES),
    request(b"SWAPDB", DATABASES, DATABASES),
    request(b"FLUSHDB", rest=options(words(b"ASYNC", b"SYNC"), JUNK, most=1)),
    request(b"MULTI"),
    request(b"EXEC"),
    request(b"DISCARD"),
    request(b"WATCH", KEYS, rest=MORE_KEYS),
    request(b"UNWATCH"),
    request(b"ECHO", VALUES),
    request(b"PING"),
    request(b"COMMAND", words(b"GETKEYS"), st.just(b"MSET"), rest=MORE_PAIRS),
]
NAMES = words(
    b"GET",
    b"SET",
    b"DEL",
    b"MSET",
    b"MGET",
    b"EXPIRE",
    b"RENAME",
    b"INCRBY",
    b"SCAN",
    b"OBJECT",
    b"COPY",
    b"GETEX",
    b"NOSUCH",
)
WILD = st.tuples(NAMES, st.lists(st.one_of(KEYS, VALUES, JUNK), max_size=5)).map(lambda parts: (parts[0], *parts[1]))
REQUESTS: SearchStrategy[Request] = st.one_of(
    *STRINGS, *STRINGS, *KEY_COMMANDS, *KEY_COMMANDS, *SESSION, *BITMAPS, *HYPERLOGLOGS, WILD
)

CLOCK_SECONDS = 30
ENCODINGS = {b"$3\r\nint\r\n", b"$6\r\nembstr\r\n", b"$3\r\nraw\r\n"}
FROM_THE_CLOCK = {
    b"TTL": CLOCK_SECONDS,
    b"PTTL": CLOCK_SECONDS * 1000,
    b"EXPIRETIME": CLOCK_SECONDS,
    b"PEXPIRETIME": CLOCK_SECONDS * 1000,
}


def ask(c: Wire, requests: list[Request], resp: int) -> list[bytes]:
    """The bytes of every reply, beginning from an empty server and a fresh session."""
    c.pipeline([("RESET",), ("HELLO", resp), ("FLUSHALL",)])
    c.send_raw(b"".join(encode(*request) for request in requests))
    return [c.read_bytes() for _ in requests]


def is_number(raw: bytes) -> bool:
    return raw.startswith(b":") and raw[1:-2].lstrip(b"-").isdigit() and raw.count(b"\r\n") == 1


def same_page(ours: bytes, theirs: bytes) -> bool:
    """Whether two replies to SCAN have the same keys, or ours a part of them and a cursor for the rest."""
    one, two = split_array(ours), split_array(theirs)
    if one is None or two is None:
        return False
    mine, others = split_array(one[1]), split_array(two[1])
    if mine is None or others is None:
        return False
    if one[0] == two[0] == b"$1\r\n0\r\n":
        return sorted(mine) == sorted(others)
    return set(mine) <= set(others)


def is_key(raw: bytes) -> bool:
    return raw.startswith(b"$") and not raw.startswith(b"$-")


def same(request: Request, ours: bytes, theirs: bytes) -> bool:
    """Whether two replies to a request say the same."""
    name = request[0].upper()
    if ours == theirs:
        return True
    if name in FROM_THE_CLOCK and is_number(ours) and is_number(theirs):
        one, two = int(ours[1:]), int(theirs[1:])
        return one > 0 and two > 0 and abs(one - two) <= FROM_THE_CLOCK[name]
    if name == b"KEYS":
        return sorted(ours.split(b"\r\n")) == sorted(theirs.split(b"\r\n"))
    if name == b"SCAN":
        return same_page(ours, theirs)
    if any(b"\0" in argument for argument in request) and ours[:1] == theirs[:1] == b"-":
        return ours.split()[:2] == theirs.split()[:2]
    if name == b"OBJECT":
        return {ours, theirs} <= ENCODINGS
    if name == b"RANDOMKEY":
        return is_key(ours) and is_key(theirs)
    return False


def same_transaction(queued: list[Request], ours: bytes, theirs: bytes) -> bool:
    """As `same`, for every reply inside the array of EXEC."""
    one, two = split_array(ours), split_array(theirs)
    if one is None or two is None or len(one) != len(two) or len(one) != len(queued):
        return ours == theirs
    return all(same(*parts) for parts in zip(queued, one, two, strict=True))


def split_array(raw: bytes) -> list[bytes] | None:
    """The bytes of each element of an array reply."""
    if not raw.startswith(b"*") or raw.startswith(b"*-1"):
        return None
    head = raw.index(b"\r\n") + 2
    reader = BytesReader(raw[head:])
    return [reader.read_bytes() for _ in range(int(raw[1 : head - 2]))]


class BytesReader(Wire):
    """Reads replies out of bytes at hand."""

    def __init__(self, data: bytes) -> None:
        self._buffer = bytearray(data)
        self._at = 0


def compare(requests: list[Request], ours: list[bytes], theirs: list[bytes]) -> None:
    queued: list[Request] = []
    for request, one, two in zip(requests, ours, theirs, strict=True):
        if two == b"+QUEUED\r\n":
            queued.append(request)
            assert one == two, request
            continue
        name = request[0].upper()
        equal = same_transaction(queued, one, two) if name == b"EXEC" else same(request, one, two)
        if not equal:
            note(f"at {request}: ours {one!r}, the peer's {two!r}")
        assert equal, (request, one, two)
        if name in (b"EXEC", b"DISCARD"):
            queued = []


@given(requests=st.lists(REQUESTS, min_size=1, max_size=40))
def test_replies_are_those_of_redis(target: Target, peer: Target, resp: int, requests: list[Request]) -> None:
    with Wire(target.host, target.port) as ours, Wire(peer.host, peer.port) as theirs:
        replies = ask(ours, requests, resp)
        compare(requests, replies, ask(theirs, requests, resp))


COVERING_THE_OWN_SHARD = (b"DBSIZE", b"KEYS", b"RANDOMKEY", b"SCAN")


@pytest.mark.both_protocols
@given(requests=st.lists(REQUESTS, min_size=1, max_size=40))
def test_a_session_is_the_same_through_every_worker(node3: Target, resp: int, requests: list[Request]) -> None:
    """Which worker a client is connected to changes no reply, but of what covers the own shard on an own port."""
    requests = [request for request in requests if request[0].upper() not in COVERING_THE_OWN_SHARD]
    replies = []
    for port in node3.worker_ports:
        with Wire(node3.host, port) as c:
            replies.append(ask(c, requests, resp))
    for other in replies[1:]:
        compare(requests, other, replies[0])
