"""CLIENT and its subcommands."""

import re
import select
import threading
import time
from collections.abc import Callable

import pytest
from tests.targets import Target
from tests.wire import OK, QUEUED, SYNTAX, ConnectionEndedError, Error, Wire, arity, eventually, expect, text_of

FIELDS = [
    "id",
    "addr",
    "laddr",
    "fd",
    "name",
    "age",
    "idle",
    "flags",
    "db",
    "sub",
    "psub",
    "ssub",
    "multi",
    "watch",
    "qbuf",
    "qbuf-free",
    "argv-mem",
    "multi-mem",
    "rbs",
    "rbp",
    "obl",
    "oll",
    "omem",
    "tot-mem",
    "events",
    "cmd",
    "user",
    "redir",
    "resp",
    "lib-name",
    "lib-ver",
    "io-thread",
]
TOTALS = ["tot-net-in", "tot-net-out", "tot-cmds"]
"""Those of Redis 8.2, which is newer than the peer."""


def fields_of(target: Target) -> list[str]:
    return FIELDS if target.is_peer else FIELDS + TOTALS


def fields(line: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in line.strip().split(" "))


def clients(c: Wire, *options: str | int) -> dict[int, dict[str, str]]:
    lines = text_of(c("CLIENT", "LIST", *options)).splitlines()
    return {int(client["id"]): client for client in map(fields, lines)}


def test_ids_are_unique_and_grow(target: Target) -> None:
    ids = [target.connect()("CLIENT", "ID") for _ in range(20)]
    assert len(set(ids)) == 20
    assert all(client_id > 0 for client_id in ids)


def test_ids_stay(c: Wire) -> None:
    assert c("CLIENT", "ID") == c("CLIENT", "ID")


def test_setinfo(c: Wire) -> None:
    expect(
        c,
        ("CLIENT SETINFO lib-name some-py(x_v1)", OK),
        ("CLIENT SETINFO LIB-VER 1.2.3", OK),
        ("CLIENT SETINFO foo 1", Error("ERR Unrecognized option 'foo'")),
        ("CLIENT SETINFO lib-name 'a b'", Error("ERR lib-name cannot contain spaces, newlines or special characters.")),
        ("CLIENT SETINFO lib-ver 'a b'", Error("ERR lib-ver cannot contain spaces, newlines or special characters.")),
        ("CLIENT SETINFO lib-ver", arity("client|setinfo")),
    )
    info = fields(text_of(c("CLIENT", "INFO")))
    assert info["lib-name"] == "some-py(x_v1)"
    assert info["lib-ver"] == "1.2.3"


def test_totals_of_a_client(node_target: Target) -> None:
    c = node_target.connect()

    def totals() -> list[int]:
        info = fields(text_of(c("CLIENT", "INFO")))
        return [int(info[name]) for name in TOTALS]

    received, sent, commands = totals()
    assert (received, commands) == (len(b"*2\r\n$6\r\nCLIENT\r\n$4\r\nINFO\r\n"), 1)
    assert c("ECHO", b"x" * 1000) == b"x" * 1000
    received_later, sent_later, commands_later = totals()
    assert received_later - received > 1000
    assert sent_later - sent > 1000
    assert commands_later - commands == 2


@pytest.mark.both_protocols
def test_info_has_every_field(c: Wire, target: Target, resp: int) -> None:
    assert c("SELECT", 2) == OK
    assert c("CLIENT", "SETNAME", "me") == OK
    text = text_of(c("CLIENT", "INFO"))
    assert text.endswith("\n")
    info = fields(text)
    assert list(info) == fields_of(target)
    assert int(info["id"]) == c("CLIENT", "ID")
    assert info["addr"] == c.address
    assert info["laddr"] == c.server_address
    assert info["name"] == "me"
    assert info["db"] == "2"
    assert info["flags"] == "N"
    assert info["multi"] == "-1"
    assert info["cmd"] == "client|info"
    assert info["user"] == "default"
    assert info["redir"] == "-1"
    assert info["resp"] == str(resp)
    for name in ("age", "idle", "sub", "psub", "ssub", "watch", "qbuf", "qbuf-free", "obl", "oll", "omem", "tot-mem"):
        assert re.fullmatch(r"\d+", info[name]), name


def test_list_shows_every_connection(c: Wire, target: Target, connect: Callable[[], Wire]) -> None:
    others = [connect() for _ in range(10)]
    ids = {other("CLIENT", "ID") for other in others} | {c("CLIENT", "ID")}
    listed = clients(c)
    assert ids <= set(listed)
    assert list(listed[c("CLIENT", "ID")]) == fields_of(target)
    others[0].close()
    gone = ids - {other("CLIENT", "ID") for other in others[1:]} - {c("CLIENT", "ID")}
    eventually(lambda: not gone & set(clients(c)))


def test_list_shows_what_a_client_does(c: Wire, connect: Callable[[], Wire]) -> None:
    subscriber, transaction = connect(), connect()
    subscriber_id, transaction_id = subscriber("CLIENT", "ID"), transaction("CLIENT", "ID")
    subscriber("SUBSCRIBE", "a")
    subscriber("SUBSCRIBE", "b")
    subscriber("PSUBSCRIBE", "c*")
    subscriber("SSUBSCRIBE", "s")
    assert transaction("WATCH", "k") == OK
    assert transaction("MULTI") == OK
    assert transaction("GET", "k") == QUEUED
    listed = clients(c)
    assert listed[subscriber_id]["flags"] == "P"
    assert (listed[subscriber_id]["sub"], listed[subscriber_id]["psub"], listed[subscriber_id]["ssub"]) == (
        "2",
        "1",
        "1",
    )
    assert listed[subscriber_id]["cmd"] == "ssubscribe"
    assert listed[transaction_id]["flags"] == "x"
    assert listed[transaction_id]["multi"] == "1"
    assert listed[transaction_id]["watch"] == "1"
    assert listed[transaction_id]["cmd"] == "get"


def test_list_filters(c: Wire, connect: Callable[[], Wire]) -> None:
    subscriber, normal = connect(), connect()
    subscriber_id, normal_id = subscriber("CLIENT", "ID"), normal("CLIENT", "ID")
    subscriber("SUBSCRIBE", "a")
    assert subscriber_id in clients(c, "TYPE", "pubsub")
    assert normal_id not in clients(c, "TYPE", "PUBSUB")
    assert normal_id in clients(c, "TYPE", "normal")
    assert subscriber_id not in clients(c, "TYPE", "normal")
    assert clients(c, "TYPE", "replica") == {}
    assert clients(c, "TYPE", "master") == {}
    assert set(clients(c, "ID", normal_id, 999_999_999, subscriber_id)) == {normal_id, subscriber_id}
    expect(
        c,
        ("CLIENT LIST TYPE foo", Error("ERR Unknown client type 'foo'")),
        ("CLIENT LIST TYPE", SYNTAX),
        ("CLIENT LIST ID", SYNTAX),
        ("CLIENT LIST ID x", Error("ERR Invalid client ID")),
        ("CLIENT LIST FOO", SYNTAX),
        ("CLIENT LIST TYPE normal ID 1", SYNTAX),
    )


def test_kill_by_id(c: Wire, connect: Callable[[], Wire]) -> None:
    victim = connect()
    assert c("CLIENT", "KILL", "ID", victim("CLIENT", "ID")) == 1
    assert victim.is_closed()
    assert c("PING") == "PONG"


def test_kill_by_address(c: Wire, connect: Callable[[], Wire]) -> None:
    victim, other = connect(), connect()
    assert [victim("PING"), other("PING")] == ["PONG", "PONG"], "a worker has accepted them"
    address = victim.address
    assert c("CLIENT", "KILL", address) == OK
    assert victim.is_closed()
    assert c("CLIENT", "KILL", address) == Error("ERR No such client")
    assert c("CLIENT", "KILL", "ADDR", other.address) == 1
    assert other.is_closed()


def test_kill_by_type_leaves_the_others(c: Wire, connect: Callable[[], Wire]) -> None:
    # Those of the test before may have left unnoticed as yet.
    eventually(lambda: clients(c, "TYPE", "pubsub") == {})
    subscribers, normal = [connect() for _ in range(5)], connect()
    for subscriber in subscribers:
        subscriber("SUBSCRIBE", "a")
    assert c("CLIENT", "KILL", "TYPE", "pubsub") == 5
    for subscriber in subscribers:
        assert subscriber.is_closed()
    assert normal("PING") == "PONG"


def test_kill_spares_the_caller_unless_told(c: Wire, connect: Callable[[], Wire]) -> None:
    me = c("CLIENT", "ID")
    assert c("CLIENT", "KILL", "ID", me) == 0
    assert c("CLIENT", "KILL", "ID", me, "SKIPME", "yes") == 0
    assert c("CLIENT", "KILL", "ID", me, "SKIPME", "no") == 1
    assert c.is_closed()
    c = connect()
    assert c("CLIENT", "KILL", c.address) == OK
    assert c.is_closed()


def test_kill_needs_every_filter_to_match(c: Wire, connect: Callable[[], Wire]) -> None:
    victim = connect()
    victim_id = victim("CLIENT", "ID")
    assert c("CLIENT", "KILL", "ID", victim_id, "TYPE", "pubsub") == 0
    assert c("CLIENT", "KILL", "ID", victim_id, "ADDR", "1.2.3.4:5") == 0
    assert c("CLIENT", "KILL", "ID", victim_id, "MAXAGE", 100_000) == 0
    assert victim("PING") == "PONG"
    laddr = victim.server_address
    assert c("CLIENT", "KILL", "ID", victim_id, "USER", "default", "LADDR", laddr, "TYPE", "normal") == 1
    assert victim.is_closed()


def reply_after_pause(c: Wire, other: Wire, *request: str) -> object:
    """The reply to a request made in a pause, which must not come before its end."""
    begin = time.monotonic()
    assert c("CLIENT", "PAUSE", 150) == OK
    other.send(*request)
    reply = other.read()
    assert time.monotonic() - begin >= 0.149
    return reply


def test_pause_holds_all_requests_until_it_is_over(c: Wire, connect: Callable[[], Wire]) -> None:
    others = [connect() for _ in range(6)]
    begin = time.monotonic()
    assert c("CLIENT", "PAUSE", 250) == OK
    for other in others:
        other.send("PING")
    assert select.select([other.socket for other in others], [], [], 20)[0]
    assert time.monotonic() - begin >= 0.249, "the first reply of all"
    for other in others:
        assert other.read() == "PONG"


@pytest.mark.parametrize(
    "request_line",
    [
        "PING",
        "INFO",
        "CONFIG GET port",
        "CLIENT LIST",
        "COMMAND",
        "COMMAND COUNT",
        "SLOWLOG GET",
        "HELLO",
        "MULTI",
        "RESET",
    ],
)
def test_pause_holds_whatever_a_command_is_written_in(c: Wire, connect: Callable[[], Wire], request_line: str) -> None:
    assert not isinstance(reply_after_pause(c, connect(), *request_line.split()), Error)


def test_pause_holds_subscribers_and_transactions(c: Wire, connect: Callable[[], Wire]) -> None:
    subscriber, queueing = connect(), connect()
    subscriber("SUBSCRIBE", "news")
    assert queueing("MULTI") == OK
    assert reply_after_pause(c, subscriber, "PING") in ("PONG", [b"pong", b""])
    assert reply_after_pause(c, queueing, "GET", "k") == QUEUED


def test_unpause_ends_a_pause_of_everything(node_target: Target, resp: int) -> None:
    """Redis holds CLIENT UNPAUSE, too; there only time ends such a pause."""
    c, other, admin = (node_target.connect(resp) for _ in range(3))
    assert c("CLIENT", "PAUSE", 20_000) == OK
    other.send("PING")
    assert other.silent(0.03)
    assert admin("CLIENT", "UNPAUSE") == OK
    assert other.read() == "PONG"


def test_unpause_lets_them_go(c: Wire, connect: Callable[[], Wire]) -> None:
    """Requests of the administrator's connection are held like all others, except CLIENT UNPAUSE under WRITE."""
    other, reader = connect(), connect()
    assert c("CLIENT", "PAUSE", 20_000, "WRITE") == OK
    other.send("SET", "k", "v")
    assert reader("GET", "k") is None
    assert reader("PING") == "PONG"
    assert other.silent(0.05)
    assert c("CLIENT", "UNPAUSE") == OK
    assert other.read() == OK
    assert reader("GET", "k") == b"v"


@pytest.mark.parametrize(
    "request_line",
    [
        "SET k v",
        "DEL k",
        "INCR n",
        "FLUSHALL",
        "MSET a 1 b 2",
        "RENAME a b",
        "EXPIRE k 5",
        "PUBLISH c m",
        "SPUBLISH c m",
    ],
)
def test_pause_of_writes_holds(c: Wire, connect: Callable[[], Wire], request_line: str) -> None:
    other = connect()
    assert c("CLIENT", "PAUSE", 20_000, "WRITE") == OK
    try:
        other.send(*request_line.split())
        assert other.silent(0.02)
    finally:
        assert c("CLIENT", "UNPAUSE") == OK
    other.read()


def test_pause_of_writes_holds_a_transaction_that_writes(c: Wire, connect: Callable[[], Wire]) -> None:
    early, late, reader = connect(), connect(), connect()
    assert early.pipeline([("MULTI",), ("SET", "k", "v")]) == [OK, QUEUED]
    assert c("CLIENT", "PAUSE", 20_000, "WRITE") == OK
    try:
        assert reader.pipeline([("MULTI",), ("GET", "k"), ("EXEC",)]) == [OK, QUEUED, [None]]
        early.send("EXEC")
        assert late("MULTI") == OK
        late.send("SET", "k", "w")
        assert early.silent(0.03)
        assert late.silent(0.03), "a write is held when it is queued, too"
    finally:
        assert c("CLIENT", "UNPAUSE") == OK
    assert early.read() == [OK]
    assert late.read() == QUEUED
    assert late("EXEC") == [OK]


def test_keys_do_not_expire_visibly_later_because_of_a_pause(c: Wire) -> None:
    assert c("SET", "k", "v", "PX", 10) == OK
    assert c("CLIENT", "PAUSE", 60, "WRITE") == OK
    eventually(lambda: c("GET", "k") is None)
    assert c("CLIENT", "UNPAUSE") == OK


def test_reply_off_in_one_pipeline(c: Wire) -> None:
    requests = [
        ("CLIENT", "REPLY", "OFF"),
        ("SET", "a", "1"),
        ("MGET", "a", "b"),
        ("CLIENT", "REPLY", "ON"),
        ("GET", "a"),
    ]
    data = b"".join(
        b"*%d\r\n" % len(r) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p.encode()) for p in r) for r in requests
    )
    assert c.exchange(data, 2) == [OK, b"1"]


def test_reply_off_inside_a_transaction(c: Wire) -> None:
    requests = ("MULTI", "SET k 1", "CLIENT REPLY OFF", "SET k 2", "GET k", "EXEC", "PING", "CLIENT REPLY ON", "GET k")
    for request in requests:
        c.send(*request.split())
    # What EXEC announces does not come whole.
    wanted = b"+OK\r\n" + 4 * b"+QUEUED\r\n" + b"*4\r\n+OK\r\n" + b"+OK\r\n$1\r\n2\r\n"
    received = b""
    while len(received) < len(wanted) and (piece := c.socket.recv(4096)):
        received += piece
    assert received == wanted


def test_reply_on_inside_a_transaction(c: Wire) -> None:
    for request in ("CLIENT REPLY OFF", "MULTI", "SET k 1", "CLIENT REPLY ON", "GET k", "EXEC"):
        c.send(*request.split())
    assert [c.read(), c.read()] == [OK, b"1"]
    assert c("PING") == "PONG"


def test_an_idle_client_has_no_output(c: Wire, connect: Callable[[], Wire]) -> None:
    other = connect()
    assert other("ECHO", "x" * 10_000) == b"x" * 10_000
    own_id = other("CLIENT", "ID")
    client = clients(c)[own_id]
    assert (client["obl"], client["oll"], client["omem"]) == ("0", "0", "0")


def test_flags_in_the_list(c: Wire) -> None:
    assert c("CLIENT", "NO-EVICT", "on") == OK
    assert c("CLIENT", "NO-TOUCH", "on") == OK
    assert set(fields(text_of(c("CLIENT", "INFO")))["flags"]) == {"e", "T"}


@pytest.mark.parametrize(
    ("reason", "reply"), [("TIMEOUT", 0), ("ERROR", Error("UNBLOCKED client unblocked via CLIENT UNBLOCK"))]
)
def test_unblock_of_a_waiting_client(c: Wire, connect: Callable[[], Wire], reason: str, reply: object) -> None:
    waiting = connect()
    waiting_id = waiting("CLIENT", "ID")
    assert waiting("SET", "k", "v") == OK
    waiting.send("WAIT", 1, 0)
    eventually(lambda: c("CLIENT", "UNBLOCK", waiting_id, reason) == 1)
    assert waiting.read() == reply
    assert waiting("PING") == "PONG"


def test_a_client_killed_while_it_is_sending(c: Wire, connect: Callable[[], Wire]) -> None:
    victim = connect()
    victim_id = victim("CLIENT", "ID")
    failed: list[BaseException] = []

    def send() -> None:
        try:
            while True:
                victim.pipeline([("SET", f"k{i}", "v" * 100) for i in range(200)])
        except (ConnectionEndedError, OSError) as error:
            failed.append(error)

    sender = threading.Thread(target=send)
    sender.start()
    eventually(lambda: c("DBSIZE") == 200)
    assert c("CLIENT", "KILL", "ID", victim_id) == 1
    sender.join(30)
    assert failed
    assert c("PING") == "PONG"
