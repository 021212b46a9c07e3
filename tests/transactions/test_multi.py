"""MULTI, EXEC, DISCARD."""

from collections.abc import Callable

import pytest
from tests.targets import Target
from tests.wire import NOT_AN_INTEGER, OK, QUEUED, Error, Wire, arity, expect

EXECABORT = Error("EXECABORT Transaction discarded because of previous errors.")


def test_a_transaction(c: Wire) -> None:
    expect(
        c,
        ("MULTI", OK),
        ("SET a 1", QUEUED),
        ("INCR a", QUEUED),
        ("GET a", QUEUED),
        ("MGET a absent", QUEUED),
        ("DEL absent", QUEUED),
        ("EXEC", [OK, 2, b"2", [b"2", None], 0]),
        ("GET a", b"2"),
        ("EXEC", Error("ERR EXEC without MULTI")),
    )


def test_an_empty_transaction(c: Wire) -> None:
    expect(c, ("MULTI", OK), ("EXEC", []), ("MULTI", OK), ("DISCARD", OK), ("MULTI", OK), ("EXEC", []))


def test_nothing_runs_before_exec(c: Wire, connect: Callable[[], Wire]) -> None:
    other = connect()
    expect(c, ("SET k before", OK), ("MULTI", OK), ("SET k after", QUEUED), ("GET k", QUEUED))
    assert other("GET", "k") == b"before"
    assert c("EXEC") == [OK, b"after"]
    assert other("GET", "k") == b"after"


def test_discard(c: Wire) -> None:
    expect(
        c,
        ("DISCARD", Error("ERR DISCARD without MULTI")),
        ("MULTI", OK),
        ("SET k v", QUEUED),
        ("DISCARD", OK),
        ("GET k", None),
        ("EXEC", Error("ERR EXEC without MULTI")),
    )


def test_nesting_is_refused_and_the_transaction_goes_on(c: Wire) -> None:
    expect(
        c,
        ("MULTI", OK),
        ("SET k v", QUEUED),
        ("MULTI", Error("ERR MULTI calls can not be nested")),
        ("WATCH k", Error("ERR WATCH inside MULTI is not allowed")),
        ("GET k", QUEUED),
        ("EXEC", [OK, b"v"]),
    )


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("NOSUCH a", Error("ERR unknown command 'NOSUCH', with args beginning with: 'a' ")),
        ("GET", arity("get")),
        ("GET a b", arity("get")),
        ("CONFIG FOO", Error("ERR unknown subcommand 'FOO'. Try CONFIG HELP.")),
        ("CONFIG GET", arity("config|get")),
        ("MULTI x", arity("multi")),
        ("DISCARD x", arity("discard")),
        ("SHUTDOWN ABORT", Error("ERR Command not allowed inside a transaction")),
    ],
)
def test_an_error_while_queueing_aborts_it_all(c: Wire, line: str, error: Error) -> None:
    expect(
        c,
        ("MULTI", OK),
        ("SET a 1", QUEUED),
        (line, error),
        ("SET b 2", QUEUED),
        ("EXEC", EXECABORT),
        ("MGET a b", [None, None]),
        ("MULTI", OK),
        ("SET a 3", QUEUED),
        ("EXEC", [OK]),
    )


def test_discard_forgets_the_error(c: Wire) -> None:
    expect(c, ("MULTI", OK), ("NOSUCH", Error("ERR unknown command 'NOSUCH', with args beginning with: ")))
    expect(c, ("DISCARD", OK), ("MULTI", OK), ("PING", QUEUED), ("EXEC", ["PONG"]))


def test_exec_with_arguments_ends_the_transaction(c: Wire) -> None:
    expect(
        c,
        ("MULTI", OK),
        ("SET k v", QUEUED),
        ("EXEC x", Error("EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command")),
        ("EXEC", Error("ERR EXEC without MULTI")),
        ("GET k", None),
    )


def test_an_error_while_running_does_not_stop_the_rest(c: Wire) -> None:
    expect(
        c,
        ("MULTI", OK),
        ("SET a text", QUEUED),
        ("INCR a", QUEUED),
        ("SET b 1 EX 0", QUEUED),
        ("EXPIRE a x", QUEUED),
        ("SET c 3", QUEUED),
        ("EXEC", [OK, NOT_AN_INTEGER, Error("ERR invalid expire time in 'set' command"), NOT_AN_INTEGER, OK]),
        ("MGET a b c", [b"text", None, b"3"]),
    )


def test_over_many_keys_of_all_shards(c: Wire) -> None:
    keys = [f"key:{i}" for i in range(100)]
    assert c("MULTI") == OK
    for key in keys:
        assert c("SET", key, key) == QUEUED
    assert c("MGET", *keys) == QUEUED
    assert c("DEL", *keys[:50]) == QUEUED
    assert c("RENAME", keys[50], "renamed") == QUEUED
    assert c("COPY", keys[51], "copied") == QUEUED
    assert c("MSETNX", keys[0], 1, "fresh", 2) == QUEUED
    assert c("EXISTS", *keys) == QUEUED
    assert c("DBSIZE") == QUEUED
    replies = c("EXEC")
    assert replies[:100] == [OK] * 100
    assert replies[100] == [key.encode() for key in keys]
    assert replies[101:] == [50, OK, 1, 1, 50, 53]


def test_commands_of_every_kind_in_one(c: Wire) -> None:
    expect(
        c,
        ("MULTI", OK),
        ("SELECT 3", QUEUED),
        ("SET k three", QUEUED),
        ("DBSIZE", QUEUED),
        ("SELECT 0", QUEUED),
        ("GET k", QUEUED),
        ("MOVE k 1", QUEUED),
        ("SWAPDB 0 3", QUEUED),
        ("GET k", QUEUED),
        ("KEYS *", QUEUED),
        ("RANDOMKEY", QUEUED),
        ("TYPE k", QUEUED),
        ("PUBLISH nobody x", QUEUED),
        ("ECHO x", QUEUED),
        ("OBJECT ENCODING k", QUEUED),
        ("CLIENT GETNAME", QUEUED),
        ("UNWATCH", QUEUED),
        ("FLUSHDB", QUEUED),
        ("DBSIZE", QUEUED),
        (
            "EXEC",
            [
                OK, OK, 1, OK, None, 0, OK, b"three", [b"k"], b"k", "string", 0, b"x", b"embstr", None,
                OK, OK, 0,
            ],
        ),
        ("DBSIZE", 0),
    )  # fmt: skip


def test_monitor_is_refused_when_it_runs(c: Wire) -> None:
    expect(
        c,
        ("MULTI", OK),
        ("MONITOR", "QUEUED"),
        ("PING", "QUEUED"),
        ("EXEC", [Error("ERR MONITOR isn't allowed for DENY BLOCKING client"), "PONG"]),
        ("PING", "PONG"),
    )


def test_debug_is_refused_when_it_is_queued(servers_without_debug: Target, resp: int) -> None:
    c = servers_without_debug.connect(resp)
    assert c("MULTI") == OK
    assert c("DEBUG", "SLEEP", 0).text.startswith("ERR DEBUG command not allowed.")
    assert c("EXEC") == EXECABORT


def test_the_selected_database_stays_after_exec(c: Wire) -> None:
    expect(c, ("MULTI", OK), ("SELECT 5", QUEUED), ("SET k v", QUEUED), ("EXEC", [OK, OK]), ("GET k", b"v"))
    expect(c, ("SELECT 0", OK), ("GET k", None))


def test_quit_and_reset_inside(c: Wire, target: Target) -> None:
    expect(c, ("MULTI", OK), ("SET k v", QUEUED), ("RESET", "RESET"), ("GET k", None))
    expect(c, ("MULTI", OK), ("SET k v", QUEUED), ("QUIT", OK))
    assert c.is_closed()
    assert target.connect()("GET", "k") is None


def test_a_transaction_belongs_to_its_connection(c: Wire, connect: Callable[[], Wire]) -> None:
    other = connect()
    assert c("MULTI") == OK
    assert other("SET", "k", "v") == OK
    assert other("EXEC") == Error("ERR EXEC without MULTI")
    assert c("GET", "k") == QUEUED
    assert c("EXEC") == [b"v"]


def test_leaving_drops_it(c: Wire, target: Target) -> None:
    assert c.pipeline([("MULTI",), ("SET", "k", "v")]) == [OK, QUEUED]
    c.close()
    assert target.connect()("GET", "k") is None


def test_ten_thousand_commands(c: Wire) -> None:
    requests = [("MULTI",), *[("INCR", f"n{i % 100}") for i in range(10_000)], ("EXEC",)]
    replies = c.pipeline(requests)
    assert replies[:-1] == [OK] + [QUEUED] * 10_000
    assert replies[-1] == [i // 100 + 1 for i in range(10_000)]


def test_large_values_inside(c: Wire) -> None:
    value = bytes(1_000_000)
    replies = c.pipeline([("MULTI",), ("SET", "a", value), ("SET", "b", value + b"x"), ("MGET", "a", "b"), ("EXEC",)])
    assert replies[-1] == [OK, OK, [value, value + b"x"]]


def test_expired_keys_inside(c: Wire) -> None:
    expect(c, ("SET k v", OK), ("MULTI", OK), ("PEXPIRE k -1", QUEUED), ("GET k", QUEUED), ("EXEC", [1, None]))


def test_scanning_inside(c: Wire) -> None:
    assert c("SET", "k", "v") == OK
    cursor, found = b"0", []
    while True:
        cursor, keys = c.pipeline([("MULTI",), ("SCAN", cursor), ("EXEC",)])[-1][0]
        found += keys
        if cursor == b"0":
            break
    assert found == [b"k"]


def test_keys_without_their_values_change_nothing(c: Wire) -> None:
    for name in ("MSET", "MSETNX"):
        wrong = Error(f"ERR wrong number of arguments for '{name.lower()}' command")
        expect(c, ("MULTI", OK), (f"{name} a 1 b 2 c", "QUEUED"), ("EXEC", [wrong]), ("EXISTS a b c", 0))
