"""Strings: reading, writing, counting."""

import pytest
from tests.wire import OK, Error, Wire

pytestmark = pytest.mark.all_servers

OVERFLOW = Error("ERR increment or decrement would overflow")
TOO_LONG = Error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
OFFSET = Error("ERR offset is out of range")


@pytest.mark.parametrize(
    "length",
    [0, 1, 19, 20, 44, 45, 127, 128, 254, 255, 256, 4095, 4096, 16383, 16384, 16385, 65535, 65536, 65537, 200_000],
)
def test_lengths_around_every_border(c: Wire, length: int) -> None:
    value = bytes(i * 7 % 251 for i in range(length))
    assert c("SET", "k", value) == OK
    assert c("GET", "k") == value
    assert c("APPEND", "k", "!") == length + 1
    assert c("GET", "k") == value + b"!"
