"""HELLO, AUTH, PING, ECHO, SELECT, QUIT, RESET."""

from collections.abc import Iterator

import pytest
from tests.targets import Target, configured
from tests.wire import OK, Error, MapReply, Wire, arity, expect, pairs

WRONGPASS = Error("WRONGPASS invalid username-password pair or user is disabled.")
NO_PASSWORD = Error(
    "ERR AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?"
)
NOAUTH = Error("NOAUTH Authentication required.")
NOAUTH_HELLO = Error(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> "
    "option can be used to authenticate the client and select the RESP protocol version at the same time"
)
NAME = Error("ERR Client names cannot contain spaces, newlines or special characters.")


@pytest.mark.both_protocols
def test_hello_switches_the_protocol_both_ways(target: Target) -> None:
    c = target.connect()
    two = c("HELLO")
    assert isinstance(two, list)
    three = c("HELLO", 3)
    assert isinstance(three, MapReply)
    assert [key for key, _ in three.items] == two[::2]
    assert c("GET", "absent") is None
    c.send("GET", "absent")
    assert c.read_bytes() == b"_\r\n"
    assert isinstance(c("HELLO"), MapReply)
    assert c("HELLO", 2) == two
    c.send("GET", "absent")
    assert c.read_bytes() == b"$-1\r\n"


@pytest.mark.both_protocols
def test_hello_tells_who_answers(c: Wire, resp: int) -> None:
    fields = pairs(c("HELLO"))
    assert list(fields) == [b"server", b"version", b"proto", b"id", b"mode", b"role", b"modules"]
    assert fields[b"server"] == b"redis"
    assert fields[b"version"].split(b".")[0] in (b"7", b"8")
    assert fields[b"proto"] == resp
    assert fields[b"id"] == c("CLIENT", "ID")
    assert fields[b"mode"] in (b"standalone", b"cluster")
    assert fields[b"role"] == b"master"
    assert isinstance(fields[b"modules"], list)


@pytest.mark.both_protocols
def test_hello_refuses(c: Wire, resp: int) -> None:
    expect(
        c,
        ("HELLO 1", Error("NOPROTO unsupported protocol version")),
        ("HELLO 4", Error("NOPROTO unsupported protocol version")),
        ("HELLO x", Error("ERR Protocol version is not an integer or out of range")),
        ("HELLO 3 AUTH default", Error("ERR Syntax error in HELLO option 'AUTH'")),
        ("HELLO 3 SETNAME", Error("ERR Syntax error in HELLO option 'SETNAME'")),
        ("HELLO 3 FOO", Error("ERR Syntax error in HELLO option 'FOO'")),
        ("HELLO 3 SETNAME 'a b'", NAME),
        ("HELLO 3 AUTH nobody x SETNAME good", WRONGPASS),
        ("CLIENT GETNAME", None),
    )
    assert pairs(c("HELLO"))[b"proto"] == resp


@pytest.mark.both_protocols
def test_hello_sets_the_name(c: Wire) -> None:
    assert pairs(c("HELLO", 3, "SETNAME", "worker-1"))[b"proto"] == 3
    assert c("CLIENT", "GETNAME") == b"worker-1"
    assert pairs(c("HELLO", 2, "AUTH", "default", "anything", "SETNAME", "other"))[b"proto"] == 2
    assert c("CLIENT", "GETNAME") == b"other"
    c("HELLO", 2, "SETNAME", "")
    assert c("CLIENT", "GETNAME") is None


@pytest.fixture
def guarded(target: Target) -> Iterator[Target]:
    """The server with a password; connections made before stay allowed."""
    with configured(target.connect(), requirepass="secret word"):
        yield target


def test_nothing_goes_before_the_password(guarded: Target) -> None:
    c = guarded.connect()
    expect(
        c,
        ("PING", NOAUTH),
        ("GET k", NOAUTH),
        ("SET k v", NOAUTH),
        ("SUBSCRIBE x", NOAUTH),
        ("MULTI", NOAUTH),
        ("CLIENT ID", NOAUTH),
        ("CONFIG GET requirepass", NOAUTH),
        ("GET", arity("get")),
        ("NOSUCH", Error("ERR unknown command 'NOSUCH', with args beginning with: ")),
        ("HELLO", NOAUTH_HELLO),
        ("HELLO 3", NOAUTH_HELLO),
        ("AUTH wrong", WRONGPASS),
        ("AUTH default wrong", WRONGPASS),
        ("AUTH nobody 'secret word'", WRONGPASS),
        ("PING", NOAUTH),
        ("RESET", "RESET"),
        ("PING", NOAUTH),
        ("AUTH 'secret word'", OK),
        ("PING", "PONG"),
        ("AUTH wrong", WRONGPASS),
        ("PING", "PONG"),
        ("RESET", "RESET"),
        ("PING", NOAUTH),
        ("AUTH default 'secret word'", OK),
        ("GET k", None),
    )


def test_quit_needs_no_password(guarded: Target) -> None:
    c = guarded.connect()
    assert c("QUIT") == OK
    assert c.is_closed()


@pytest.mark.both_protocols
def test_hello_authenticates(guarded: Target) -> None:
    c = guarded.connect()
    assert c("HELLO", 3, "AUTH", "default", "wrong") == WRONGPASS
    assert c("PING") == NOAUTH
    assert isinstance(c("HELLO", 3, "AUTH", "default", "secret word", "SETNAME", "me"), MapReply)
    assert c("PING") == "PONG"
    assert c("CLIENT", "GETNAME") == b"me"


def test_requests_behind_a_wrong_password_in_a_pipeline(guarded: Target) -> None:
    c = guarded.connect()
    replies = c.pipeline(
        [("AUTH", "wrong"), ("SET", "k", "v"), ("AUTH", "secret word"), ("SET", "k", "v"), ("GET", "k")]
    )
    assert replies == [WRONGPASS, NOAUTH, OK, OK, b"v"]


def test_without_the_password_large_requests_are_refused(guarded: Target) -> None:
    c = guarded.connect()
    c.send_raw(b"*11\r\n")
    assert c.read() == Error("ERR Protocol error: unauthenticated multibulk length")
    assert c.is_closed()
    c = guarded.connect()
    c.send_raw(b"*2\r\n$3\r\nGET\r\n$16385\r\n")
    assert c.read() == Error("ERR Protocol error: unauthenticated bulk length")
    assert c.is_closed()


def test_quit_answers_and_closes(c: Wire) -> None:
    replies = c.exchange(b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nQUIT\r\n*1\r\n$4\r\nPING\r\n", 2)
    assert replies == ["PONG", OK]
    assert c.is_closed()


def test_quit_takes_arguments(c: Wire) -> None:
    assert c("QUIT", "x") == OK
    assert c.is_closed()
