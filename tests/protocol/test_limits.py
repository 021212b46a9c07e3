"""Limits on clients, buffers and idleness; slow readers."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from tests.targets import Target, configured
from tests.wire import OK, ConnectionEndedError, Error, Wire, encode, eventually, info


def number(c: Wire, section: str, field: str) -> int:
    return int(info(c, section)[field].removeprefix("calls=").split(",")[0])


def resident_bytes(target: Target) -> int:
    """Private memory of all processes of the server."""
    total = 0
    for pid in target.server.pids().values():
        status = Path(f"/proc/{pid}/status").read_text()
        total += sum(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:"))
    return total


def test_too_many_clients(target: Target, resp: int) -> None:
    admin = target.connect()
    accepted: list[Wire] = []
    refused = 0
    with configured(admin, maxclients=20):
        for _ in range(60):
            client = target.connect()
            try:
                reply = client("PING")
            except (ConnectionEndedError, OSError):
                refused += 1
                continue
            if reply == "PONG":
                accepted.append(client)
            else:
                assert reply == Error("ERR max number of clients reached")
                assert client.is_closed()
                refused += 1
        assert 10 <= len(accepted) <= 20
        assert refused == 60 - len(accepted)
        for client in accepted:
            assert client("PING") == "PONG"
        accepted.pop().close()

        def room_again() -> bool:
            client = target.connect()
            try:
                return bool(client("PING") == "PONG")
            except (ConnectionEndedError, OSError):
                return False

        eventually(room_again)
    assert number(admin, "stats", "rejected_connections") >= refused


@pytest.mark.slow
def test_idle_clients_are_closed(target: Target, resp: int) -> None:
    admin = target.connect()
    # Long enough for those that are busy to be so in time on a slow machine.
    with configured(admin, timeout=3):
        begin = time.monotonic()
        idle, subscriber, busy = target.connect(resp), target.connect(resp), target.connect(resp)
        subscriber("SUBSCRIBE", "news")

        def closed() -> bool:
            assert busy("PING") == "PONG"
            assert admin("PING") == "PONG"
            return not idle.silent(0.05)

        eventually(closed, seconds=60)
        assert idle.is_closed()
        assert time.monotonic() - begin > 2.9
        assert busy("PING") == "PONG"
        assert subscriber.silent(0.0)


def test_a_request_larger_than_the_query_buffer_ends_the_connection(target: Target, resp: int) -> None:
    admin = target.connect()
    with configured(admin, client_query_buffer_limit="1mb"):
        before = number(admin, "stats", "client_query_buffer_limit_disconnections")
        client = target.connect(resp)
        request = encode("LPUSH", "k0", bytes(4_000_000))
        try:
            client.send_raw(request)
            assert client.read_all() == b""
        except OSError:
            pass
        assert admin("EXISTS", "k0") == 0
        assert number(admin, "stats", "client_query_buffer_limit_disconnections") == before + 1


# A long value would leave as a view of the arena, which is nobody's buffer: this reply is put together of short ones.
PART_BYTES = 10_000


def many_parts(count: int) -> list[str]:
    return ["MGET", *["part"] * count]


def test_a_reply_beyond_the_output_limit_ends_the_connection(target: Target, resp: int) -> None:
    admin = target.connect()
    assert admin("SET", "part", bytes(PART_BYTES)) == OK
    with configured(admin, client_output_buffer_limit="normal 1mb 0 0"):
        before = number(admin, "stats", "client_output_buffer_limit_disconnections")
        client = target.connect(resp)
        client_id = client("CLIENT", "ID")
        client.send(*many_parts(3200))
        eventually(lambda: f"id={client_id} " not in admin("CLIENT", "LIST").decode())
        assert len(client.read_all()) < 32_000_000
        assert number(admin, "stats", "client_output_buffer_limit_disconnections") == before + 1


def test_a_soft_output_limit_gives_time(target: Target, resp: int) -> None:
    admin = target.connect()
    assert admin("SET", "part", bytes(PART_BYTES)) == OK
    # Long enough for a reader to be quick on a slow machine.
    with configured(admin, client_output_buffer_limit="normal 0 1mb 5"):
        patient, quick = target.connect(resp), target.connect(resp)
        patient_id = patient("CLIENT", "ID")
        begin = time.monotonic()
        patient.send(*many_parts(1600))
        quick.send(*many_parts(1600))
        assert quick.read() == [bytes(PART_BYTES)] * 1600
        eventually(lambda: f"id={patient_id} " not in admin("CLIENT", "LIST").decode(), seconds=60)
        assert time.monotonic() - begin > 4.9
        assert quick("PING") == "PONG"


def test_a_slow_reader_is_not_read_from(node_target: Target, resp: int) -> None:
    """Ours only: Redis goes on executing and keeps all replies in memory."""
    admin = node_target.connect()
    assert admin("SET", "value", bytes(100_000)) == OK
    assert len(admin("GET", "value")) == 100_000
    earlier = number(admin, "commandstats", "cmdstat_get")
    before = resident_bytes(node_target)
    clients = [node_target.connect(resp) for _ in range(4)]
    requests = encode("GET", "value") * 2_000
    for client in clients:
        client.socket.setblocking(False)
        with suppress(BlockingIOError):
            client.socket.send(requests)

    def replies() -> int:
        """How many have been made for all of them; every worker has a round of its loop before the answer."""
        everyone = admin("CLIENT", "LIST").count(b" cmd=get ") == len(clients)
        return number(admin, "commandstats", "cmdstat_get") - earlier if everyone else 0

    made = eventually(lambda: (made := replies()) and replies() == made and made)
    assert made * 100_000 < 100_000_000, "800 MB are due"
    assert [replies() for _ in range(20)] == [made] * 20
    assert resident_bytes(node_target) - before < 100_000_000
    for client in clients:
        client.socket.setblocking(True)
        client.socket.settimeout(20)
        for _ in range(200):
            assert len(client.read()) == 100_000
        client.close()


def test_a_slow_reader_gets_everything_in_the_end(c: Wire, connect: Callable[[], Wire]) -> None:
    value = os.urandom(300_000)
    assert c("SET", "value", value) == OK
    slow = connect()
    slow.send_raw(encode("GET", "value") * 150)
    for _ in range(30):
        assert c("PING") == "PONG"
    for _ in range(150):
        assert slow.read() == value
    assert slow("PING") == "PONG"
