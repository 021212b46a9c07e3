"""GET_STREAM, STREAMINFO and PUT_STREAM: long values in pieces."""

import hashlib
from typing import Any

import pytest
from tests.targets import Target, configured
from tests.wire import OK, SYNTAX, Error, Left, MapReply, Wire, encode, pairs

pytestmark = pytest.mark.all_servers

NO_UPLOAD = Error("NOUPLOAD no upload has this id: it was committed or aborted, timed out, or never begun")
WORDS = bytes(range(256)) * 4


def pattern(length: int) -> bytes:
    """Bytes of which every 64 KiB differ."""
    block = b"".join(hashlib.blake2b(i.to_bytes(4, "big"), digest_size=64).digest() for i in range(1024))
    parts = [i.to_bytes(8, "big") + block[8:] for i in range(length // len(block) + 1)]
    return b"".join(parts)[:length]


@pytest.fixture
def c(node_target: Target, resp: int) -> Wire:
    """A connection to our node: the peer has none of these commands."""
    return node_target.connect(resp)


def info(c: Wire, key: str) -> dict[bytes, Any]:
    """STREAMINFO as a dictionary."""
    return pairs(c("STREAMINFO", key))


def test_a_value_is_read_in_pieces(c: Wire) -> None:
    value = pattern(1_000_000)
    assert c("SET", "k", value) == OK
    version = info(c, "k")[b"version"]
    pieces: list[bytes] = []
    while piece := c("GET_STREAM", "k", len(b"".join(pieces)), 70_001, "VERSION", version):
        pieces.append(piece)
    assert b"".join(pieces) == value
    assert [len(piece) for piece in pieces[:2]] == [70_001, 70_001]


@pytest.mark.parametrize("value", [b"", b"x", b"12345", WORDS, b"z" * 100_000])
def test_pieces_end_where_the_value_ends(c: Wire, value: bytes) -> None:
    assert c("SET", "k", value) == OK
    for offset, length in [(0, 0), (0, 1), (0, 10**9), (3, 2), (len(value), 10), (len(value) + 1, 10), (2**62, 2**62)]:
        assert c("GET_STREAM", "k", offset, length) == value[offset : offset + length]


def test_a_missing_key_is_null(c: Wire) -> None:
    assert c("GET_STREAM", "absent", 0, 10) is None
    assert c("GET_STREAM", "absent", 0, 10, "VERSION", 1) is None
    assert c("STREAMINFO", "absent") is None


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("k", "-1", "10"), "ERR the offset is a number of bytes from 0 on, not '-1'"),
        (("k", "0", "-10"), "ERR the length is a number of bytes from 0 on, not '-10'"),
        (("k", "x", "10"), "ERR the offset is a number of bytes from 0 on, not 'x'"),
        (("k", "0", "9" * 30), f"ERR the length is a number of bytes from 0 on, not '{'9' * 30}'"),
        (("k", "0", "1", "VERSION"), "ERR syntax error"),
        (("k", "0", "1", "VERSION", "-1"), "ERR value is not an integer or out of range"),
        (("k", "0", "1", "VERSION", "1", "2"), "ERR syntax error"),
        (("k", "0", "1", "REVISION", "1"), "ERR syntax error"),
    ],
)
def test_absurd_arguments_are_named(c: Wire, arguments: tuple[str, ...], error: str) -> None:
    assert c("SET", "k", "value") == OK
    assert c("GET_STREAM", *arguments) == Error(error)


def test_a_changed_value_is_stale(c: Wire) -> None:
    assert c("SET", "k", "before") == OK
    version = info(c, "k")[b"version"]
    assert c("GET_STREAM", "k", 0, 3, "VERSION", version) == b"bef"
    assert c("SET", "k", "behind") == OK
    now = info(c, "k")[b"version"]
    assert now != version
    assert c("GET_STREAM", "k", 3, 3, "VERSION", version) == Error(f"STALE the value has version {now}, not {version}")
    assert c("GET_STREAM", "k", 3, 3, "version", now) == b"ind"


@pytest.mark.both_protocols
def test_what_streaminfo_tells(c: Wire, resp: int) -> None:
    assert c("SET", "k", "x" * 12_345) == OK
    reply = c("STREAMINFO", "k")
    assert isinstance(reply, MapReply if resp == 3 else list)
    told = pairs(reply)
    assert list(told) == [b"length", b"version", b"chunk-size", b"tier", b"pin"]
    assert (told[b"length"], told[b"tier"], told[b"pin"]) == (12_345, b"dram", None)
    assert c("SET", "n", "-12345") == OK
    assert info(c, "n")[b"length"] == 6


@pytest.mark.parametrize("parts", [[], [0], [1], [100, 200], [5_000] * 10, [100_000] * 12, [70_000, 0, 3, 2_000_000]])
@pytest.mark.parametrize("hint", [(), (1_000,), (3_000_000,)])
def test_an_upload_is_seen_when_it_is_committed(c: Wire, parts: list[int], hint: tuple[int, ...]) -> None:
    value = pattern(sum(parts))
    assert c("SET", "k", "before") == OK
    upload = c("PUT_STREAM", "BEGIN", "k", *hint)
    sent = 0
    for part in parts:
        assert c("PUT_STREAM", "APPEND", upload, value[sent : sent + part]) == sent + part
        sent += part
        assert c("GET", "k") == b"before"
    version = c("PUT_STREAM", "COMMIT", upload)
    assert c("GET", "k") == value
    assert c("STRLEN", "k") == len(value)
    assert info(c, "k")[b"version"] == version
    assert c("PUT_STREAM", "COMMIT", upload) == NO_UPLOAD
    assert c("APPEND", "k", "more") == len(value) + 4
    assert c("SETRANGE", "k", 0, "!") == len(value) + 4
    assert c("GET", "k") == b"!" + (value + b"more")[1:]


def test_uploads_from_any_worker(node_target: Target, resp: int) -> None:
    clients = [node_target.connect(resp, port=port) for port in node_target.worker_ports]
    for number in range(9):
        value = pattern(30_000 * number)
        upload = clients[number % len(clients)]("PUT_STREAM", "BEGIN", f"key:{number}")
        for start in range(0, len(value), 20_000):
            client = clients[(number + start // 20_000) % len(clients)]
            assert client("PUT_STREAM", "APPEND", upload, value[start : start + 20_000]) == min(
                start + 20_000, len(value)
            )
        assert isinstance(clients[(number + 1) % len(clients)]("PUT_STREAM", "COMMIT", upload), int)
        assert clients[0]("GET", f"key:{number}") == value


def test_a_pipelined_upload(c: Wire) -> None:
    upload = c("PUT_STREAM", "BEGIN", "k", 400_000)
    parts = [bytes([i]) * 100_000 for i in range(4)]
    data = b"".join(encode("PUT_STREAM", "APPEND", upload, part) for part in parts)
    replies = c.exchange(data + encode("PUT_STREAM", "COMMIT", upload) + encode("GET", "k"), 6)
    assert replies[:4] == [100_000, 200_000, 300_000, 400_000]
    assert replies[5] == b"".join(parts)


# The hashes of nothing and of "abc", from the test vectors of BLAKE3.
NOTHING = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
ABC = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"


@pytest.mark.parametrize(("value", "digest"), [(b"", NOTHING), (b"abc", ABC), (b"abc", ABC.upper())])
def test_the_hash_is_checked(c: Wire, value: bytes, digest: str) -> None:
    upload = c("PUT_STREAM", "BEGIN", "k")
    assert c("PUT_STREAM", "APPEND", upload, value) == len(value)
    assert c("PUT_STREAM", "COMMIT", upload, "short") == Error(
        "ERR a BLAKE3 hash is 64 hexadecimal digits; the upload is kept"
    )
    assert isinstance(c("PUT_STREAM", "COMMIT", upload, digest), int)
    assert c("GET", "k") == value


def test_an_upload_with_another_hash_is_aborted(c: Wire) -> None:
    upload = c("PUT_STREAM", "BEGIN", "k")
    assert c("PUT_STREAM", "APPEND", upload, "abd") == 3
    reply = c("PUT_STREAM", "COMMIT", upload, ABC)
    assert isinstance(reply, Error)
    assert reply.text.startswith("CHECKSUM the upload has BLAKE3 ")
    assert c("PUT_STREAM", "APPEND", upload, "x") == NO_UPLOAD
    assert c("EXISTS", "k") == 0


def test_an_aborted_upload_leaves_nothing(c: Wire) -> None:
    upload = c("PUT_STREAM", "BEGIN", "k")
    assert c("PUT_STREAM", "APPEND", upload, b"x" * 300_000) == 300_000
    assert c("PUT_STREAM", "ABORT", upload) == OK
    for command in [("APPEND", upload, "x"), ("COMMIT", upload), ("ABORT", upload)]:
        assert c("PUT_STREAM", *command) == NO_UPLOAD
    assert c("EXISTS", "k") == 0


@pytest.mark.parametrize("upload", ["", "x", "0" * 15, "g" * 16, "ff" + "0" * 14, "0" * 17])
def test_what_is_no_upload(c: Wire, upload: str) -> None:
    for command in [("APPEND", upload, "x"), ("COMMIT", upload), ("ABORT", upload)]:
        assert c("PUT_STREAM", *command) == NO_UPLOAD


def test_a_time_to_live_counts_from_the_commit(c: Wire) -> None:
    for options, milliseconds in [(("EX", 100), 100_000), (("PX", 50_000), 50_000), ((10, "ex", 70), 70_000)]:
        upload = c("PUT_STREAM", "BEGIN", "k", *options)
        assert c("PUT_STREAM", "APPEND", upload, "v" * 100_000) == 100_000
        assert isinstance(c("PUT_STREAM", "COMMIT", upload), int)
        assert c("PTTL", "k") == Left(milliseconds, lost=9_000)
    upload = c("PUT_STREAM", "BEGIN", "k")
    c("PUT_STREAM", "COMMIT", upload)
    assert c("PTTL", "k") == -1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("-5",), Error("ERR the size hint is a number of bytes from 0 on, not '-5'")),
        (("EX",), SYNTAX),
        (("EX", "0"), Error("ERR invalid expire time in 'put_stream|begin' command")),
        (("EX", "9" * 18), Error("ERR invalid expire time in 'put_stream|begin' command")),
        (("EX", "1", "PX", "1"), SYNTAX),
        (("EX", "1", "7"), SYNTAX),
        (("9" * 18,), Error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")),
    ],
)
def test_wrong_beginnings(c: Wire, options: tuple[str, ...], error: Error) -> None:
    assert c("PUT_STREAM", "BEGIN", "k", *options) == error


def test_uploads_are_limited(node_target: Target, c: Wire) -> None:
    with configured(c, stream_uploads_max=2):
        uploads = [c("PUT_STREAM", "BEGIN", "{k}") for _ in range(2)]
        refused = c("PUT_STREAM", "BEGIN", "{k}")
        assert isinstance(refused, Error)
        assert "2 uploads are under way in this shard" in refused.text
        assert c("PUT_STREAM", "ABORT", uploads[0]) == OK
        uploads[0] = c("PUT_STREAM", "BEGIN", "{k}")
        for upload in uploads:
            assert c("PUT_STREAM", "ABORT", upload) == OK
    with configured(c, stream_upload_bytes_max=100_000):
        upload = c("PUT_STREAM", "BEGIN", "k")
        assert c("PUT_STREAM", "APPEND", upload, b"x" * 99_000) == 99_000
        refused = c("PUT_STREAM", "APPEND", upload, b"x" * 2_000)
        assert isinstance(refused, Error)
        assert "stream-upload-bytes-max" in refused.text
        assert c("PUT_STREAM", "APPEND", upload, b"y" * 1_000) == 100_000
        assert isinstance(c("PUT_STREAM", "COMMIT", upload), int)
        assert c("GET", "k") == b"x" * 99_000 + b"y" * 1_000
