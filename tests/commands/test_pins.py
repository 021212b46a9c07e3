"""PIN, UNPIN, PINTTL and PINNED: what ends a pin, what takes it along, and their limits."""

import pytest
from tests.targets import Target, configured
from tests.wire import NOT_AN_INTEGER, OK, SYNTAX, Error, Left, Wire, eventually, expect, info, pairs

pytestmark = pytest.mark.all_servers

INVALID = Error("ERR invalid expire time in 'pin' command")
CURSOR = Error("ERR invalid cursor")


@pytest.fixture
def c(node_target: Target, resp: int) -> Wire:
    """The peer has no pins."""
    return node_target.connect(resp)


def all_pinned(c: Wire, *options: str | int) -> list[bytes]:
    """A whole iteration, sorted."""
    found: list[bytes] = []
    cursor = b"0"
    while True:
        cursor, keys = c("PINNED", cursor, *options)
        found += keys
        if cursor == b"0":
            return sorted(found)


def test_a_pin_lasts_for_its_time(c: Wire) -> None:
    expect(
        c,
        ("SET k v", OK),
        ("PINTTL k", -1),
        ("OBJECT PIN k", -1),
        ("PINTTL absent", -2),
        ("OBJECT PIN absent", -2),
        ("PIN k EX 100", 1),
        ("PINTTL k", Left(100)),
        ("PIN k px 50000", 1),
        ("PINTTL k", Left(50)),
        ("PIN k absent k", 2),
        ("PINTTL k", Left(3600)),
        ("PIN absent", 0),
        ("UNPIN k absent", 1),
        ("UNPIN k", 0),
        ("PINTTL k", -1),
        ("EXISTS k", 1),
    )
    pinned, left = c.pipeline([("MULTI",), ("PIN", "k", "PX", "40"), ("OBJECT", "PIN", "k"), ("EXEC",)])[-1]
    assert pinned == 1
    assert 0 < left <= 40
    eventually(lambda: c("OBJECT", "PIN", "k") == -1)
    assert all_pinned(c) == []
    assert c("UNPIN", "k") == 0


def test_the_default_time_is_an_option(c: Wire) -> None:
    assert c("SET", "k", "v") == OK
    with configured(c, pin_default_ttl=700):
        assert c("PIN", "k") == 1
        assert c("PINTTL", "k") == Left(700)


def test_wrong_calls(c: Wire) -> None:
    expect(
        c,
        ("SET k v", OK),
        ("PIN k EX 0", INVALID),
        ("PIN k EX -1", INVALID),
        ("PIN k EX 9223372036854775807", INVALID),
        ("PIN k PX 9223372036854775807", INVALID),
        ("PIN k EX 300000000000", INVALID),
        ("PIN k PX x", NOT_AN_INTEGER),
        ("PIN k EX", SYNTAX),
        ("PIN k px", SYNTAX),
        ("PINTTL k", -1),
        ("PIN", Error("ERR wrong number of arguments for 'pin' command")),
        ("UNPIN", Error("ERR wrong number of arguments for 'unpin' command")),
        ("PINTTL a b", Error("ERR wrong number of arguments for 'pinttl' command")),
        ("PINNED x", CURSOR),
        ("PINNED -1", CURSOR),
        ("PINNED 0 COUNT 0", SYNTAX),
        ("PINNED 0 COUNT", SYNTAX),
        ("PINNED 0 TYPE string", SYNTAX),
        ("PINNED MATCH", SYNTAX),
    )


def test_options_are_told_from_keys(c: Wire) -> None:
    """The last but one argument is an option by its name, unless it is the only key; none can be the last."""
    for key in ("ex", "px", "100", "a"):
        assert c("SET", key, "v") == OK
    expect(
        c,
        ("PIN ex", 1),
        ("UNPIN ex", 1),
        ("PIN ex 100", 2),
        ("PINTTL ex", Left(3600)),
        ("UNPIN ex 100", 2),
        ("PIN a ex 100", 1),
        ("PINTTL a", Left(100)),
        ("PINTTL 100", -1),
        ("COMMAND GETKEYS PIN a b EX 100", [b"a", b"b"]),
        ("COMMAND GETKEYS PIN ex 100", [b"ex", b"100"]),
    )


def test_overwriting_keeps_a_pin_and_deleting_ends_it(c: Wire) -> None:
    changes = [
        "SET k other",
        f"SET k {'long' * 100}",
        "SET k 12",
        "INCR k",
        "APPEND k text",
        f"SETRANGE k 30000 {'x' * 100}",
        "SET k v EX 100",
        "PERSIST k",
        "EXPIRE k 100",
        "GETSET k w",
        "MSET k v j w",
        "COPY j k REPLACE",
    ]
    assert c("SET", "k", "v") == OK
    assert c("PIN", "k", "EX", "500") == 1
    for change in changes:
        assert not isinstance(c.do(change), Error), change
        assert c("PINTTL", "k") == Left(500), change
    for end in ("DEL k", "UNLINK k", "GETDEL k", "EXPIRE k 0", "FLUSHDB", "FLUSHALL"):
        assert c("SET", "k", "v") == OK
        assert c("PIN", "k") == 1
        assert not isinstance(c.do(end), Error), end
        assert c("SET", "k", "v") == OK
        assert c("PINTTL", "k") == -1, end
    assert all_pinned(c) == []


def test_expiry_ends_a_pin(c: Wire) -> None:
    assert c.pipeline([("MULTI",), ("SET", "k", "v", "PX", 30), ("PIN", "k"), ("EXEC",)])[-1] == [OK, 1]
    eventually(lambda: c("PINTTL", "k") == -2)
    assert c("SET", "k", "v") == OK
    assert c("PINTTL", "k") == -1


@pytest.mark.parametrize("tagged", [True, False])
def test_renamed_keys_take_their_pin_along(c: Wire, tagged: bool) -> None:
    a, b, d = ("{t}a", "{t}b", "{t}d") if tagged else ("a", "b", "d")
    assert c("MSET", a, "1", b, "2") == OK
    assert c("PIN", a, "EX", 100) == 1
    assert c("RENAME", a, b) == OK
    assert (c("PINTTL", b), c("PINTTL", a)) == (Left(100), -2)
    assert c("SET", a, "3") == OK
    assert c("PINTTL", a) == -1
    assert c("RENAME", a, b) == OK
    assert c("PINTTL", b) == Left(100), "what replaces a pinned key is pinned"
    assert c("SET", a, "3") == OK
    assert c("PIN", a, "EX", 200) == 1
    assert c("RENAME", a, b) == OK
    assert c("PINTTL", b) == Left(200), "the later end holds"
    assert c("COPY", b, d) == 1
    assert c("PINTTL", d) == -1, "a copy is not pinned"
    assert c("MOVE", b, 1) == 1
    assert c("SELECT", 1) == OK
    assert c("PINTTL", b) == Left(200)
    assert all_pinned(c) == [b.encode()]
    assert c("SELECT", 0) == OK
    assert c("SWAPDB", 0, 1) == OK
    assert c("PINTTL", b) == Left(200)


def test_pinned_goes_through_all_pins(c: Wire) -> None:
    names = [f"key:{i}" for i in range(300)]
    assert set(c.pipeline([("SET", name, "v") for name in [*names, "other"]])) <= {OK}
    assert c("PIN", *names) == 300
    for count in (1, 7, 1000):
        assert all_pinned(c, "COUNT", count) == sorted(name.encode() for name in names)
    assert all_pinned(c, "MATCH", "key:1?") == [f"key:1{i}".encode() for i in range(10)]
    assert c("PINNED", "MATCH", "key:7", "COUNT", 1000)[0] in (b"0", b"1099511627776")
    assert c("UNPIN", *names[:200]) == 200
    assert all_pinned(c) == sorted(name.encode() for name in names[200:])
    assert c("FLUSHALL") == OK
    assert all_pinned(c) == []


def test_pins_in_transactions_and_for_watchers(c: Wire, node_target: Target) -> None:
    """A pin changes no value: nobody who watches the key is told."""
    assert c("MSET", "a", "1", "b", "2") == OK
    assert c("WATCH", "a") == OK
    assert node_target.connect()("PIN", "a", "b", "EX", 50) == 2
    steps = [("MULTI",), ("PINTTL", "a"), ("UNPIN", "a", "b"), ("PIN", "b", "EX", 900), ("PINTTL", "b"), ("EXEC",)]
    assert c.pipeline(steps)[-1] == [Left(50), 2, 1, Left(900)]


def test_limits(c: Wire) -> None:
    """Beyond maxpinned nothing is changed, on no shard."""
    names = [f"key:{i}" for i in range(20)]
    assert set(c.pipeline([("SET", name, "v" * 1000) for name in names])) <= {OK}
    with configured(c, maxpinned=12 * 1088):
        assert c("PIN", *names[:10]) == 10
        refused = c("PIN", *names)
        assert isinstance(refused, Error)
        assert refused.text.startswith("PINLIMIT "), refused.text
        assert "maxpinned" in refused.text
        assert all_pinned(c) == sorted(name.encode() for name in names[:10])
        assert c("PIN", *names[:10], names[0]) == 11, "what is pinned already is not counted again"
        assert c("PIN", names[10]) == 1
        grown = c("SET", names[0], "v" * 3000)
        assert isinstance(grown, Error)
        assert grown.text.startswith("PINLIMIT ")
        assert isinstance(c("APPEND", names[0], "v" * 3000), Error)
        assert c("GET", names[0]) == b"v" * 1000
        assert c("SET", names[0], "v" * 500) == OK
        assert c("PIN", names[11]) == 1
        assert c("DEL", *names) == 20
        assert c("SET", "k", "v" * 12000) == OK
        assert c("PIN", "k") == 1
    with configured(c, maxpinned="0"):
        assert isinstance(c("PIN", "k"), int), "a pin that is there may be prolonged"
        assert c("SET", "j", "v") == OK
        assert isinstance(c("PIN", "j"), Error)


def test_limits_of_prefixes(c: Wire) -> None:
    for i in range(6):
        assert c("MSET", f"model:{i}", "v" * 1000, f"user:{i}", "v" * 1000) == OK
    with configured(c, maxpinned_prefixes="model: 3500 user:1 0"):
        assert c("PIN", "model:0", "model:1", "model:2") == 3
        refused = c("PIN", "model:3", "user:0")
        assert isinstance(refused, Error)
        assert "maxpinned-prefixes" in refused.text
        assert c("PINTTL", "user:0") == -1
        assert c("PIN", *(f"user:{i}" for i in (0, 2, 3, 4))) == 4
        assert isinstance(c("PIN", "user:1"), Error)
        assert isinstance(c("RENAME", "user:0", "model:5"), Error)
        assert c("RENAME", "model:0", "model:5") == OK
        assert c("PINTTL", "model:5") > 0


def test_options_that_make_no_sense(c: Wire) -> None:
    for name, value in [
        ("maxpinned", "101%"),
        ("maxpinned", "x"),
        ("maxpinned", "-1"),
        ("maxpinned-prefixes", "a"),
        ("maxpinned-prefixes", "a 1 a 2"),
        ("maxpinned-prefixes", "a 1zb"),
        ("pin-default-ttl", "0"),
    ]:
        assert isinstance(c("CONFIG", "SET", name, value), Error), (name, value)
    assert pairs(c("CONFIG", "GET", "maxpinned*")) == {b"maxpinned": b"25%", b"maxpinned-prefixes": b""}


def test_pins_are_counted(c: Wire) -> None:
    assert c("MSET", "a", "v", "b", "v" * 1000) == OK
    assert c("PIN", "a", "b") == 2

    def are_these() -> bool:
        memory = info(c, "memory")
        return memory["pinned_keys"] == "2" and 1000 < int(memory["pinned_memory"]) < 1200

    # Each shard tells its own from time to time: pins of the test before may be in one of the figures still.
    eventually(are_these)
    memory = info(c, "memory")
    assert memory["maxpinned"] == "25%"
