"""What a near reader reads is what the node holds."""

import ctypes
import threading
import time

import pytest
from tests.near.conftest import Near, near_url
from tests.node import HOST
from tests.wire import OK, Wire

from yggdrasil.client.near import NearBufferError, NearReader, NearRefusedError

SIZES = [0, 1, 7, 8, 64, 1000, 16_000, 16_400, 65_536, 1_000_000, 20_000_000]
STRESS_S = 3.0
PATIENCE_S = 60.0


def value_of(size: int, seed: int = 0) -> bytes:
    return bytes((seed + i * 7) % 256 for i in range(min(size, 4099))) * (size // 4099 + 1)


@pytest.mark.parametrize("size", SIZES)
def test_values_of_all_sizes(near: Near, size: int) -> None:
    value = value_of(size)[:size]
    assert near.c("SET", "k", value) == OK
    assert near.reader.get("k") == value
    assert near.reader.get(b"k") == value
    assert near.reader.mget(["none", "k", b"k"]) == [None, value, value]
    buffer = bytearray(b"." * (size + 1))
    assert near.reader.get_into("k", buffer) == size
    assert buffer == value + b"."
    with near.reader.view("k") as view:
        assert (view.nbytes, len(view), bytes(memoryview(view))) == (size, size, value)
        assert memoryview(view).readonly


def test_integers_are_their_digits(near: Near) -> None:
    near.c("SET", "n", -1234567)
    buffer = bytearray(8)
    assert near.reader.get("n") == b"-1234567"
    assert near.reader.get_into("n", buffer) == 8
    assert buffer == b"-1234567"
    assert near.reader.mget(["n"]) == [b"-1234567"]
    with near.reader.view("n") as view:
        assert bytes(view.memory) == b"-1234567"
    near.c("INCR", "n")
    assert near.reader.get("n") == b"-1234566"


def test_what_is_not_there(near: Near) -> None:
    buffer = bytearray(b"kept")
    assert near.reader.get("none") is None
    assert near.reader.get_into("none", buffer) is None
    assert near.reader.mget(["a", "b"]) == [None, None]
    assert near.reader.mget([]) == []
    assert not near.reader.exists("none")
    with pytest.raises(KeyError, match="none"):
        near.reader.view("none")
    assert buffer == b"kept"


def test_a_key_whose_time_has_come_is_gone_at_once(near: Near) -> None:
    for size in (10, 100_000):
        near.c("SET", "k", b"x" * size, "PX", 50)
        deadline = time.monotonic() + PATIENCE_S
        while near.reader.exists("k"):
            assert time.monotonic() < deadline
        assert near.reader.get("k") is None
        assert near.reader.get_into("k", bytearray(size)) is None
        with pytest.raises(KeyError):
            near.reader.view("k")
        near.c("SET", "k", b"x" * size, "EX", 1000)
        assert near.reader.exists("k")
        assert near.reader.get("k") == b"x" * size


def test_a_buffer_that_is_too_small_stays_as_it_is(near: Near) -> None:
    for value in (b"x" * 100, b"x" * 100_000, b"-1234567"):
        near.c("SET", "k", value)
        buffer = bytearray(b"1234567")
        with pytest.raises(NearBufferError) as refused:
            near.reader.get_into("k", buffer)
        assert (refused.value.needed, refused.value.given) == (len(value), 7)
        assert buffer == b"1234567"


def test_buffers_of_other_items_and_none_that_cannot_be_written(near: Near) -> None:
    near.c("SET", "k", b"\1\0\0\0\2\0\0\0")
    words = memoryview(bytearray(12)).cast("I")
    assert near.reader.get_into("k", words) == 8
    assert words.tolist() == [1, 2, 0]
    with pytest.raises(BufferError):
        near.reader.get_into("k", b"read-only")
    with pytest.raises(BufferError):
        near.reader.get_into("k", memoryview(bytearray(16))[::2])
    with pytest.raises(TypeError, match="Python objects"):
        near.reader.get_into("k", (ctypes.py_object * 2)())
    with pytest.raises(TypeError):
        near.reader.get(5)  # type: ignore[arg-type]


def test_another_database(near: Near) -> None:
    near.c("SELECT", 3)
    near.c("SET", "k", "three")
    reader = NearReader(near_url(near.node), db=3)
    assert reader.get("k") == b"three"
    assert near.reader.get("k") is None
    near.c("SWAPDB", 0, 3)
    assert near.reader.get("k") == b"three"
    assert reader.get("k") is None
    with pytest.raises(NearRefusedError, match="16 databases"):
        NearReader(near_url(near.node), db=16)


def test_the_version_tells_whether_a_value_has_changed(near: Near) -> None:
    near.c("SET", "k", b"x" * 50_000)
    with near.reader.view("k") as first, near.reader.view("k") as same:
        assert first.version == same.version
        near.c("APPEND", "k", "y")
        with near.reader.view("k") as later:
            assert later.version != first.version


def test_many_keys_at_once(near: Near) -> None:
    keys = [f"key:{n}" for n in range(1000)]
    for n, key in enumerate(keys):
        near.c("SET", key, f"{n}" * (n % 7 + 1))
    found = near.reader.mget([*keys, "none"])
    assert found == [f"{n}".encode() * (n % 7 + 1) for n in range(1000)] + [None]


@pytest.mark.parametrize("count", [20, 2000])
def test_a_transaction_is_waited_for(near: Near, count: int) -> None:
    keys = [f"t{n}" for n in range(count)]
    near.c("MSET", *[word for key in keys for word in (key, "0")])
    stop = threading.Event()

    def write() -> None:
        with Wire(HOST, near.node.port) as c:
            number = 0
            while not stop.is_set():
                number += 1
                c("MSET", *[word for key in keys for word in (key, number)])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        last = 0
        begin = time.monotonic()
        while (took_s := time.monotonic() - begin) < 1 or (last == 0 and took_s < PATIENCE_S):
            for key in (keys[0], keys[-1], keys[1]):
                seen = int(near.reader.get(key) or -1)
                assert seen >= last, "who has seen a transaction does not see what was before it"
                last = seen
    finally:
        stop.set()
        writer.join()
    assert last > 0


def checked(key: int, value: bytes) -> bool:
    """Values of the writers below tell by their first byte what all of them are."""
    return value == value[:1] * size_of(key, value[0])


def size_of(key: int, seed: int) -> int:
    return 1 + (seed * 977 + key * 131) % (150_000 if key % 5 == 0 else 900)


def write_until(stop: threading.Event, port: int, start: int, keys: int) -> None:
    with Wire(HOST, port) as c:
        seed = start
        while not stop.is_set():
            for key in range(keys):
                seed = (seed * 5 + 3) % 256
                if seed % 16 == 1:
                    c.send("DEL", f"w{key}")
                else:
                    c.send("SET", f"w{key}", bytes([seed]) * size_of(key, seed))
            for _ in range(keys):
                c.read()


def look(reader: NearReader, key: int, buffer: bytearray) -> bool:
    """Reads a key in all ways; whether it was there the first time."""
    name = f"w{key}"
    value = reader.get(name)
    assert value is None or checked(key, value), key
    length = reader.get_into(name, buffer)
    assert length is None or checked(key, bytes(buffer[:length])), key
    try:
        view = reader.view(name)
    except KeyError:
        return value is not None
    with view:
        first = bytes(view.memory)
        time.sleep(0)
        assert checked(key, first), key
        assert bytes(view.memory) == first
    return value is not None


def test_values_are_whole_under_writers_at_full_speed(near: Near) -> None:
    keys = 60
    stop = threading.Event()
    writers = [threading.Thread(target=write_until, args=(stop, near.node.port, start, keys)) for start in (1, 2)]
    for writer in writers:
        writer.start()
    hits = 0
    buffer = bytearray(150_000)
    try:
        begin = time.monotonic()
        while (took_s := time.monotonic() - begin) < STRESS_S or (hits <= 100 and took_s < PATIENCE_S):
            hits += sum(look(near.reader, key, buffer) for key in range(keys))
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert hits > 100
    near.c("FLUSHALL")
    near.wait_until_free()
