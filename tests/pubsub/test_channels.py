"""Publish and subscribe: channels, patterns, shard channels, on both protocols."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.targets import Target
from tests.wire import OK, QUEUED, Error, Push, Wire, arity, expect

pytestmark = [pytest.mark.all_servers, pytest.mark.both_protocols]


def allowed_only(command: str) -> Error:
    return Error(
        f"ERR Can't execute '{command}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in "
        "this context"
    )


@pytest.fixture
def push(resp: int) -> Callable[..., Any]:
    """What the server sends on its own, in the form of the protocol."""
    return lambda *items: list(items) if resp == 2 else Push(list(items))


Pushed = Callable[..., Any]


def test_unsubscribe(c: Wire, connect: Callable[[], Wire], push: Pushed) -> None:
    publisher = connect()
    c.send("SUBSCRIBE", "a", "b", "c")
    for _ in range(3):
        c.read()
    assert c("UNSUBSCRIBE", "b") == push(b"unsubscribe", b"b", 2)
    assert c("UNSUBSCRIBE", "nosuch") == push(b"unsubscribe", b"nosuch", 2)
    assert publisher("PUBLISH", "b", "x") == 0
    c.send("UNSUBSCRIBE")
    ended = [c.read(), c.read()]
    channels = [reply.items[1] if isinstance(reply, Push) else reply[1] for reply in ended]
    assert sorted(channels) == [b"a", b"c"]
    assert ended == [push(b"unsubscribe", channels[0], 1), push(b"unsubscribe", channels[1], 0)]
    assert c("UNSUBSCRIBE") == push(b"unsubscribe", None, 0)
    assert c("PUNSUBSCRIBE") == push(b"punsubscribe", None, 0)
    assert c("SUNSUBSCRIBE") == push(b"sunsubscribe", None, 0)
    assert c("PING") == "PONG"


def test_patterns(c: Wire, connect: Callable[[], Wire], push: Pushed) -> None:
    publisher = connect()
    assert c("PSUBSCRIBE", "news.*") == push(b"psubscribe", b"news.*", 1)
    assert c("PSUBSCRIBE", "n?ws.[ab]*") == push(b"psubscribe", b"n?ws.[ab]*", 2)
    assert publisher("PUBLISH", "news.x", "1") == 1
    assert c.read() == push(b"pmessage", b"news.*", b"news.x", b"1")
    assert publisher("PUBLISH", "news.art", "2") == 2
    both = [c.read(), c.read()]
    assert push(b"pmessage", b"news.*", b"news.art", b"2") in both
    assert push(b"pmessage", b"n?ws.[ab]*", b"news.art", b"2") in both
    assert publisher("PUBLISH", "newsx", "3") == 0
    assert c("PUNSUBSCRIBE", "news.*") == push(b"punsubscribe", b"news.*", 1)
    assert publisher("PUBLISH", "news.x", "4") == 0
    assert publisher("PUBLISH", "nows.b", "5") == 1
    assert c.read() == push(b"pmessage", b"n?ws.[ab]*", b"nows.b", b"5")


def test_shard_channels(c: Wire, connect: Callable[[], Wire], push: Pushed) -> None:
    publisher = connect()
    assert c("SSUBSCRIBE", "orders") == push(b"ssubscribe", b"orders", 1)
    assert publisher("SPUBLISH", "orders", "x") == 1
    assert c.read() == push(b"smessage", b"orders", b"x")
    assert publisher("PUBLISH", "orders", "y") == 0, "the two kinds of channels are apart"
    assert c("SUBSCRIBE", "orders") == push(b"subscribe", b"orders", 1), "and counted apart"
    assert publisher("PUBLISH", "orders", "y") == 1
    assert c.read() == push(b"message", b"orders", b"y")
    c.send("SSUBSCRIBE", "a", "b", "a")
    assert [c.read() for _ in range(3)] == [
        push(b"ssubscribe", b"a", 2),
        push(b"ssubscribe", b"b", 3),
        push(b"ssubscribe", b"a", 3),
    ]
    assert c("SUNSUBSCRIBE", "orders") == push(b"sunsubscribe", b"orders", 2)
    assert publisher("SPUBLISH", "orders", "z") == 0
    c.send("SUNSUBSCRIBE")
    assert [(r.items if isinstance(r, Push) else r)[2] for r in (c.read(), c.read())] == [1, 0]


def test_resp2_allows_little_while_subscribed(target: Target) -> None:
    c = target.connect(2)
    assert c("SUBSCRIBE", "news") == [b"subscribe", b"news", 1]
    for line in ("GET k", "SET k v", "PUBLISH news x", "MULTI", "HELLO", "HELLO 3", "CLIENT ID", "SELECT 1", "DISCARD"):
        assert c.do(line) == allowed_only(line.split()[0].lower() if line != "CLIENT ID" else "client|id"), line
    expect(
        c,
        ("PING", [b"pong", b""]),
        ("PING hello", [b"pong", b"hello"]),
        ("NOSUCH", Error("ERR unknown command 'NOSUCH', with args beginning with: ")),
        ("GET", arity("get")),
        ("PSUBSCRIBE p*", [b"psubscribe", b"p*", 2]),
        ("SSUBSCRIBE s", [b"ssubscribe", b"s", 1]),
        ("UNSUBSCRIBE", [b"unsubscribe", b"news", 1]),
        ("GET k", allowed_only("get")),
        ("PUNSUBSCRIBE", [b"punsubscribe", b"p*", 0]),
        ("GET k", allowed_only("get")),
        ("SUNSUBSCRIBE", [b"sunsubscribe", b"s", 0]),
        ("GET k", None),
        ("PING", "PONG"),
    )


def test_resp2_can_leave(target: Target) -> None:
    c = target.connect(2)
    assert c("SUBSCRIBE", "news") == [b"subscribe", b"news", 1]
    assert c("QUIT") == OK
    assert c.is_closed()


def test_resp3_allows_everything_while_subscribed(target: Target) -> None:
    c = target.connect(3)
    assert c("SUBSCRIBE", "news") == Push([b"subscribe", b"news", 1])
    expect(c, ("SET k v", OK), ("GET k", b"v"), ("PING", "PONG"), ("PING x", b"x"), ("MULTI", OK), ("INCR n", QUEUED))
    assert c("EXEC") == [1]
    assert target.connect()("PUBLISH", "news", "x") == 1
    assert c("GET", "k") in (b"v", Push([b"message", b"news", b"x"]))


def test_resp3_publishes_to_itself_after_the_reply(target: Target) -> None:
    c = target.connect(3)
    assert c("SUBSCRIBE", "news") == Push([b"subscribe", b"news", 1])
    assert c("PUBLISH", "news", "x") == 1
    assert c.read() == Push([b"message", b"news", b"x"])
    c.send_raw(b"MULTI\r\nPUBLISH news y\r\nPING\r\nEXEC\r\n")
    assert [c.read() for _ in range(5)] == [OK, QUEUED, QUEUED, [1, "PONG"], Push([b"message", b"news", b"y"])]


def test_subscribing_inside_a_transaction(target: Target) -> None:
    c = target.connect(2)
    c.send_raw(b"MULTI\r\nSUBSCRIBE x\r\nPING\r\nEXEC\r\n")
    assert [c.read() for _ in range(4)] == [OK, QUEUED, QUEUED, [[b"subscribe", b"x", 1], [b"pong", b""]]]
    assert target.connect()("PUBLISH", "x", "m") == 1
    assert c.read() == [b"message", b"x", b"m"]


def test_reply_off_still_delivers_messages(target: Target) -> None:
    c = target.connect(3)
    assert c("SUBSCRIBE", "a") == Push([b"subscribe", b"a", 1])
    c.send_raw(
        b"CLIENT REPLY OFF\r\nPING\r\nPUBLISH a x\r\nSUBSCRIBE b\r\nUNSUBSCRIBE b\r\nCLIENT REPLY ON\r\nPING\r\n"
    )
    assert [c.read() for _ in range(5)] == [
        Push([b"message", b"a", b"x"]),
        Push([b"subscribe", b"b", 2]),
        Push([b"unsubscribe", b"b", 1]),
        OK,
        "PONG",
    ]
