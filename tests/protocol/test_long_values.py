"""Long values on their way in and out: whole or not at all, whatever happens meanwhile, and without copies."""

import random
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.node import Node
from tests.protocol.test_big_values import pattern
from tests.targets import Target, configured
from tests.wire import OK, Argument, Error, Wire, encode, eventually, info, pairs

pytestmark = pytest.mark.all_servers

MIB = 1024 * 1024
OOM = Error("OOM command not allowed when used memory > 'maxmemory'.")


@pytest.fixture(scope="module", params=["own shard", "other shard"])
def small_node(request: pytest.FixtureRequest) -> Iterator[tuple[Node, int]]:
    """A node with little memory, and the port of a worker that owns the key `k`, or does not."""
    shards = 1 if request.param == "own shard" else 2
    with Node(shards=shards, maxmemory=shards * 40 * MIB, maxmemory_policy="noeviction") as node:
        with Wire(node.host, node.port) as c:
            slot = c("CLUSTER", "KEYSLOT", "k")
        owner = slot * shards // 16384
        yield node, node.worker_ports[(owner + 1) % shards]


@pytest.fixture
def small(small_node: tuple[Node, int]) -> Iterator[Callable[[], Wire]]:
    """Opens connections to it; it is emptied before."""
    opened: list[Wire] = []

    def connect() -> Wire:
        node, port = small_node
        opened.append(Wire(node.host, port))
        return opened[-1]

    admin = connect()
    assert admin("FLUSHALL") == OK
    eventually(lambda: used_bytes(admin) < MIB)
    yield connect
    for connection in opened:
        connection.close()


def slow_reader(target: Target, resp: int, port: int | None = None) -> Wire:
    """A connection whose socket holds little, so that replies stay in the server."""
    connection = target.connect(resp, port=port)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    return connection


def begin_reading(c: Wire, key: str, length: int) -> None:
    """Asks for a value and waits until its first bytes are there."""
    c.send("GET", key)
    line = b"$%d\r\n" % length
    c.socket.recv(len(line), socket.MSG_PEEK | socket.MSG_WAITALL)


def used_bytes(c: Wire) -> int:
    return int(pairs(c("MEMORY", "STATS"))[b"dataset.bytes"])


CHANGES: dict[str, list[tuple[Argument, ...]]] = {
    "overwritten": [("SET", "k", "short")],
    "overwritten by a long one": [("SET", "k", b"!" * (32 * MIB))],
    "deleted": [("DEL", "k"), ("SET", "other", b"?" * (32 * MIB))],
    "expired": [("PEXPIRE", "k", 1), ("SET", "other", b"?" * (32 * MIB))],
    "flushed": [("FLUSHALL",), ("SET", "other", b"?" * (32 * MIB))],
    "changed in the middle": [("SETRANGE", "k", 20 * MIB, b"*" * 1_000_000)],
    "changed at the end": [("APPEND", "k", b"+" * 1_000_000), ("SETRANGE", "k", 31 * MIB, b"*" * MIB)],
    "renamed": [("RENAME", "k", "l"), ("SET", "k", b"!" * (32 * MIB))],
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_value_that_is_changed_while_it_is_sent_is_sent_as_it_was(target: Target, resp: int, how: str) -> None:
    value = pattern(32 * MIB)
    writer = target.connect(resp)
    assert writer("SET", "k", value) == OK
    readers = [slow_reader(target, resp, port) for port in target.worker_ports for _ in range(2)]
    for reader in readers:
        begin_reading(reader, "k", len(value))
    for change in CHANGES[how]:
        assert not isinstance(writer(*change), Error)
    for reader in readers:
        assert reader.read() == value


def test_replies_keep_their_order_around_long_values(target: Target, resp: int) -> None:
    values = {f"k{i}": pattern(20_000 + 300_000 * i) for i in range(8)}
    c = target.connect(resp)
    for key, value in values.items():
        assert c("SET", key, value) == OK
    requests, expected = [], []
    chooser = random.Random(7)
    for number in range(200):
        key, value = chooser.choice(list(values.items()))
        start = chooser.randrange(len(value))
        requests += [("GET", key), ("SET", f"n{number}", number), ("GETRANGE", key, start, -1), ("GET", f"n{number}")]
        expected += [value, OK, value[start:], b"%d" % number]
        if number % 5 == 0:
            requests.append(("MGET", "k0", f"n{number}", "absent", key))
            expected.append([values["k0"], b"%d" % number, None, value])
    replies = c.exchange(b"".join(encode(*request) for request in requests), len(requests))
    assert replies == expected


def test_the_value_before_a_change_is_given_whole(target: Target, resp: int) -> None:
    value = pattern(3 * MIB)
    for port in target.worker_ports:
        c = target.connect(resp, port=port)
        for number, command in enumerate([("GETDEL",), ("GETSET", "new"), ("GETEX", "PERSIST"), ("SET", "new", "GET")]):
            key = f"k{number}"
            assert c("SET", key, value) == OK
            assert c(command[0], key, *command[1:]) == value
            if command[0] != "GETEX":
                assert c("GET", key) == (None if command[0] == "GETDEL" else b"new")


def test_any_split_of_long_requests_gives_the_same(target: Target, resp: int) -> None:
    chooser = random.Random(3)
    values = [pattern(chooser.choice([65_535, 65_536, 65_537, 100_000, 200_001, 700_000])) for _ in range(12)]
    data = b"".join(
        encode(*request)
        for number, value in enumerate(values)
        for request in [
            ("SET", f"k{number}", value),
            ("SET", f"k{number}", value[::-1], "GET"),
            ("SETNX", f"k{number}", value),
            ("PSETEX", f"t{number}", 100_000, value),
            ("SET", f"k{number}", value, "XX", "PX", 100_000),
            ("SET", f"k{number}", value, "NX", "EX"),
            ("GETSET", f"n{number}", value),
            ("GET", f"k{number}"),
        ]
    )
    c = target.connect(resp)
    thread = threading.Thread(target=send_in_pieces, args=(c, data, chooser))
    thread.start()
    for value in values:
        assert [c.read() for _ in range(8)] == [OK, value, 0, OK, OK, Error("ERR syntax error"), None, value]
    thread.join()
    assert c("STRLEN", "k3") == len(values[3])


def send_in_pieces(c: Wire, data: bytes, chooser: random.Random) -> None:
    at = 0
    while at < len(data):
        end = at + chooser.choice([1, 2, 3, 10, 1_000, 16_384, 65_536, 65_600, 300_000])
        c.send_raw(data[at:end])
        at = end


def test_a_long_value_in_a_transaction(target: Target, resp: int) -> None:
    value = pattern(500_000)
    for port in target.worker_ports:
        c = target.connect(resp, port=port)
        data = b"".join(encode(*r) for r in [("MULTI",), ("SET", "k", value), ("GET", "k"), ("EXEC",)])
        assert c.exchange(data, 4) == [OK, "QUEUED", "QUEUED", [OK, value]]


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_connection_that_is_lost_half_way_frees_its_pages(small: Callable[[], Wire], how: str) -> None:
    admin = small()
    before = used_bytes(admin)
    assert admin("SET", "k", "before") == OK
    data = encode("SET", "k", pattern(20 * MIB))
    for end in [70_000, 5 * MIB, len(data) - 3, len(data) - 1]:
        c = small()
        c.send_raw(data[:end])
        eventually(lambda: used_bytes(admin) > before + 15 * MIB)
        if how == "close":
            c.close()
        else:
            c.reset_connection()
        eventually(lambda: used_bytes(admin) < before + MIB)
        assert admin("GET", "k") == b"before"


def test_a_value_that_does_not_fit_is_refused_before_it_is_sent(small: Callable[[], Wire]) -> None:
    c, other = small(), small()
    assert c("SET", "k", "before") == OK
    data = encode("SET", "k", pattern(64 * MIB)) + encode("GET", "k")
    c.send_raw(data[:100])
    assert c.read() == OOM
    thread = threading.Thread(target=c.send_raw, args=(data[100:],))
    thread.start()
    assert other("PING") == "PONG"
    assert c.read() == b"before"
    thread.join()
    assert c("SET", "k", pattern(20 * MIB)) == OK
    assert c("SET", "{k}l", pattern(25 * MIB)) == OOM
    assert c("GET", "k") == pattern(20 * MIB)


def test_half_an_append_is_forgotten(node_target: Target, resp: int) -> None:
    c = node_target.connect(resp)
    upload = c("PUT_STREAM", "BEGIN", "k")
    assert c("PUT_STREAM", "APPEND", upload, b"a" * 100_000) == 100_000
    lost = node_target.connect(resp)
    lost.send_raw(encode("PUT_STREAM", "APPEND", upload, b"b" * 300_000)[:200_000])
    lost.close()
    tail = b"c" * 200_000
    reply = eventually(lambda: not isinstance(r := c("PUT_STREAM", "APPEND", upload, tail), Error) and r)
    assert reply == 300_000
    # The half may have begun to arrive since.
    eventually(lambda: isinstance(c("PUT_STREAM", "COMMIT", upload), int))
    assert c("GET", "k") == b"a" * 100_000 + tail


def test_an_upload_times_out(small: Callable[[], Wire]) -> None:
    c = small()
    before = used_bytes(c)
    upload = c("PUT_STREAM", "BEGIN", "k", 10 * MIB)
    assert c("PUT_STREAM", "APPEND", upload, b"x" * (10 * MIB)) == 10 * MIB
    assert used_bytes(c) > before + 9 * MIB
    with configured(c, stream_upload_timeout=1):
        eventually(lambda: used_bytes(c) < before + MIB)
    reply = c("PUT_STREAM", "APPEND", upload, "x")
    assert isinstance(reply, Error)
    assert reply.text.startswith("NOUPLOAD ")


def used_memory(c: Wire) -> int:
    return int(info(c, "memory")["used_memory"])


def test_a_list_of_many_values_is_read_in_one_request(target: Target, resp: int) -> None:
    count = 3_000
    values = [pattern(4_096)[i % 4_000 :] + b"%d" % i for i in range(count)]
    c = target.connect(resp)
    assert c("MSET", *[part for i in range(count) for part in (f"k{i}", values[i])]) == OK
    keys = [f"k{i}" for i in range(count)]
    for port in target.worker_ports:
        reader = target.connect(resp, port=port)
        wanted = [*keys, "absent", "k7"]
        data = encode("MGET", *wanted) + encode("EXISTS", *wanted) + encode("GET", "k1")
        assert reader.exchange(data, 3) == [[*values, None, values[7]], count + 1, values[1]]


def test_a_list_is_of_one_moment(target: Target, resp: int) -> None:
    keys = [f"k{i}" for i in range(400)]

    def all_to(number: int) -> tuple[str, ...]:
        return ("MSET", *[part for key in keys for part in (key, f"{number}" * 50)])

    writer = target.connect(resp)
    assert writer(*all_to(0)) == OK
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            writer(*all_to(number % 10))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for port in target.worker_ports * 20:
            assert len(set(target.connect(resp, port=port)("MGET", *keys))) == 1
    finally:
        stop.set()
        thread.join()


def private_bytes(pid: int) -> int:
    """Memory of a process that it shares with nobody."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


def available_bytes() -> int:
    """Memory of the machine that is free for new use."""
    text = Path("/proc/meminfo").read_text()
    return int(text.split("MemAvailable:")[1].split()[0]) * 1024


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=(pytest.mark.slow, pytest.mark.timeout(300)))])
def test_many_readers_cost_the_value_once(count: int) -> None:
    with Node(shards=1) as node, Wire(node.host, node.port) as c:
        value = pattern(64 * MIB)
        assert c("SET", "k", value) == OK
        pid = node.pids()["shard-0"]
        before = private_bytes(pid)
        target = Target("node1", node.host, node.port)
        readers = [slow_reader(target, 2) for _ in range(count)]
        for reader in readers:
            begin_reading(reader, "k", len(value))
        assert c("DEL", "k") == 1
        assert private_bytes(pid) - before < 30 * MIB
        eventually(lambda: 64 * MIB < used_memory(c) < 80 * MIB)
        assert readers[0].read() == value
        assert readers[-1].read() == value
        for reader in readers:
            reader.close()
        eventually(lambda: used_memory(c) < 16 * MIB)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_three_gigabytes() -> None:
    available = available_bytes()
    if available < 8 * 1024 * MIB:
        pytest.skip(f"needs 8 GiB of free memory; there are {available / 2**30:.1f} GiB")
    block = pattern(64 * MIB)
    length = 3 * 1024 * MIB
    with Node(shards=1, proto_max_bulk_len="4gb") as node, Wire(node.host, node.port, timeout=120) as c:
        c.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % length)
        for _ in range(length // len(block)):
            c.send_raw(block)
        c.send_raw(b"\r\n")
        assert c.read() == OK
        pid = node.pids()["shard-0"]
        assert private_bytes(pid) < 200 * MIB
        c.send("GET", "k")
        assert c.socket.recv(len(str(length)) + 3, socket.MSG_WAITALL) == b"$%d\r\n" % length
        piece = bytearray(len(block))
        for _ in range(length // len(block)):
            view = memoryview(piece)
            while view:
                view = view[c.socket.recv_into(view) :]
            assert piece == block
        assert c.socket.recv(2, socket.MSG_WAITALL) == b"\r\n"
        assert private_bytes(pid) < 200 * MIB
        upload = c("PUT_STREAM", "BEGIN", "l")
        for _ in range(length // len(block)):
            c("PUT_STREAM", "APPEND", upload, block)
        assert isinstance(c("PUT_STREAM", "COMMIT", upload), int)
        assert c("STRLEN", "l") == length
        assert c("GETRANGE", "l", length - 100, -1) == block[-100:]
