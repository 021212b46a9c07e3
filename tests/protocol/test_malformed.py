"""What is no request: the error and the end of the connection."""

import pytest
from tests.targets import Target, configured
from tests.wire import OK, Error, Wire, encode

pytestmark = pytest.mark.all_servers

MULTIBULK = "invalid multibulk length"
BULK = "invalid bulk length"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"*x\r\n", MULTIBULK),
        (b"*\r\n", MULTIBULK),
        (b"*1x\r\n", MULTIBULK),
        (b"* 1\r\n", MULTIBULK),
        (b"*01\r\n", MULTIBULK),
        (b"*+1\r\n", MULTIBULK),
        (b"*2147483648\r\n", MULTIBULK),
        (b"*99999999999999999999\r\n", MULTIBULK),
        (b"*1\r\n$x\r\n", BULK),
        (b"*1\r\n$\r\n", BULK),
        (b"*1\r\n$-1\r\n", BULK),
        (b"*1\r\n$-2\r\n", BULK),
        (b"*1\r\n$ 4\r\n", BULK),
        (b"*1\r\n$04\r\n", BULK),
        (b"*1\r\n$+4\r\n", BULK),
        (b"*1\r\n$536870913\r\n", BULK),
        (b"*1\r\n$99999999999999999999\r\n", BULK),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$-1\r\n", BULK),
        (b"*1\r\n:5\r\n", "expected '$', got ':'"),
        (b"*1\r\n+PING\r\n", "expected '$', got '+'"),
        (b"*1\r\nPING\r\n", "expected '$', got 'P'"),
        (b"*2\r\n$4\r\nECHO\r\n*1\r\n", "expected '$', got '*'"),
        (b"*" + b"1" * 70_000, "too big mbulk count string"),
        (b"*1\r\n$" + b"1" * 70_000, "too big bulk count string"),
    ],
)
def test_wrong_protocol_ends_the_connection(c: Wire, data: bytes, reason: str) -> None:
    c.send_raw(encode("PING") + data)
    assert c.read() == "PONG", "what came before is answered"
    assert c.read() == Error(f"ERR Protocol error: {reason}")
    assert c.is_closed()


def test_what_follows_wrong_protocol_is_not_executed(c: Wire, target: Target) -> None:
    c.send_raw(encode("SET", "a", 1) + b"*1\r\n$x\r\n" + encode("SET", "b", 1))
    assert c.read() == OK
    assert c.read() == Error("ERR Protocol error: invalid bulk length")
    assert c.is_closed()
    assert target.connect()("MGET", "a", "b") == [b"1", None]


@pytest.mark.parametrize("empty", [b"*0\r\n", b"*-1\r\n", b"*-5\r\n", b"*0\r\n*0\r\n\r\n"])
def test_empty_requests_are_passed_over(c: Wire, empty: bytes) -> None:
    c.send_raw(empty + encode("PING") + empty + encode("ECHO", "x") + empty)
    assert c.read() == "PONG"
    assert c.read() == b"x"
    assert c("PING") == "PONG"


def test_an_empty_command_name(c: Wire) -> None:
    assert c("") == Error("ERR unknown command '', with args beginning with: ")
    assert c("", "x") == Error("ERR unknown command '', with args beginning with: 'x' ")


def test_a_bulk_length_limit_can_be_set(c: Wire, target: Target) -> None:
    admin = target.connect()
    with configured(admin, proto_max_bulk_len="1mb"):
        assert c("SET", "k", bytes(1_048_576)) == OK
        assert c("APPEND", "k", "x") == Error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
        assert c("SETRANGE", "k", 1_048_576, "x") == Error(
            "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
        )
        c.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048577\r\n")
        assert c.read() == Error("ERR Protocol error: invalid bulk length")
        assert c.is_closed()
    again = target.connect()
    assert again("STRLEN", "k") == 1_048_576
    assert again("SET", "k", bytes(1_048_577)) == OK


def test_wrong_protocol_inside_a_transaction_leaves_nothing(c: Wire, target: Target) -> None:
    c.send_raw(encode("MULTI") + encode("SET", "k", "v") + b"*1\r\n$x\r\n" + encode("EXEC"))
    c.read()
    c.read()
    assert c.read() == Error("ERR Protocol error: invalid bulk length")
    assert c.is_closed()
    assert target.connect()("GET", "k") is None


def test_wrong_protocol_of_one_client_does_not_touch_another(c: Wire, target: Target) -> None:
    for _ in range(50):
        bad = target.connect()
        bad.send_raw(b"*1\r\n$-1\r\n")
        bad.read()
        assert c("PING") == "PONG"
        bad.close()
