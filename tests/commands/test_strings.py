"""Strings: reading, writing, counting."""

import pytest
from tests.targets import Target
from tests.wire import NOT_A_FLOAT, NOT_AN_INTEGER, OK, SYNTAX, Double, Error, Left, MapReply, Wire, expect

OVERFLOW = Error("ERR increment or decrement would overflow")
TOO_LONG = Error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
OFFSET = Error("ERR offset is out of range")


def test_get_of_an_absent_key_is_null(c: Wire) -> None:
    expect(c, ("GET absent", None), ("STRLEN absent", 0), ("GETRANGE absent 0 -1", b""))


def test_null_has_the_bytes_of_its_protocol(c: Wire, resp: int) -> None:
    c.send("GET", "absent")
    assert c.read_bytes() == (b"$-1\r\n" if resp == 2 else b"_\r\n")


@pytest.mark.parametrize(
    "value",
    [b"", b"x", b"0", b"-1", b"12345678901234567890", b" 1", b"01", b"-0", b"\r\n", b"$5\r\n", b"\0\1\xff", b"a" * 300],
)
def test_values_come_back_as_they_were(c: Wire, value: bytes) -> None:
    assert c("SET", "k", value) == OK
    assert c("GET", "k") == value
    assert c("STRLEN", "k") == len(value)
    assert c("GETRANGE", "k", 0, -1) == value


@pytest.mark.parametrize(
    "key", [b"", b"k", b"a b", b"\r\n", b"\0", b"\xff" * 254, b"x" * 255, b"y" * 256, b"z" * 70000]
)
def test_any_bytes_are_a_key(c: Wire, key: bytes) -> None:
    assert c("SET", key, "v") == OK
    assert c("GET", key) == b"v"
    assert c("EXISTS", key) == 1
    assert c("KEYS", "*") == [key]
    assert c("RANDOMKEY") == key
    assert c("DEL", key) == 1
    assert c("EXISTS", key) == 0


@pytest.mark.parametrize(
    "length",
    [0, 1, 19, 20, 44, 45, 127, 128, 254, 255, 256, 4095, 4096, 16383, 16384, 16385, 65535, 65536, 65537, 200_000],
)
def test_lengths_around_every_border(c: Wire, length: int) -> None:
    value = bytes(i * 7 % 251 for i in range(length))
    assert c("SET", "k", value) == OK
    assert c("GET", "k") == value
    assert c("APPEND", "k", "!") == length + 1
    assert c("GET", "k") == value + b"!"


def test_overwriting_changes_the_size_freely(c: Wire) -> None:
    for length in [10, 100_000, 0, 16384, 3, 70_000, 16385, 20]:
        value = b"v" * length
        assert c("SET", "k", value) == OK
        assert c("GET", "k") == value


def test_mset_and_mget(c: Wire) -> None:
    expect(
        c,
        ("MSET a 1 b 2 c 3", OK),
        ("MGET a b c", [b"1", b"2", b"3"]),
        ("MGET a absent c a", [b"1", None, b"3", b"1"]),
        ("MSET a x a y", OK),
        ("GET a", b"y"),
    )


def test_mset_of_an_odd_number_writes_nothing(c: Wire) -> None:
    expect(
        c,
        ("MSET a 1 b", Error("ERR wrong number of arguments for 'mset' command")),
        ("MSETNX a 1 b", Error("ERR wrong number of arguments for 'msetnx' command")),
        ("DBSIZE", 0),
    )


def test_mset_ends_the_expiry(c: Wire) -> None:
    expect(c, ("SET a 1 EX 100", OK), ("MSET a 2 b 3", OK), ("TTL a", -1))


def test_msetnx_writes_all_or_nothing(c: Wire) -> None:
    expect(
        c,
        ("MSETNX a 1 b 2", 1),
        ("MSETNX b 9 c 9 d 9", 0),
        ("MGET a b c d", [b"1", b"2", None, None]),
        ("MSETNX x 1 x 2", 1),
        ("GET x", b"2"),
    )


def test_hundreds_of_keys_in_one_request(c: Wire) -> None:
    keys = [f"key:{i}" for i in range(700)]
    assert c("MSET", *[part for i, key in enumerate(keys) for part in (key, str(i))]) == OK
    assert c("MGET", *keys) == [str(i).encode() for i in range(700)]
    assert c("EXISTS", *keys) == 700
    assert c("TOUCH", *keys) == 700
    assert c("DEL", *keys[:300]) == 300
    assert c("UNLINK", *keys) == 400
    assert c("DBSIZE") == 0


def test_setnx_setex_psetex(c: Wire) -> None:
    expect(
        c,
        ("SETNX k a", 1),
        ("SETNX k b", 0),
        ("GET k", b"a"),
        ("SETEX k 100 c", OK),
        ("TTL k", Left(100)),
        ("PSETEX k 50000 d", OK),
        ("TTL k", Left(50)),
        ("GET k", b"d"),
        ("SETEX k 0 v", Error("ERR invalid expire time in 'setex' command")),
        ("SETEX k -1 v", Error("ERR invalid expire time in 'setex' command")),
        ("SETEX k x v", NOT_AN_INTEGER),
        ("SETEX k 9223372036854775807 v", Error("ERR invalid expire time in 'setex' command")),
        ("PSETEX k 0 v", Error("ERR invalid expire time in 'psetex' command")),
        ("PSETEX k 9223372036854775807 v", Error("ERR invalid expire time in 'psetex' command")),
        ("PSETEX k 1.5 v", NOT_AN_INTEGER),
        ("GET k", b"d"),
        ("SETNX k e", 0),
    )


def test_getset_and_getdel(c: Wire) -> None:
    expect(
        c,
        ("GETSET k a", None),
        ("GETSET k b", b"a"),
        ("EXPIRE k 100", 1),
        ("GETSET k c", b"b"),
        ("TTL k", -1),
        ("GETDEL k", b"c"),
        ("GETDEL k", None),
        ("EXISTS k", 0),
    )


def test_append(c: Wire) -> None:
    expect(
        c,
        ("APPEND k Hello", 5),
        ("APPEND k ' World'", 11),
        ("GET k", b"Hello World"),
        ("APPEND k ''", 11),
        ("APPEND empty ''", 0),
        ("EXISTS empty", 1),
        ("SET n 12", OK),
        ("APPEND n 3", 3),
        ("INCR n", 124),
        ("EXPIRE n 100", 1),
        ("APPEND n 5", 4),
        ("TTL n", Left(100)),
    )


@pytest.mark.parametrize(
    ("start", "end", "part"),
    [
        (0, -1, b"This is a string"),
        (0, 3, b"This"),
        (-3, -1, b"ing"),
        (10, 100, b"string"),
        (5, 4, b""),
        (100, 200, b""),
        (-100, 3, b"This"),
        (-100, -200, b""),
        (-1, -3, b""),
        (0, 0, b"T"),
        (-1, -1, b"g"),
        (15, 15, b"g"),
        (16, 16, b""),
        (0, 9223372036854775807, b"This is a string"),
        (-9223372036854775808, 9223372036854775807, b"This is a string"),
        (-9223372036854775808, -9223372036854775808, b"T"),
        (9223372036854775807, 9223372036854775807, b""),
    ],
)
def test_getrange(c: Wire, start: int, end: int, part: bytes) -> None:
    assert c("SET", "k", "This is a string") == OK
    assert c("GETRANGE", "k", start, end) == part
    assert c("SUBSTR", "k", start, end) == part


def test_getrange_of_an_integer_and_wrong_bounds(c: Wire) -> None:
    expect(
        c,
        ("SET n 1234567", OK),
        ("GETRANGE n 1 3", b"234"),
        ("GETRANGE n x 3", NOT_AN_INTEGER),
        ("GETRANGE n 0 1.5", NOT_AN_INTEGER),
        ("GETRANGE n 0 9223372036854775808", NOT_AN_INTEGER),
        ("SUBSTR absent a 0", NOT_AN_INTEGER),
        ("STRLEN n", 7),
    )


def test_setrange(c: Wire) -> None:
    expect(
        c,
        ("SET k 'Hello World'", OK),
        ("SETRANGE k 6 Redis", 11),
        ("GET k", b"Hello Redis"),
        ("SETRANGE k 9 overwrite", 18),
        ("GET k", b"Hello Redoverwrite"),
        ("SETRANGE k 0 ''", 18),
        ("SETRANGE pad 5 x", 6),
        ("GET pad", b"\0\0\0\0\0x"),
        ("SETRANGE absent 0 ''", 0),
        ("SETRANGE absent 10 ''", 0),
        ("EXISTS absent", 0),
        ("SETRANGE k -1 x", OFFSET),
        ("SETRANGE k x y", NOT_AN_INTEGER),
        ("SETRANGE k 536870912 x", TOO_LONG),
        ("SETRANGE k 9223372036854775807 x", TOO_LONG),
        ("SETRANGE k 9223372036854775807 ''", 18),
        ("SETRANGE absent 536870912 x", TOO_LONG),
        ("SETRANGE absent -1 x", OFFSET),
        ("SETRANGE absent -1 ''", OFFSET),
        ("SET n 123", OK),
        ("SETRANGE n 1 9", 3),
        ("INCR n", 194),
        ("EXPIRE n 100", 1),
        ("SETRANGE n 0 2", 3),
        ("TTL n", Left(100)),
    )


def test_incr_and_decr(c: Wire) -> None:
    expect(
        c,
        ("INCR k", 1),
        ("INCR k", 2),
        ("INCRBY k 40", 42),
        ("DECR k", 41),
        ("DECRBY k 50", -9),
        ("INCRBY k -1", -10),
        ("DECRBY k -10", 0),
        ("GET k", b"0"),
        ("DECR absent", -1),
        ("DECRBY other 5", -5),
        ("EXPIRE k 100", 1),
        ("INCR k", 1),
        ("TTL k", Left(100)),
    )


def test_incr_stops_at_the_ends_of_64_bits(c: Wire) -> None:
    expect(
        c,
        ("SET k 9223372036854775806", OK),
        ("INCR k", 9223372036854775807),
        ("INCR k", OVERFLOW),
        ("INCRBY k 1", OVERFLOW),
        ("DECRBY k -1", OVERFLOW),
        ("GET k", b"9223372036854775807"),
        ("SET k -9223372036854775807", OK),
        ("DECR k", -9223372036854775808),
        ("DECR k", OVERFLOW),
        ("INCRBY k -1", OVERFLOW),
        ("SET k 0", OK),
        ("DECRBY k -9223372036854775808", Error("ERR decrement would overflow")),
        ("INCRBY k -9223372036854775808", -9223372036854775808),
        ("INCRBY k 9223372036854775807", -1),
    )


@pytest.mark.parametrize(
    "value",
    ["x", "", "1.0", " 1", "1 ", "01", "-0", "+1", "9223372036854775808", "-9223372036854775809", "1e3", "0x1", "--1"],
)
def test_what_is_not_an_integer_cannot_be_counted(c: Wire, value: str) -> None:
    assert c("SET", "k", value) == OK
    for command in ("INCR", "DECR"):
        assert c(command, "k") == NOT_AN_INTEGER
    for command in ("INCRBY", "DECRBY"):
        assert c(command, "k", 1) == NOT_AN_INTEGER
        assert c(command, "fresh", value) == NOT_AN_INTEGER
    assert c("GET", "k") == value.encode()
    assert c("EXISTS", "fresh") == 0


@pytest.mark.parametrize(
    ("before", "by", "after"),
    [
        ("10.50", "0.1", b"10.6"),
        ("10.6", "-5", b"5.6"),
        ("5.0e3", "2.0e2", b"5200"),
        ("0", "1.0", b"1"),
        ("3.0", "0.0", b"3"),
        ("0.1", "0.2", b"0.3"),
        ("1", "-1", b"0"),
        ("17179869184", "1.5", b"17179869185.5"),
        ("-1.5", "0.25", b"-1.25"),
        ("1", "1e-17", b"1.00000000000000001"),
        ("3", "1.00000000000000000001", b"4"),
        ("1e15", "0.1", b"1000000000000000.0999755859375"),
        ("0x10", "1", b"17"),
    ],
)
def test_incrbyfloat(c: Wire, before: str, by: str, after: bytes) -> None:
    assert c("SET", "k", before) == OK
    assert c("INCRBYFLOAT", "k", by) == after
    assert c("GET", "k") == after


def test_incrbyfloat_refuses_what_is_no_number(c: Wire) -> None:
    expect(
        c,
        ("INCRBYFLOAT absent 1.5", b"1.5"),
        ("SET k x", OK),
        ("INCRBYFLOAT k 1", NOT_A_FLOAT),
        ("INCRBYFLOAT absent x", NOT_A_FLOAT),
        ("INCRBYFLOAT absent ' 1'", NOT_A_FLOAT),
        ("INCRBYFLOAT absent '1 '", NOT_A_FLOAT),
        ("INCRBYFLOAT absent ''", NOT_A_FLOAT),
        ("INCRBYFLOAT absent nan", NOT_A_FLOAT),
        ("INCRBYFLOAT absent inf", Error("ERR increment would produce NaN or Infinity")),
        ("INCRBYFLOAT absent -inf", Error("ERR increment would produce NaN or Infinity")),
        ("SET k 1", OK),
        ("EXPIRE k 100", 1),
        ("INCRBYFLOAT k 1", b"2"),
        ("TTL k", Left(100)),
        ("INCR k", 3),
    )


def test_lcs(c: Wire) -> None:
    expect(
        c,
        ("MSET a ohmytext b mynewtext", OK),
        ("LCS a b", b"mytext"),
        ("LCS a b LEN", 6),
        ("LCS a absent", b""),
        ("LCS a absent LEN", 0),
        ("LCS absent other", b""),
        ("LCS a a", b"ohmytext"),
        ("LCS a b IDX LEN", Error("ERR If you want both the length and indexes, please just use IDX.")),
        ("LCS a b MINMATCHLEN", SYNTAX),
        ("LCS a b MINMATCHLEN x IDX", NOT_AN_INTEGER),
        ("LCS a b BAD", SYNTAX),
        ("LCS a", Error("ERR wrong number of arguments for 'lcs' command")),
    )


def test_lcs_with_positions(c: Wire, resp: int) -> None:
    def reply(matches: list[object], length: int) -> object:
        if resp == 2:
            return [b"matches", matches, b"len", length]
        return MapReply([(b"matches", matches), (b"len", length)])

    assert c("MSET", "a", "ohmytext", "b", "mynewtext") == OK
    long, short = [[4, 7], [5, 8]], [[2, 3], [0, 1]]
    expect(
        c,
        ("LCS a b IDX", reply([long, short], 6)),
        ("LCS a b IDX MINMATCHLEN 4", reply([long], 6)),
        ("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN", reply([[*long, 4]], 6)),
        ("LCS a b idx withmatchlen", reply([[*long, 4], [*short, 2]], 6)),
        ("LCS a b IDX MINMATCHLEN -5", reply([long, short], 6)),
        ("LCS a absent IDX", reply([], 0)),
    )


def test_getex(c: Wire) -> None:
    expect(
        c,
        ("GETEX absent", None),
        ("GETEX absent EX 10", None),
        ("SET k v", OK),
        ("GETEX k", b"v"),
        ("TTL k", -1),
        ("GETEX k EX 100", b"v"),
        ("TTL k", Left(100)),
        ("GETEX k", b"v"),
        ("TTL k", Left(100)),
        ("GETEX k px 50000", b"v"),
        ("TTL k", Left(50)),
        ("GETEX k PERSIST", b"v"),
        ("TTL k", -1),
        ("GETEX k EXAT 33177117420", b"v"),
        ("EXPIRETIME k", 33177117420),
        ("GETEX k PXAT 33177117420123", b"v"),
        ("PEXPIRETIME k", 33177117420123),
        ("GETEX k EXAT 1", b"v"),
        ("EXISTS k", 0),
    )


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("EX", SYNTAX),
        ("EX 10 PX 10", SYNTAX),
        ("EX 10 PERSIST", SYNTAX),
        ("KEEPTTL", SYNTAX),
        ("NX", SYNTAX),
        ("FOO", SYNTAX),
        ("EX 0", Error("ERR invalid expire time in 'getex' command")),
        ("EX -1", Error("ERR invalid expire time in 'getex' command")),
        ("PX 0", Error("ERR invalid expire time in 'getex' command")),
        ("EXAT 0", Error("ERR invalid expire time in 'getex' command")),
        ("EX 9223372036854775807", Error("ERR invalid expire time in 'getex' command")),
        ("PX 9223372036854775807", Error("ERR invalid expire time in 'getex' command")),
        ("EX x", NOT_AN_INTEGER),
    ],
)
def test_getex_refuses(c: Wire, options: str, error: Error) -> None:
    assert c("SET", "k", "v") == OK
    assert c.do(f"GETEX k {options}") == error
    assert c("TTL", "k") == -1


def test_numbers_are_kept_as_text_of_their_shortest_form_only(c: Wire) -> None:
    for text in (b"007", b"+5", b"1.0", b" 12", b"-0", b"1e5", b"18446744073709551616", b"-9223372036854775808"):
        assert c("SET", "k", text) == OK
        assert c("GET", "k") == text
        assert c("STRLEN", "k") == len(text)


def test_incrbyfloat_answers_with_a_bulk_string_on_both_protocols(c: Wire) -> None:
    c.send("INCRBYFLOAT", "k", "3.25")
    assert c.read_bytes() == b"$4\r\n3.25\r\n"
    assert not isinstance(c("INCRBYFLOAT", "k", "1"), Double)


def test_a_value_at_the_limit_of_setrange(target: Target) -> None:
    c = target.connect()
    assert c("SETRANGE", "k", 1_000_000, "x") == 1_000_001
    assert c("GETRANGE", "k", 999_998, -1) == b"\0\0x"
    assert c("GETRANGE", "k", 0, 9) == bytes(10)
