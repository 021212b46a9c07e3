"""CONFIG GET, SET, RESETSTAT."""

from collections.abc import Callable

import pytest
from tests.targets import Target, configured
from tests.wire import OK, Error, MapReply, Wire, pairs

pytestmark = pytest.mark.all_servers


def failed(option: str, reason: str) -> Error:
    return Error(f"ERR CONFIG SET failed (possibly related to argument '{option}') - {reason}")


def value_of(c: Wire, option: str) -> bytes:
    value: bytes = pairs(c("CONFIG", "GET", option))[option.encode()]
    return value


@pytest.mark.both_protocols
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


def test_a_configuration_inside_a_transaction(c: Wire) -> None:
    with configured(c, timeout=0):
        assert c("MULTI") == OK
        c("CONFIG", "SET", "timeout", 99)
        c("CONFIG", "GET", "timeout")
        first, second = c("EXEC")
        assert first == OK
        assert pairs(second) == {b"timeout": b"99"}


def test_old_names_of_options(c: Wire) -> None:
    with configured(c, hash_max_listpack_entries=128, busy_reply_threshold=5000):
        assert c("CONFIG", "SET", "hash-max-ziplist-entries", 7, "LUA-TIME-LIMIT", 900) == OK
        assert pairs(c("CONFIG", "GET", "hash-max-*entries")) == {
            b"hash-max-ziplist-entries": b"7",
            b"hash-max-listpack-entries": b"7",
        }
        assert value_of(c, "busy-reply-threshold") == b"900"
        assert c("CONFIG", "SET", "hash-max-ziplist-entries", 1, "hash-max-listpack-entries", 2) == failed(
            "hash-max-listpack-entries", "duplicate parameter"
        )


def test_options_with_one_value_here(node_target: Target) -> None:
    c = node_target.connect()
    assert value_of(c, "cluster-enabled") == b"yes"
    assert value_of(c, "appendfsync") == b"no"
    assert c("CONFIG", "SET", "activedefrag", "no", "replicaof", "") == OK
    assert c("CONFIG", "SET", "activedefrag", "yes") == failed("activedefrag", "it is always 'no' here")
    assert c("CONFIG", "SET", "activedefrag", "maybe") == failed("activedefrag", "argument must be 'yes' or 'no'")
    assert c("CONFIG", "SET", "timeout", 5, "io-threads", 4) == failed("io-threads", "it is always '1' here")
    assert value_of(c, "timeout") == b"0"
