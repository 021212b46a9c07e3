"""Values from nothing to half a gigabyte, read back through every worker."""

import hashlib

import pytest
from tests.targets import Target
from tests.wire import OK, Error, Wire


def pattern(length: int) -> bytes:
    """Bytes of which every 64 KiB differ."""
    block = b"".join(hashlib.blake2b(i.to_bytes(4, "big"), digest_size=64).digest() for i in range(1024))
    parts = [i.to_bytes(8, "big") + block[8:] for i in range(length // len(block) + 1)]
    return b"".join(parts)[:length]


@pytest.mark.parametrize("length", [0, 1, 16_383, 16_384, 16_385, 65_536, 1_048_576, 1_048_577, 64 * 1_048_576])
def test_a_value_is_the_same_everywhere(target: Target, resp: int, length: int) -> None:
    value = pattern(length)
    for number, port in enumerate(target.worker_ports):
        key = f"big{number}"
        assert target.connect(resp, port=port)("SET", key, value) == OK
        for other in target.worker_ports:
            connection = target.connect(resp, port=other)
            assert connection("GET", key) == value
            assert connection("STRLEN", key) == length
            assert connection("GETRANGE", key, -10, -1) == value[-10:]


def test_growing_by_append(c: Wire) -> None:
    value = b""
    for i in range(60):
        part = bytes([i]) * (1 << (i % 15))
        value += part
        assert c("APPEND", "k", part) == len(value)
    assert c("GET", "k") == value
    half = pattern(600_000)
    assert c("SET", "k", half) == OK
    assert c("APPEND", "k", half) == 1_200_000
    assert c("GET", "k") == half + half


def test_setrange_in_a_large_value(c: Wire) -> None:
    value = bytearray(pattern(500_000))
    assert c("SET", "k", bytes(value)) == OK
    for at in (0, 1, 16_380, 65_530, 262_140, 499_990):
        value[at : at + 10] = b"0123456789"
        assert c("SETRANGE", "k", at, "0123456789") == 500_000
    assert c("GET", "k") == bytes(value)
    assert c("SETRANGE", "k", 700_000, "end") == 700_003
    assert c("GET", "k") == bytes(value) + bytes(200_000) + b"end"


def test_many_large_values_come_and_go(c: Wire) -> None:
    for turn in range(5):
        for i in range(20):
            assert c("SET", f"k{i}", bytes([turn]) * (100_000 + 50_000 * ((i + turn) % 4))) == OK
        for i in range(20):
            assert c("GET", f"k{i}") == bytes([turn]) * (100_000 + 50_000 * ((i + turn) % 4))
        assert c("DEL", *[f"k{i}" for i in range(0, 20, 2)]) == 10


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_half_a_gigabyte(target: Target) -> None:
    length = 512 * 1_048_576
    value = pattern(length)
    c = target.connect(timeout=120)
    assert c("SET", "huge", value) == OK
    assert c("STRLEN", "huge") == length
    assert c("APPEND", "huge", "x") == Error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
    assert target.connect(timeout=120, port=target.worker_ports[-1])("GET", "huge") == value
    assert c("GETRANGE", "huge", 300_000_000, 300_000_099) == value[300_000_000:300_000_100]
    assert c("DEL", "huge") == 1
