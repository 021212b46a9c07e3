"""Random sequences of requests of all types: our replies and contents are the peer's ."""

from collections.abc import Iterator

import pytest
from hypothesis import given, note, settings
from tests.differential.play import Coverage, check, compare_replies, replies_of, restore_sizes
from tests.differential.replies import Value, same, value_of
from tests.differential.shapes import Play, plays
from tests.differential.table import GROUPS, LEFT_OUT
from tests.targets import Target
from tests.wire import Wire

# The same plays each time: others are for `make differential`.
PLAYS = 25
COVERING_THE_OWN_SHARD = (b"DBSIZE", b"KEYS", b"RANDOMKEY", b"SCAN")
TYPE_GROUPS = frozenset(b"string bitmap hyperloglog list set sorted-set geo hash stream generic".split())


@pytest.fixture(autouse=True)
def _restored(request: pytest.FixtureRequest) -> Iterator[None]:
    """Servers have their own sizes of small collections again afterwards."""
    servers = [request.getfixturevalue(name) for name in ("target", "node3") if name in request.fixturenames]
    yield
    for server in servers:
        with Wire(server.host, server.port) as c:
            restore_sizes(c)


@pytest.mark.all_servers
@pytest.mark.both_protocols
@settings(max_examples=PLAYS, derandomize=True, database=None)
@given(play=plays())
def test_replies_and_contents_are_those_of_redis(target: Target, peer: Target, resp: int, play: Play) -> None:
    note("\n".join(map(repr, play.steps)))
    with Wire(target.host, target.port) as ours, Wire(peer.host, peer.port) as theirs:
        check(ours, theirs, play, resp, Coverage())


@pytest.mark.both_protocols
@settings(max_examples=PLAYS, derandomize=True, database=None)
@given(play=plays())
def test_a_session_is_the_same_through_every_worker(node3: Target, resp: int, play: Play) -> None:
    """Which worker a client is connected to changes no reply, but of what covers the own shard on an own port."""
    steps = tuple(step for step in play.steps if not set(COVERING_THE_OWN_SHARD) & set(map(bytes.upper, step.request)))
    replies = []
    for port in node3.worker_ports:
        with Wire(node3.host, port) as c:
            replies.append(replies_of(c, Play(play.is_small, steps), resp))
    for other in replies[1:]:
        compare_replies(steps, other, replies[0], Coverage())


def _names(documented: dict[bytes, dict[bytes, object]]) -> set[str]:
    """The names of all commands of the groups of types, subcommands for containers."""
    found: set[str] = set()
    for name, about in documented.items():
        if about[b"group"] in TYPE_GROUPS:
            inner = about.get(b"subcommands")
            found |= {text.decode() for text in inner} if isinstance(inner, dict) else {name.decode()}
    return found


def _nested(reply: Value) -> object:
    """Arrays of names and values as dicts, as COMMAND DOCS in RESP3 means them."""
    kind, inner = reply
    if kind == b"%":
        names = [part[1] for part in inner[::2]]
        return dict(zip(names, map(_nested, inner[1::2]), strict=True))
    return inner


def test_the_table_has_every_command_of_the_types(peer: Target) -> None:
    with Wire(peer.host, peer.port) as c:
        c.hello(3)
        c.send("COMMAND", "DOCS")
        documented = _nested(value_of(c.read_bytes()))
    assert isinstance(documented, dict)
    rows = [row.split() for group in GROUPS.values() for row in group.strip().splitlines()]
    reached = {row[0].lower() for row in rows} | {"|".join(row[:2]).lower() for row in rows if len(row) > 1}
    missing = {name for name in _names(documented) if name not in reached and name not in LEFT_OUT}
    assert {name for name in missing if not name.endswith("|help")} == set()


SAME = [
    ("SMEMBERS s", b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"*2\r\n$1\r\nb\r\n$1\r\na\r\n"),
    ("TTL s", b":99\r\n", b":100\r\n"),
    ("ZSCORE z a", b"$1\r\n0\r\n", b"$2\r\n-0\r\n"),
    ("XADD x * a b", b"$15\r\n1700000000000-0\r\n", b"$15\r\n1700000000001-1\r\n"),
    ("HGETALL h", b"%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n", b"%2\r\n+b\r\n:2\r\n+a\r\n:1\r\n"),
    ("SCAN 0", b"*2\r\n$1\r\n5\r\n*1\r\n+a\r\n", b"*2\r\n$1\r\n0\r\n*2\r\n+b\r\n+a\r\n"),
]
DIFFERENT = [
    ("LRANGE l 0 -1", b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"*2\r\n$1\r\nb\r\n$1\r\na\r\n"),
    ("TTL s", b":-1\r\n", b":100\r\n"),
    ("LLEN l", b":1\r\n", b":2\r\n"),
    ("GET s", b"$1\r\n0\r\n", b"$2\r\n-0\r\n"),
    ("HGETALL h", b"%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n", b"%2\r\n+b\r\n:1\r\n+a\r\n:2\r\n"),
    ("SMEMBERS s", b"*1\r\n$1\r\na\r\n", b"~1\r\n$1\r\na\r\n"),
    ("SCAN 0", b"*2\r\n$1\r\n0\r\n*1\r\n+a\r\n", b"*2\r\n$1\r\n0\r\n*2\r\n+b\r\n+a\r\n"),
    ("GET s", b"-WRONGTYPE a\r\n", b"-WRONGTYPE b\r\n"),
]


@pytest.mark.parametrize(("request_line", "ours", "theirs"), SAME)
def test_what_redis_leaves_open_is_no_difference(request_line: str, ours: bytes, theirs: bytes) -> None:
    assert same(tuple(request_line.encode().split()), ours, theirs)


@pytest.mark.parametrize(("request_line", "ours", "theirs"), DIFFERENT)
def test_all_else_is_one(request_line: str, ours: bytes, theirs: bytes) -> None:
    assert not same(tuple(request_line.encode().split()), ours, theirs)
