"""TIME, LOLWUT, ROLE, WAIT, DBSIZE, SHUTDOWN's refusals."""

import time
from functools import partial

import pytest
from tests.targets import Target, configured
from tests.wire import NOT_AN_INTEGER, OK, Error, Wire, arity, eventually, expect, text_of


def test_time(c: Wire) -> None:
    begin = time.time()
    seconds, microseconds = c("TIME")
    assert begin - 1 <= int(seconds) <= time.time() + 1
    assert 0 <= int(microseconds) < 1_000_000
    assert c("TIME", "x") == arity("time")


def test_time_inside_a_transaction_goes_on_but_never_back(c: Wire) -> None:
    c.pipeline([("MULTI",), ("TIME",), ("TIME",)])
    first, second = c("EXEC")
    assert first <= second


@pytest.mark.parametrize("version", [None, 5, 6, 99])
def test_lolwut_names_the_version(c: Wire, version: int | None) -> None:
    arguments = () if version is None else ("VERSION", version)
    text = text_of(c("LOLWUT", *arguments))
    assert "ver. " in text
    assert text.endswith("\n")
    assert c("LOLWUT", "VERSION", "x") == NOT_AN_INTEGER


def test_role(c: Wire) -> None:
    role, offset, replicas = c("ROLE")
    assert role == b"master"
    assert isinstance(offset, int)
    assert replicas == []


def test_there_are_no_modules(node_target: Target) -> None:
    assert node_target.connect()("MODULE", "LIST") == []


def test_wait_holds_what_is_behind_it(c: Wire) -> None:
    begin = time.monotonic()
    assert c.pipeline([("SET", "k", "v"), ("WAIT", 1, 40), ("GET", "k")]) == [OK, 0, b"v"]
    assert time.monotonic() - begin >= 0.039


def test_oom(c: Wire, target: Target) -> None:
    """Beyond maxmemory writes that need memory are refused, everything else goes on."""
    oom = Error("OOM command not allowed when used memory > 'maxmemory'.")

    def refused(key: str) -> bool:
        return bool(c("SET", key, "w") == oom)

    assert c("SET", "k", "v" * 1000) == OK
    admin = target.connect()
    with configured(admin, maxmemory_policy="noeviction"), configured(admin, maxmemory=1):
        # As long as a shard frees what the test before has left, its writes go on.
        for key in ("{k}2", "{a}2", "{b}2", "{n}2"):
            eventually(partial(refused, key))
        expect(
            c,
            ("SET k w", oom),
            ("MSET a 1 b 2", oom),
            ("APPEND k w", oom),
            ("INCR n", oom),
            ("STRLEN k", 1000),
            ("EXPIRE k 100", 1),
            ("EXISTS k a b", 1),
            ("MULTI", OK),
            ("SET k w", oom),
            ("EXEC", Error("EXECABORT Transaction discarded because of previous errors.")),
            ("DEL k", 1),
        )
    assert c("SET", "k", "w") == OK
