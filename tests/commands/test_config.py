"""CONFIG GET, SET, RESETSTAT."""

from collections.abc import Callable

import pytest
from tests.targets import configured
from tests.wire import OK, SYNTAX, Error, MapReply, Wire, arity, expect, pairs


def failed(option: str, reason: str) -> Error:
    return Error(f"ERR CONFIG SET failed (possibly related to argument '{option}') - {reason}")


def value_of(c: Wire, option: str) -> bytes:
    value: bytes = pairs(c("CONFIG", "GET", option))[option.encode()]
    return value


def test_get_by_name_and_pattern(c: Wire, resp: int) -> None:
    reply = c("CONFIG", "GET", "maxmemory")
    assert reply == ([b"maxmemory", b"0"] if resp == 2 else MapReply([(b"maxmemory", b"0")]))
    assert pairs(c("CONFIG", "GET", "MaxMemory")) == {b"MaxMemory": b"0"}
    assert {b"maxmemory", b"maxclients", b"maxmemory-policy"} <= set(pairs(c("CONFIG", "GET", "max*")))
    assert pairs(c("CONFIG", "GET", "nosuch")) == {}
    assert set(pairs(c("CONFIG", "GET", "maxmemory", "nosuch", "timeout", "maxmemory"))) == {b"maxmemory", b"timeout"}
    assert pairs(c("CONFIG", "GET", "max[mx]emory")) == {b"maxmemory": b"0"}
    assert len(pairs(c("CONFIG", "GET", "*"))) > 20


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("databases", b"16"),
        ("maxmemory-samples", b"5"),
        ("lfu-log-factor", b"10"),
        ("lfu-decay-time", b"1"),
        ("timeout", b"0"),
        ("tcp-keepalive", b"300"),
        ("proto-max-bulk-len", b"536870912"),
        ("client-query-buffer-limit", b"1073741824"),
        ("client-output-buffer-limit", b"normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"),
        ("slowlog-log-slower-than", b"10000"),
        ("slowlog-max-len", b"128"),
        ("latency-tracking", b"yes"),
        ("latency-tracking-info-percentiles", b"50 99 99.9"),
        ("latency-monitor-threshold", b"0"),
        ("save", b""),
        ("appendonly", b"no"),
        ("requirepass", b""),
    ],
)
def test_defaults(c: Wire, option: str, value: bytes) -> None:
    assert value_of(c, option) == value


@pytest.mark.parametrize(
    ("option", "given", "kept"),
    [
        ("maxmemory", "100mb", b"104857600"),
        ("maxmemory", "100MB", b"104857600"),
        ("maxmemory", "1g", b"1000000000"),
        ("maxmemory", "1gb", b"1073741824"),
        ("maxmemory", "700k", b"700000"),
        ("maxmemory", "123456789", b"123456789"),
        ("timeout", "300", b"300"),
        ("slowlog-max-len", "5", b"5"),
        ("slowlog-log-slower-than", "-1", b"-1"),
        ("proto-max-bulk-len", "1mb", b"1048576"),
        ("client-query-buffer-limit", "2mb", b"2097152"),
        ("latency-tracking", "no", b"no"),
        ("maxclients", "500", b"500"),
        ("maxmemory-policy", "NoEviction", b"noeviction"),
        (
            "client-output-buffer-limit",
            "normal 1mb 2kb 60",
            b"normal 1048576 2048 60 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        ),
    ],
)
def test_set_is_read_back_by_every_connection(
    c: Wire, connect: Callable[[], Wire], option: str, given: str, kept: bytes
) -> None:
    others = [connect() for _ in range(4)]
    with configured(c, **{option.replace("-", "_"): given}):
        assert value_of(c, option) == kept
        assert {value_of(other, option) for other in others} == {kept}


def test_several_at_once(c: Wire) -> None:
    with configured(c, timeout=0, slowlog_max_len=128):
        assert c("CONFIG", "SET", "timeout", 77, "slowlog-max-len", 9) == OK
        assert value_of(c, "timeout") == b"77"
        assert value_of(c, "slowlog-max-len") == b"9"


def test_set_refuses_and_changes_nothing(c: Wire) -> None:
    memory = "argument must be a memory value"
    whole = "argument couldn't be parsed into an integer"
    expect(
        c,
        ("CONFIG SET maxmemory x", failed("maxmemory", memory)),
        ("CONFIG SET maxmemory -1", failed("maxmemory", memory)),
        ("CONFIG SET maxmemory 1zb", failed("maxmemory", memory)),
        ("CONFIG SET nosuch 1", Error("ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'")),
        ("CONFIG SET timeout 5 nosuch 1", Error("ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'")),
        ("CONFIG SET timeout 5 timeout 6", failed("timeout", "duplicate parameter")),
        ("CONFIG SET timeout 5 maxmemory", SYNTAX),
        ("CONFIG SET timeout -1", failed("timeout", "argument must be between 0 and 2147483647 inclusive")),
        ("CONFIG SET timeout x", failed("timeout", whole)),
        ("CONFIG SET timeout 5 maxclients x", failed("maxclients", whole)),
        ("CONFIG SET maxclients 0", failed("maxclients", "argument must be between 1 and 4294967295 inclusive")),
        ("CONFIG SET databases 5", failed("databases", "can't set immutable config")),
        ("CONFIG SET appendonly maybe", failed("appendonly", "argument must be 'yes' or 'no'")),
        ("CONFIG SET latency-tracking 1", failed("latency-tracking", "argument must be 'yes' or 'no'")),
        (
            "CONFIG SET slowlog-max-len -1",
            failed("slowlog-max-len", "argument must be between 0 and 9223372036854775807 inclusive"),
        ),
        (
            "CONFIG SET slowlog-log-slower-than -2",
            failed("slowlog-log-slower-than", "argument must be between -1 and 9223372036854775807 inclusive"),
        ),
        (
            "CONFIG SET proto-max-bulk-len 1",
            failed("proto-max-bulk-len", "argument must be between 1048576 and 9223372036854775807 inclusive"),
        ),
        (
            "CONFIG SET client-query-buffer-limit 5",
            failed("client-query-buffer-limit", "argument must be between 1048576 and 9223372036854775807 inclusive"),
        ),
        (
            "CONFIG SET client-output-buffer-limit 'foo 0 0 0'",
            failed("client-output-buffer-limit", "Invalid client class specified in buffer limit configuration."),
        ),
        (
            "CONFIG SET client-output-buffer-limit 'normal 0 0'",
            failed("client-output-buffer-limit", "Wrong number of arguments in buffer limit configuration."),
        ),
        (
            "CONFIG SET client-output-buffer-limit 'normal 0 0 x'",
            failed(
                "client-output-buffer-limit",
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
            ),
        ),
        ("CONFIG GET timeout", c("CONFIG", "GET", "timeout")),
    )
    assert value_of(c, "timeout") == b"0"
    assert value_of(c, "maxmemory") == b"0"


def test_a_policy_must_be_one_that_there_is(c: Wire) -> None:
    """Ours has one more, which is its default."""
    for policy in ("allkeys-lru", "allkeys-lfu", "allkeys-random", "noeviction"):
        with configured(c, maxmemory_policy=policy):
            assert value_of(c, "maxmemory-policy") == policy.encode()
    for kind in ("lru", "lfu", "random", "ttl"):
        with configured(c, maxmemory_policy=f"volatile-{kind}"):
            assert value_of(c, "maxmemory-policy") == f"volatile-{kind}".encode()
    reply = c("CONFIG", "SET", "maxmemory-policy", "foo")
    assert isinstance(reply, Error)
    expected = failed("maxmemory-policy", "argument(s) must be one of the following: ").text
    assert reply.text.startswith(expected)
    assert "noeviction" in reply.text


def test_wrong_calls(c: Wire) -> None:
    expect(
        c,
        ("CONFIG", arity("config")),
        ("CONFIG FOO", Error("ERR unknown subcommand 'FOO'. Try CONFIG HELP.")),
        ("CONFIG GET", arity("config|get")),
        ("CONFIG SET", arity("config|set")),
        ("CONFIG SET maxmemory", arity("config|set")),
        ("CONFIG RESETSTAT x", arity("config|resetstat")),
        ("CONFIG REWRITE x", arity("config|rewrite")),
        ("CONFIG REWRITE", Error("ERR The server is running without a config file")),
    )
    assert c("CONFIG", "HELP")[0] == "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"


def test_a_configuration_inside_a_transaction(c: Wire) -> None:
    with configured(c, timeout=0):
        assert c("MULTI") == OK
        c("CONFIG", "SET", "timeout", 99)
        c("CONFIG", "GET", "timeout")
        first, second = c("EXEC")
        assert first == OK
        assert pairs(second) == {b"timeout": b"99"}
