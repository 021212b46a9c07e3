"""Long values that are sent by reference: what a client has not read yet is what it asked for, whatever came since."""

import fcntl
import re
import socket
import struct
import termios
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.node import Node
from tests.protocol.test_big_values import pattern
from tests.protocol.test_long_values import MIB, used_memory
from tests.server.test_admin import samples
from tests.targets import Target
from tests.wire import OK, Argument, Error, Wire, eventually

SETTINGS = Path("/sys/kernel/mm/transparent_hugepage")
pytestmark = pytest.mark.skipif(
    any(re.search(r"\[(always|within_size|force)\]", f.read_text()) for f in SETTINGS.glob("**/shmem_enabled")),
    reason="shared memory may have huge pages here, so nothing is sent by reference",
)

LENGTH = 3 * MIB + 5
# What every socket holds, of the end of a value and what follows it.
UNREAD = 64 * 1024
# More than are copied first.
READS = 7


def referred_bytes(node: Node) -> float:
    found = samples(node).items()
    return sum(value for name, value in found if name.startswith("yggdrasil_network_referred_bytes_total"))


def wait_until_referred(node: Node, more: int) -> None:
    goal = referred_bytes(node) + more
    eventually(lambda: referred_bytes(node) > goal, seconds=20)


def connections(target: Target, transport: str, resp: int) -> Iterator[Wire]:
    """Connections to every worker."""
    if transport == "tcp":
        for port in target.worker_ports:
            yield target.connect(resp, port=port)
        return
    for _ in range(60):
        c = Wire(target.host, 0, path=target.server.unixsocket)
        target.opened.append(c)
        if resp != 2:
            c.hello(resp)
        yield c


def reference_reader(target: Target, transport: str, resp: int, value: bytes) -> Wire:
    """A connection that `k` is sent to by reference."""
    for c in connections(target, transport, resp):
        before = referred_bytes(target.server)
        for _ in range(READS):
            assert c("GET", "k") == value
        if referred_bytes(target.server) > before:
            return c
    raise AssertionError("nothing was sent by reference")


def read_raw(c: Wire, count: int) -> bytes:
    data = bytearray(count)
    view = memoryview(data)
    while view:
        received = c.socket.recv_into(view)
        assert received
        view = view[received:]
    return bytes(data)


def unread(c: Wire) -> int:
    """Bytes that have come and wait in the socket."""
    return int(struct.unpack("i", fcntl.ioctl(c.socket, termios.FIONREAD, b"\0\0\0\0"))[0])


def has_come(c: Wire, count: int) -> bool:
    try:
        eventually(lambda: unread(c) >= count, seconds=0.3)
    except AssertionError:
        return False
    return True


def read_all_but_the_end(c: Wire, length: int) -> bytes:
    """Asks for `k` and reads until the rest of the value, all of which the node has sent, waits in the socket."""
    c.send("GET", "k")
    whole = len(b"$%d\r\n" % length) + length + 2
    begin = read_raw(c, whole - UNREAD)
    # A Unix socket does not take more before whole pieces of what it holds are read.
    while not has_come(c, whole - len(begin) - 2):
        begin += read_raw(c, 4096)
    return begin


def read_the_rest(c: Wire, begin: bytes, length: int) -> bytes:
    """The value."""
    header = b"$%d\r\n" % length
    whole = len(header) + length + 2
    reply = begin + read_raw(c, whole - len(begin))
    assert reply.startswith(header)
    return reply[len(header) : -2]


CHANGES: dict[str, list[tuple[Argument, ...]]] = {
    "overwritten": [("SET", "k", "short")],
    "overwritten by a long one": [("SET", "k", b"!" * LENGTH)],
    "overwritten in a transaction": [("MULTI",), ("SET", "k", b"!" * LENGTH), ("EXEC",)],
    "deleted": [("DEL", "k")],
    "expired": [("PEXPIRE", "k", 0)],
    "flushed": [("FLUSHALL",)],
    "changed": [("SETRANGE", "k", LENGTH - 30_000, b"*" * 29_000)],
    "changed whole": [("SETRANGE", "k", 0, b"*" * LENGTH)],
    "appended to": [("APPEND", "k", b"+" * 100_000), ("SETRANGE", "k", LENGTH - 1_000, b"*" * 50_000)],
    "renamed": [("RENAME", "k", "l"), ("DEL", "l")],
    "taken": [("GETDEL", "k")],
}


@pytest.mark.parametrize("transport", ["tcp", "unix"])
@pytest.mark.parametrize("how", CHANGES)
def test_what_waits_in_a_socket_stays_as_it_was(node_target: Target, resp: int, how: str, transport: str) -> None:
    value = pattern(LENGTH)
    writer = node_target.connect(resp)
    assert writer("SET", "k", value) == OK
    reader = reference_reader(node_target, transport, resp, value)
    begin = read_all_but_the_end(reader, LENGTH)
    for change in CHANGES[how]:
        assert not isinstance(writer(*change), Error)
    for number in range(3):
        assert writer("SET", f"{{k}}{number}", b"?" * LENGTH) == OK
    assert read_the_rest(reader, begin, LENGTH) == value
    assert reader("PING") == "PONG"


def test_what_was_evicted_is_received_whole(resp: int) -> None:
    value = pattern(LENGTH)
    with Node(shards=1, maxmemory=40 * MIB, maxmemory_policy="allkeys-lru") as node:
        target = Target("node1", node.host, node.port, tuple(node.worker_ports), node)
        with ExitStack() as at_end:
            at_end.callback(target.close_connections)
            admin, writer = target.connect(), target.connect(resp)
            assert writer("SET", "k", value) == OK
            reader = reference_reader(target, "tcp", resp, value)
            begin = read_all_but_the_end(reader, LENGTH)
            number = 0
            while writer("EXISTS", "k"):
                number += 1
                assert writer("SET", f"other{number}", b"?" * LENGTH) == OK
            for more in range(20):
                assert writer("SET", f"more{more}", b"?" * LENGTH) == OK
            assert read_the_rest(reader, begin, LENGTH) == value
            assert writer("FLUSHALL") == OK
            eventually(lambda: used_memory(admin) < 8 * MIB, seconds=20)


def test_a_changed_value_is_read_as_it_is_now(node_target: Target, resp: int) -> None:
    value = bytearray(pattern(LENGTH))
    writer = node_target.connect(resp)
    assert writer("SET", "k", bytes(value)) == OK
    reader = reference_reader(node_target, "tcp", resp, bytes(value))
    for at, length in [(0, 1), (1_000_000, 5_000), (LENGTH - 3, 3), (4_096, MIB)]:
        new = b"%d" % (at % 10) * length
        assert writer("SETRANGE", "k", at, new) == LENGTH
        value[at : at + length] = new
        assert reader("GET", "k") == value
    assert reader("GETRANGE", "k", 5, -5) == value[5:-4]
    assert reader("MGET", "k", "absent", "k") == [value, None, value]


@pytest.mark.parametrize("how", ["reset", "killed"])
def test_a_reader_that_goes_harms_nobody(node_target: Target, resp: int, how: str) -> None:
    value = pattern(32 * MIB)
    writer = node_target.connect(resp)
    assert writer("SET", "k", value) == OK
    assert reference_reader(node_target, "tcp", resp, value)("PING") == "PONG"
    for port in node_target.worker_ports:
        lost = node_target.connect(resp, port=port)
        lost.send("GET", "k")
        read_raw(lost, MIB)
        if how == "reset":
            lost.reset_connection()
        else:
            assert node_target.connect(resp, port=port)("CLIENT", "KILL", "ADDR", lost.address) == 1
    admin = node_target.connect()
    before = used_memory(admin)
    assert writer("DEL", "k") == 1
    eventually(lambda: used_memory(admin) < before - 30 * MIB, seconds=20)


def test_a_half_closed_connection_gets_all_of_it(node_target: Target, resp: int) -> None:
    value = pattern(16 * MIB)
    writer = node_target.connect(resp)
    assert writer("SET", "k", value) == OK
    reader = reference_reader(node_target, "tcp", resp, value)
    reader.send("GET", "k")
    reader.socket.shutdown(socket.SHUT_WR)
    assert reader.read() == value
    assert reader.is_closed()


def test_many_readers_and_a_writer(node_target: Target, resp: int) -> None:
    """Each value is of one letter: whatever is mixed is seen."""
    writer = node_target.connect(resp)
    ports = node_target.worker_ports
    port = ports[writer("CLUSTER", "KEYSLOT", "k") * len(ports) // 16384]
    failures: list[str] = []
    stop = threading.Event()

    def read(reader: Wire) -> None:
        while not stop.is_set():
            found = reader("GET", "k")
            if found != found[:1] * (2 * MIB):
                failures.append("mixed")

    assert writer("SET", "k", b"0" * (2 * MIB)) == OK
    threads = [threading.Thread(target=read, args=(node_target.connect(resp, port=port),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, 8):
            wait_until_referred(node_target.server, 4 * MIB)
            assert writer("SET", "k", b"%d" % number * (2 * MIB)) == OK
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
