"""MULTI, EXEC, DISCARD."""

import pytest
from tests.targets import Target
from tests.wire import OK, QUEUED, Error, Wire, expect

pytestmark = pytest.mark.all_servers

EXECABORT = Error("EXECABORT Transaction discarded because of previous errors.")


def test_quit_and_reset_inside(c: Wire, target: Target) -> None:
    expect(c, ("MULTI", OK), ("SET k v", QUEUED), ("RESET", "RESET"), ("GET k", None))
    expect(c, ("MULTI", OK), ("SET k v", QUEUED), ("QUIT", OK))
    assert c.is_closed()
    assert target.connect()("GET", "k") is None


def test_leaving_drops_it(c: Wire, target: Target) -> None:
    assert c.pipeline([("MULTI",), ("SET", "k", "v")]) == [OK, QUEUED]
    c.close()
    assert target.connect()("GET", "k") is None


def test_ten_thousand_commands(c: Wire) -> None:
    requests = [("MULTI",), *[("INCR", f"n{i % 100}") for i in range(10_000)], ("EXEC",)]
    replies = c.pipeline(requests)
    assert replies[:-1] == [OK] + [QUEUED] * 10_000
    assert replies[-1] == [i // 100 + 1 for i in range(10_000)]


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


def test_debug_is_refused_when_it_is_queued(servers_without_debug: Target, resp: int) -> None:
    c = servers_without_debug.connect(resp)
    assert c("MULTI") == OK
    assert c("DEBUG", "SLEEP", 0).text.startswith("ERR DEBUG command not allowed.")
    assert c("EXEC") == EXECABORT
