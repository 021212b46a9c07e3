"""Requests typed as lines."""

import pytest
from tests.targets import Target
from tests.wire import OK, Error, Wire

pytestmark = pytest.mark.all_servers

UNBALANCED = Error("ERR Protocol error: unbalanced quotes in request")


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"PING\r\n", "PONG"),
        (b"PING\n", "PONG"),
        (b"ping\r\n", "PONG"),
        (b"  PING  \r\n", "PONG"),
        (b"\r\n\r\nPING\r\n", "PONG"),
        (b" \r\nPING\r\n", "PONG"),
        (b"\n\n\nPING\n", "PONG"),
        (b"PING hello\r\n", b"hello"),
        (b"ECHO\ta\r\n", b"a"),
        (b"ECHO a\tb\r\n", Error("ERR wrong number of arguments for 'echo' command")),
        (b"ECHO ''\r\n", b""),
        (b'ECHO ""\r\n', b""),
        (b"ECHO 'a b'\r\n", b"a b"),
        (b'ECHO "a b"\r\n', b"a b"),
        (b'ECHO "a\\x41\\n\\r\\t\\b\\a\\"q\\\\"\r\n', b'aA\n\r\t\b\a"q\\'),
        (b"ECHO 'it\\'s'\r\n", b"it's"),
        (b"ECHO 'a\\n\\x41'\r\n", b"a\\n\\x41"),
        (b'ECHO "\\xzz"\r\n', b"xzz"),
        (b'ECHO "\\q"\r\n', b"q"),
        (b'ECHO "\\xff\\x00"\r\n', b"\xff\0"),
        (b"ECHO \xff\xfe\r\n", b"\xff\xfe"),
        (b"ECHO '\"'\r\n", b'"'),
        (b'ECHO "\'"\r\n', b"'"),
        (b"'ECHO' 'x'\r\n", b"x"),
        (b"'' a\r\n", Error("ERR unknown command '', with args beginning with: 'a' ")),
        (b"$4\r\n", Error("ERR unknown command '$4', with args beginning with: ")),
        (b"+OK\r\n", Error("ERR unknown command '+OK', with args beginning with: ")),
        (b"ECHO " + b"a" * 60_000 + b"\r\n", b"a" * 60_000),
    ],
)
def test_lines(c: Wire, line: bytes, reply: object) -> None:
    c.send_raw(line)
    assert c.read() == reply
    assert c("PING") == "PONG"


@pytest.mark.parametrize(
    "line", [b"ECHO 'a\r\n", b'ECHO "a\r\n', b'ECHO "a"b\r\n', b"ECHO 'a'b\r\n", b'ECHO "a\\"\r\n', b'"\r\n']
)
def test_quotes_that_do_not_match_end_the_connection(c: Wire, line: bytes) -> None:
    c.send_raw(b"PING\r\n" + line + b"PING\r\n")
    assert c.read() == "PONG"
    assert c.read() == UNBALANCED
    assert c.is_closed()


def test_lines_and_arrays_mix(c: Wire) -> None:
    c.send_raw(b"SET k v\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nGET k\n*1\r\n$4\r\nPING\r\nPING\r\n")
    assert [c.read() for _ in range(5)] == [OK, b"v", b"v", "PONG", "PONG"]


def test_a_line_without_an_end_is_refused_when_it_is_too_long(c: Wire) -> None:
    c.send_raw(b"A" * 70_000)
    assert c.read() == Error("ERR Protocol error: too big inline request")
    assert c.is_closed()


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\n"])
def test_http_is_cut_off_before_it_does_harm(c: Wire, target: Target, line: bytes) -> None:
    c.send_raw(line + b"Host: example.org\r\n\r\nSET k smuggled\r\n")
    assert b"OK" not in c.read_all()
    assert target.connect()("GET", "k") is None
