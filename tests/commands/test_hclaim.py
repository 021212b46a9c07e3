"""HCLAIM: fields of many hashes, each for who comes first."""

import pytest
from tests.targets import Target, configured
from tests.wire import NULL_ARRAY, OK, Error, Push, Wire, expect

pytestmark = [pytest.mark.all_servers, pytest.mark.both_protocols]

WRONG_TYPE = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
ARITY = Error("ERR wrong number of arguments for 'hclaim' command")


@pytest.fixture
def c(node_target: Target, resp: int) -> Wire:
    """The peer has no HCLAIM."""
    return node_target.connect(resp)


def test_who_comes_first_has_the_field(c: Wire) -> None:
    expect(
        c,
        ("HCLAIM a f 1 b f 2 a g 3", [None, None, None]),
        ("HCLAIM c f 4 a f 5 b g 6 b f 7", [None, b"1", None, b"2"]),
        ("HMGET a f g", [b"1", b"3"]),
        ("HMGET b f g", [b"2", b"6"]),
        ("HGET c f", b"4"),
    )


def test_of_two_claims_in_one_request_the_first_counts(c: Wire) -> None:
    expect(c, ("HCLAIM a f 1 a f 2 a f 3", [None, b"1", b"1"]), ("HGET a f", b"1"))


def test_claims_of_one_shard_count_all_or_none(c: Wire) -> None:
    expect(
        c,
        ("SET {t}text x", OK),
        ("HSET {t}a f 1", 1),
        ("HCLAIM {t}a g 2 {t}b f 3 {t}c f 4 {t}text f 5 {t}d f 6", WRONG_TYPE),
        ("HMGET {t}a f g", [b"1", None]),
        ("EXISTS {t}b {t}c {t}d", 0),
    )


def test_claims_of_large_hashes_count_all_or_none(c: Wire) -> None:
    fields = [text for number in range(2000) for text in (f"f{number}", "1")]
    assert c("HSET", "{t}a", *fields) == 2000
    expect(
        c,
        ("SET {t}text x", OK),
        ("HCLAIM {t}a new 2 {t}a f7 2 {t}b f 3 {t}text f 4", WRONG_TYPE),
        ("HLEN {t}a", 2000),
        ("EXISTS {t}b", 0),
        ("HCLAIM {t}a new 2 {t}a f7 2 {t}b f 3", [None, b"1", None]),
        ("HLEN {t}a", 2001),
    )


def test_a_field_that_has_expired_is_free(c: Wire) -> None:
    expect(
        c,
        ("HSET a f 1 g 1", 2),
        ("HPEXPIREAT a 1 FIELDS 1 f", [2]),
        ("HCLAIM a f 2 a g 2", [None, b"1"]),
        ("HGET a f", b"2"),
    )


def test_claims_in_a_transaction_and_a_script(c: Wire) -> None:
    requests = [("MULTI",), ("HSET", "a", "f", "1"), ("HCLAIM", "a", "f", "2", "b", "f", "3"), ("EXEC",)]
    assert c.pipeline(requests)[-1] == [1, [b"1", None]]
    script = "return redis.call('HCLAIM', KEYS[1], 'f', '4', KEYS[2], 'f', '5')"
    assert c("EVAL", script, "2", "c", "a") == [None, b"1"]


def test_watches_hear_of_what_is_new_only(c: Wire) -> None:
    assert c("HSET", "a", "f", "1") == 1
    assert c("WATCH", "a") == OK
    assert c("HCLAIM", "a", "f", "2") == [b"1"]
    assert c.pipeline([("MULTI",), ("PING",), ("EXEC",)])[-1] == ["PONG"]
    assert c("WATCH", "a") == OK
    assert c("HCLAIM", "a", "g", "2") == [None]
    assert c.pipeline([("MULTI",), ("PING",), ("EXEC",)])[-1] == (NULL_ARRAY if c.resp == 2 else None)


def test_events_tell_of_what_is_new_only(c: Wire, node_target: Target, resp: int) -> None:
    listener = node_target.connect(resp)
    with configured(c, notify_keyspace_events="Eh"):
        listener("PSUBSCRIBE", "__keyevent@0__:hset")
        expect(
            c,
            ("HCLAIM {t}a f 1 {t}b f 2 {t}a f 3", [None, None, b"1"]),
            ("HCLAIM {t}a f 4", [b"1"]),
            ("HCLAIM {t}c f 5", [None]),
        )
        told = [message.items if isinstance(message := listener.read(), Push) else message for _ in range(3)]
        assert [message[-1] for message in told] == [b"{t}a", b"{t}b", b"{t}c"]


def test_wrong_calls(c: Wire) -> None:
    expect(
        c,
        ("HCLAIM", ARITY),
        ("HCLAIM a f", ARITY),
        ("HCLAIM a f 1 b", ARITY),
        ("HCLAIM a f 1 b f", ARITY),
        ("EXISTS a b", 0),
        ("COMMAND GETKEYS HCLAIM a f 1 b g 2", [b"a", b"b"]),
    )
