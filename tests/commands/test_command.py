"""COMMAND and its subcommands, and errors that come before any command runs."""

from typing import Any

import pytest
from tests.targets import Target
from tests.wire import SYNTAX, MapReply, SetReply, Wire, arity, expect, pairs

pytestmark = pytest.mark.both_protocols

# Name, arity, first key, last key, step: what cluster-aware clients go by.
ROWS = [
    ("append", 3, 1, 1, 1),
    ("auth", -2, 0, 0, 0),
    ("client", -2, 0, 0, 0),
    ("cluster", -2, 0, 0, 0),
    ("command", -1, 0, 0, 0),
    ("config", -2, 0, 0, 0),
    ("copy", -3, 1, 2, 1),
    ("dbsize", 1, 0, 0, 0),
    ("debug", -2, 0, 0, 0),
    ("decr", 2, 1, 1, 1),
    ("decrby", 3, 1, 1, 1),
    ("del", -2, 1, -1, 1),
    ("discard", 1, 0, 0, 0),
    ("dump", 2, 1, 1, 1),
    ("echo", 2, 0, 0, 0),
    ("exec", 1, 0, 0, 0),
    ("exists", -2, 1, -1, 1),
    ("expire", -3, 1, 1, 1),
    ("expireat", -3, 1, 1, 1),
    ("expiretime", 2, 1, 1, 1),
    ("flushall", -1, 0, 0, 0),
    ("flushdb", -1, 0, 0, 0),
    ("get", 2, 1, 1, 1),
    ("getdel", 2, 1, 1, 1),
    ("getex", -2, 1, 1, 1),
    ("getrange", 4, 1, 1, 1),
    ("getset", 3, 1, 1, 1),
    ("hello", -1, 0, 0, 0),
    ("incr", 2, 1, 1, 1),
    ("incrby", 3, 1, 1, 1),
    ("incrbyfloat", 3, 1, 1, 1),
    ("info", -1, 0, 0, 0),
    ("keys", 2, 0, 0, 0),
    ("latency", -2, 0, 0, 0),
    ("lcs", -3, 1, 2, 1),
    ("lolwut", -1, 0, 0, 0),
    ("memory", -2, 0, 0, 0),
    ("mget", -2, 1, -1, 1),
    ("monitor", 1, 0, 0, 0),
    ("move", 3, 1, 1, 1),
    ("mset", -3, 1, -1, 2),
    ("msetnx", -3, 1, -1, 2),
    ("multi", 1, 0, 0, 0),
    ("object", -2, 0, 0, 0),
    ("persist", 2, 1, 1, 1),
    ("pexpire", -3, 1, 1, 1),
    ("pexpireat", -3, 1, 1, 1),
    ("pexpiretime", 2, 1, 1, 1),
    ("ping", -1, 0, 0, 0),
    ("psetex", 4, 1, 1, 1),
    ("psubscribe", -2, 0, 0, 0),
    ("pttl", 2, 1, 1, 1),
    ("publish", 3, 0, 0, 0),
    ("pubsub", -2, 0, 0, 0),
    ("punsubscribe", -1, 0, 0, 0),
    ("quit", -1, 0, 0, 0),
    ("randomkey", 1, 0, 0, 0),
    ("rename", 3, 1, 2, 1),
    ("renamenx", 3, 1, 2, 1),
    ("reset", 1, 0, 0, 0),
    ("restore", -4, 1, 1, 1),
    ("restore-asking", -4, 1, 1, 1),
    ("role", 1, 0, 0, 0),
    ("scan", -2, 0, 0, 0),
    ("select", 2, 0, 0, 0),
    ("set", -3, 1, 1, 1),
    ("setex", 4, 1, 1, 1),
    ("setnx", 3, 1, 1, 1),
    ("setrange", 4, 1, 1, 1),
    ("shutdown", -1, 0, 0, 0),
    ("slowlog", -2, 0, 0, 0),
    ("spublish", 3, 1, 1, 1),
    ("ssubscribe", -2, 1, -1, 1),
    ("strlen", 2, 1, 1, 1),
    ("subscribe", -2, 0, 0, 0),
    ("substr", 4, 1, 1, 1),
    ("sunsubscribe", -1, 1, -1, 1),
    ("swapdb", 3, 0, 0, 0),
    ("time", 1, 0, 0, 0),
    ("touch", -2, 1, -1, 1),
    ("ttl", 2, 1, 1, 1),
    ("type", 2, 1, 1, 1),
    ("unlink", -2, 1, -1, 1),
    ("unsubscribe", -1, 0, 0, 0),
    ("unwatch", 1, 0, 0, 0),
    ("wait", 3, 0, 0, 0),
    ("watch", -2, 1, -1, 1),
]


def items(reply: Any, resp: int) -> list[Any]:
    """A set of RESP3 or its array form of RESP2."""
    if resp == 2:
        assert isinstance(reply, list), reply
        return reply
    assert isinstance(reply, SetReply), reply
    return reply.items


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]))
def test_the_table_says_what_redis_says(c: Wire, row: tuple[str, int, int, int, int]) -> None:
    name, count, first, last, step = row
    (entry,) = c("COMMAND", "INFO", name.upper())
    assert entry[0] == name.encode()
    assert entry[1] == count
    assert entry[3:6] == [first, last, step]
    assert len(entry) == 10


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]))
def test_too_few_arguments(c: Wire, row: tuple[str, int, int, int, int]) -> None:
    name, count = row[0], abs(row[1])
    if count > 1:
        assert c(name.upper(), *["x"] * (count - 2)) == arity(name)


@pytest.mark.parametrize(
    ("name", "flags", "categories"),
    [
        ("get", {"readonly", "fast"}, {"@read", "@string", "@fast"}),
        ("set", {"write", "denyoom"}, {"@write", "@string", "@slow"}),
        ("del", {"write"}, {"@keyspace", "@write", "@slow"}),
        ("mget", {"readonly", "fast"}, {"@read", "@string", "@fast"}),
        ("incr", {"write", "denyoom", "fast"}, {"@write", "@string", "@fast"}),
        ("expire", {"write", "fast"}, {"@keyspace", "@write", "@fast"}),
        ("ping", {"fast"}, {"@fast", "@connection"}),
        ("multi", {"noscript", "loading", "stale", "fast", "allow_busy"}, {"@fast", "@transaction"}),
        ("publish", {"pubsub", "loading", "stale", "fast"}, {"@pubsub", "@fast"}),
        ("subscribe", {"pubsub", "noscript", "loading", "stale"}, {"@pubsub", "@slow"}),
        ("scan", {"readonly"}, {"@keyspace", "@read", "@slow"}),
        ("flushall", {"write"}, {"@keyspace", "@write", "@slow", "@dangerous"}),
        ("keys", {"readonly"}, {"@keyspace", "@read", "@slow", "@dangerous"}),
    ],
)
def test_flags_and_categories(c: Wire, resp: int, name: str, flags: set[str], categories: set[str]) -> None:
    (entry,) = c("COMMAND", "INFO", name)
    assert set(items(entry[2], resp)) == flags
    assert set(items(entry[6], resp)) == categories


@pytest.mark.parametrize(
    ("name", "tips"),
    [
        ("get", []),
        ("del", ["request_policy:multi_shard", "response_policy:agg_sum"]),
        ("mget", ["request_policy:multi_shard"]),
        ("ttl", ["nondeterministic_output"]),
        ("ping", ["request_policy:all_shards", "response_policy:all_succeeded"]),
        ("keys", ["request_policy:all_shards", "nondeterministic_output_order"]),
        ("info", ["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
        ("command|list", ["nondeterministic_output_order"]),
        ("slowlog|len", ["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"]),
        ("swapdb", []),
    ],
)
def test_tips(c: Wire, resp: int, name: str, tips: list[str]) -> None:
    (entry,) = c("COMMAND", "INFO", name)
    assert items(entry[7], resp) == [tip.encode() for tip in tips]


def specification(reply: Any) -> dict[bytes, Any]:
    """A key specification without its notes, which nobody has to write in the same words."""
    found = pairs(reply)
    found.pop(b"notes", None)
    found[b"flags"] = set(found[b"flags"])
    for name in (b"begin_search", b"find_keys"):
        part = pairs(found[name])
        found[name] = (part[b"type"], pairs(part[b"spec"]))
    return found


def rows_by_name(c: Wire) -> dict[bytes, list[Any]]:
    """All rows of COMMAND, those of subcommands too: arity, flags, keys, categories, tips, key specifications."""
    rows: dict[bytes, list[Any]] = {}

    def add(row: list[Any]) -> None:
        name, count, flags, first, last, step, categories, tips, keys, subcommands = row
        rows[name] = [count, set(flags), first, last, step, set(categories), tips, list(map(specification, keys))]
        for subcommand in subcommands:
            add(subcommand)

    for row in c("COMMAND"):
        add(row)
    return rows


def test_all_rows_are_those_of_redis(node_target: Target, peer: Target) -> None:
    ours, theirs = rows_by_name(node_target.connect()), rows_by_name(peer.connect())
    known = ours.keys() & theirs.keys()
    assert len(known) > 150
    assert {name: ours[name] for name in known} == {name: theirs[name] for name in known}


def test_key_specifications(c: Wire, resp: int) -> None:
    (entry,) = c("COMMAND", "INFO", "get")
    (specification,) = items(entry[8], resp)
    specification = pairs(specification)
    assert set(items(specification[b"flags"], resp)) == {"RO", "access"}
    begin, find = pairs(specification[b"begin_search"]), pairs(specification[b"find_keys"])
    assert begin[b"type"] == b"index"
    assert pairs(begin[b"spec"]) == {b"index": 1}
    assert find[b"type"] == b"range"
    assert pairs(find[b"spec"]) == {b"lastkey": 0, b"keystep": 1, b"limit": 0}


def test_info_of_subcommands(c: Wire) -> None:
    unknown, known = c("COMMAND", "INFO", "nosuch", "client|id")
    assert unknown is None or repr(unknown) == "NULL_ARRAY"
    assert known[0] == b"client|id"
    assert known[1] == 2
    (client,) = c("COMMAND", "INFO", "client")
    names = {sub[0] for sub in (client[9] if isinstance(client[9], list) else client[9].items)}
    assert {b"client|id", b"client|kill", b"client|list", b"client|setinfo", b"client|pause"} <= names
    for wrong in ("client|nosuch", "get|x"):
        (reply,) = c("COMMAND", "INFO", wrong)
        assert reply is None or repr(reply) == "NULL_ARRAY"


def test_count_list_and_everything(c: Wire) -> None:
    count = c("COMMAND", "COUNT")
    names = c("COMMAND", "LIST")
    assert count == len([name for name in names if b"|" not in name]) == len(c("COMMAND"))
    assert {row[0].encode() for row in ROWS} <= set(names)
    assert {b"config|get", b"client|list", b"object|encoding", b"command|help"} <= set(names)
    assert len(set(names)) == len(names)
    assert {entry[0] for entry in c("COMMAND", "INFO")} == {name for name in names if b"|" not in name}


def test_list_filters(c: Wire) -> None:
    listed = set(c("COMMAND", "LIST", "FILTERBY", "PATTERN", "get*"))
    assert {b"get", b"getdel", b"getex", b"getrange", b"getset"} <= listed
    assert all(name.startswith(b"get") for name in listed)
    assert sorted(c("COMMAND", "LIST", "filterby", "aclcat", "transaction")) == [
        b"discard",
        b"exec",
        b"multi",
        b"unwatch",
        b"watch",
    ]
    expect(
        c,
        ("COMMAND LIST FILTERBY ACLCAT nosuch", []),
        ("COMMAND LIST FILTERBY MODULE nosuch", []),
        ("COMMAND LIST FILTERBY FOO x", SYNTAX),
        ("COMMAND LIST FILTERBY PATTERN", SYNTAX),
        ("COMMAND LIST FOO", SYNTAX),
    )


def test_docs(c: Wire, resp: int) -> None:
    reply = c("COMMAND", "DOCS", "get", "nosuch", "SET")
    assert isinstance(reply, list if resp == 2 else MapReply)
    docs = pairs(reply)
    assert set(docs) == {b"get", b"set"}
    get = pairs(docs[b"get"])
    assert get[b"since"] == b"1.0.0"
    assert get[b"group"] == b"string"
    assert get[b"complexity"] == b"O(1)"
    assert len(get[b"summary"]) > 10
    (argument,) = get[b"arguments"]
    argument = pairs(argument)
    assert argument[b"name"] == b"key"
    assert argument[b"type"] == b"key"
    assert argument[b"key_spec_index"] == 0
    names = [pairs(argument)[b"name"] for argument in pairs(docs[b"set"])[b"arguments"]]
    assert names[:2] == [b"key", b"value"]
    assert b"get" in names
    assert pairs(c("COMMAND", "DOCS", "nosuch")) == {}


def test_docs_of_everything(c: Wire) -> None:
    docs = pairs(c("COMMAND", "DOCS"))
    for row in ROWS:
        entry = pairs(docs[row[0].encode()])
        assert {b"summary", b"group"} <= set(entry), row[0]
    assert b"client|id" in pairs(pairs(docs[b"client"])[b"subcommands"])


@pytest.mark.parametrize(
    "container",
    ["CLIENT", "CLUSTER", "COMMAND", "CONFIG", "LATENCY", "MEMORY", "MODULE", "OBJECT", "PUBSUB", "SLOWLOG"],
)
def test_help_begins_with_the_form_of_a_call(c: Wire, container: str) -> None:
    lines = c(container, "HELP")
    assert lines[0] == f"{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    assert lines[-2] == "HELP"
