"""However the input is cut into pieces, the replies are the same."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.targets import Target
from tests.wire import OK, QUEUED, Error, Wire, encode

pytestmark = pytest.mark.all_servers

REQUESTS = (
    encode("SET", "k", "some value\r\nwith lines")
    + b"GET k\r\n"
    + encode("GET", "k")
    + encode("ECHO", "")
    + b"*0\r\n"
    + encode("NOSUCH", "a")
    + encode("MULTI")
    + encode("INCR", "n")
    + encode("MGET", "k", "absent", "n")
    + encode("EXEC")
    + b"\r\nPING 'a b'\n"
    + encode("STRLEN", "k")
)
VALUE = b"some value\r\nwith lines"
REPLIES = [
    OK,
    VALUE,
    VALUE,
    b"",
    Error("ERR unknown command 'NOSUCH', with args beginning with: 'a' "),
    OK,
    QUEUED,
    QUEUED,
    [1, [VALUE, None, b"1"]],
    b"a b",
    len(VALUE),
]


def pieces_give_the_same(c: Wire, helper: Wire, pieces: list[bytes]) -> None:
    assert helper("DEL", "k", "n") >= 0
    for piece in pieces:
        c.send_raw(piece)
        # A round trip elsewhere gives the server the time to read this piece alone.
        assert helper("PING") == "PONG"
    assert [c.read() for _ in REPLIES] == REPLIES


def test_every_cut_in_two(c: Wire, target: Target) -> None:
    helper = target.connect()
    for at in range(1, len(REQUESTS)):
        pieces_give_the_same(c, helper, [REQUESTS[:at], REQUESTS[at:]])


def test_byte_by_byte(c: Wire, target: Target) -> None:
    pieces_give_the_same(c, target.connect(), [REQUESTS[at : at + 1] for at in range(len(REQUESTS))])


@given(cuts=st.sets(st.integers(1, len(REQUESTS) - 1), max_size=12))
def test_any_cuts(c: Wire, target: Target, cuts: set[int]) -> None:
    places = [0, *sorted(cuts), len(REQUESTS)]
    pieces = [REQUESTS[begin:end] for begin, end in pairwise(places)]
    helper = target.connect()
    pieces_give_the_same(c, helper, pieces)
    helper.close()


def test_a_large_value_in_pieces_of_every_size(c: Wire) -> None:
    value = bytes(i * 31 % 256 for i in range(100_000))
    request = encode("SET", "k", value)
    for size in (1_000, 4_096, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537):
        for begin in range(0, len(request), size):
            c.send_raw(request[begin : begin + size])
        assert c.read() == OK
        assert c("GET", "k") == value


def test_a_piece_ends_within_the_line_end_after_a_large_value(c: Wire) -> None:
    for length in (16_384, 65_536, 1_000_000):
        request = encode("SET", "k", "v" * length) + encode("STRLEN", "k")
        end = request.index(b"*2\r\n$6")
        for cut in (end - 3, end - 2, end - 1, end, end + 1):
            c.send_raw(request[:cut])
            assert c.silent(0.002) or cut >= end
            c.send_raw(request[cut:])
            assert c.read() == OK
            assert c.read() == length
