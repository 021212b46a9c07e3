"""Bulk replies without I/O: every split of the bytes gives the same."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yggdrasil.client.bulk import BulkReply, Outcome


def receive(reply: BulkReply, data: bytes, sizes: list[int]) -> bytes:
    """Puts data into the reply in pieces of these sizes (then as it likes); gives what it did not take."""
    steps = itertools.chain(sizes, itertools.repeat(len(data)))
    done = reply.begin()
    while not done and data:
        space = reply.space()
        assert len(space) > 0
        count = min(next(steps), len(space), len(data))
        space[:count] = data[:count]
        data = data[count:]
        done = reply.received(count)
    return data


@given(st.binary(max_size=300), st.lists(st.integers(1, 50)), st.integers(0, 70), st.binary(max_size=80))
def test_a_value(value: bytes, sizes: list[int], early: int, behind: bytes) -> None:
    data = b"$%d\r\n%b\r\n" % (len(value), value)
    memory = bytearray(b"#" * 310)
    early = min(early, len(data))
    reply = BulkReply(memoryview(memory), data[:early])
    left = receive(reply, data[early:] + behind, sizes)
    assert reply.outcome is Outcome.VALUE
    assert reply.length == len(value)
    assert memory[: len(value)] == value
    assert set(memory[len(value) :]) <= {ord("#")}
    assert reply.rest + left == behind


@given(st.binary(min_size=1, max_size=300), st.lists(st.integers(1, 50)))
def test_a_value_that_is_too_long_is_skipped(value: bytes, sizes: list[int]) -> None:
    memory = bytearray(len(value) - 1)
    reply = BulkReply(memoryview(memory))
    left = receive(reply, b"$%d\r\n%b\r\n+next" % (len(value), value), sizes)
    assert reply.outcome is Outcome.TOO_LARGE
    assert reply.length == len(value)
    assert not any(memory)
    assert reply.rest + left == b"+next"


@pytest.mark.parametrize(
    "line", [b"$-1", b"_", b"-ERR no", b"+OK", b":5", b">2", b"*1", b"$?", b"$", b"$1x", b"$" + b"9" * 20, b"$ 5"]
)
@pytest.mark.parametrize("size", [1, 2, 100])
def test_anything_else_is_left_as_it_came(line: bytes, size: int) -> None:
    data = line + b"\r\n$1\r\nx\r\n"
    reply = BulkReply(memoryview(bytearray(5)))
    left = receive(reply, data, [size] * len(data))
    assert reply.outcome is Outcome.OTHER
    assert reply.rest + left == data


def test_a_value_without_an_end_is_refused() -> None:
    reply = BulkReply(memoryview(bytearray(5)))
    with pytest.raises(ValueError, match="line end"):
        receive(reply, b"$2\r\nabXY", [])


def test_what_is_to_be_skipped_is_known_with_the_header() -> None:
    reply = BulkReply(memoryview(bytearray(5)))
    receive(reply, b"$1000\r\nabc", [])
    assert reply.to_skip == 997
